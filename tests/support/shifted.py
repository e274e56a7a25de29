"""A recorded session moved in time: every absolute expiry in its bytes and in its expectation, by whole seconds.

A recording holds expiries of the day it was made on, and relative ones (RESTORE without ABSTTL, HEXPIRE) that count
from when they are read. Played on another day the two drift apart, until the expectation says that a key is gone which
the target has just been given. So a recording is played as if it had been made now.

What is moved (protocol page §3.1, §3.4, §4.5): EXPIRETIME_MS prefixes, expiries of members, times in the arguments of
journal records, also inside LZ4 and zstd blobs.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from typing import Any

import lz4.frame

try:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from backports import zstd

MEMBER_EXPIRY_BASE = 1_675_209_600  # unix seconds (§3.4)
KNOWN_TO = 3  # seconds: expectations know expiries of members to ±2 s
HUGE_TTL = 10_000_000  # seconds; of the members of the live load's huge hashes and sets, which no expectation names
DAY_MS = 86_400_000
FAR_MS = 10 * 365 * DAY_MS  # the scenario's farthest expiry is less than eight years away

_CTIME = re.compile(rb"(?s)\xfa\x05ctime\xc2(.{4})")
# Each looks ahead, since the first byte can also be one of another's last.
_EXPIRETIME_MS = re.compile(rb"(?s)\xfc(?=(.{8}))")
_INT32 = re.compile(rb"(?s)\xc2(?=(.{4}))")
_TIME_ARGUMENT = re.compile(rb"\x0d(?=(\d{13}))")  # its length stands in front of it (§4.2)
_LENGTH = rb"(?:[\x00-\x3f]|[\x40-\x7f].|\x80.{4})"
_LZ4 = re.compile(rb"(?s)\xca(%b)\x04\x22\x4d\x18" % _LENGTH)
_ZSTD = re.compile(rb"(?s)\xc9(%b)\x28\xb5\x2f\xfd" % _LENGTH)
MAGIC = 4  # bytes


def recorded_at(stream: bytes) -> int:
    """Unix seconds at which a full sync began: the AUX field ctime."""
    found = _CTIME.search(stream)
    assert found is not None, "a full sync begins with its time"
    return int(struct.unpack("<i", found[1])[0])


class Shift:
    """Moves streams and expectations of one recording by `seconds`."""

    def __init__(self, seconds: int, recorded_at_s: int, expected: Iterable[dict[str, Any]]) -> None:
        self.seconds = seconds
        self._first_ms = recorded_at_s * 1000 - DAY_MS
        self._last_ms = recorded_at_s * 1000 + FAR_MS
        known = {
            second
            for document in expected
            for keys in document.values()
            for entry in keys.values()
            for second in (entry.get("field_expires_at_s") or {}).values()
        }
        known.add(recorded_at_s + HUGE_TTL)
        self._member_times = {at + off for at in known for off in range(-KNOWN_TO, KNOWN_TO + 1)}

    def stream(self, raw: bytes) -> tuple[bytes, Callable[[int], int]]:
        """The bytes of a FLOW moved in time, and where a position of the old ones is in the new ones."""
        pieces: list[bytes] = []
        moves: list[tuple[int, int]] = []  # (end of a blob in the old bytes, by how much what follows moves)
        at = grown = 0
        while (blob := _next_blob(raw, at)) is not None:
            start, end, opcode, data = blob
            pieces.append(self._plain(raw[at:start]))
            moved = self._plain(data)
            packed = raw[start:end] if moved == data else _packed(opcode, moved)
            pieces.append(packed)
            grown += len(packed) - (end - start)
            moves.append((end, grown))
            at = end
        pieces.append(self._plain(raw[at:]))

        def position(old: int) -> int:
            return old + next((by for end, by in reversed(moves) if end <= old), 0)

        return b"".join(pieces), position

    def expected(self, document: dict[str, Any]) -> dict[str, Any]:
        """What the source would have held at the end."""
        for keys in document.values():
            for entry in keys.values():
                if entry.get("pexpireat"):
                    entry["pexpireat"] += self.seconds * 1000
                if entry.get("field_expires_at_s"):
                    entry["field_expires_at_s"] = {
                        field: at + self.seconds for field, at in entry["field_expires_at_s"].items()
                    }
        return document

    def _plain(self, raw: bytes) -> bytes:
        moved = bytearray(raw)
        for pattern, move in (
            (_EXPIRETIME_MS, self._expiretime),
            (_INT32, self._member),
            (_TIME_ARGUMENT, self._argument),
        ):
            for found in pattern.finditer(raw):
                if (time := move(found[1])) != found[1]:
                    moved[found.start(1) : found.end(1)] = time
        return bytes(moved)

    def _expiretime(self, raw: bytes) -> bytes:
        return struct.pack("<Q", self._moved(struct.unpack("<Q", raw)[0]))

    def _member(self, raw: bytes) -> bytes:
        (value,) = struct.unpack("<i", raw)
        known = value + MEMBER_EXPIRY_BASE in self._member_times
        return struct.pack("<i", value + self.seconds if known else value)

    def _argument(self, raw: bytes) -> bytes:
        return b"%013d" % self._moved(int(raw))

    def _moved(self, ms: int) -> int:
        return ms + self.seconds * 1000 if self._first_ms < ms < self._last_ms else ms


def _next_blob(raw: bytes, at: int) -> tuple[int, int, int, bytes] | None:
    """(start, end, opcode, decompressed) of the next compressed blob."""
    starts = [found for pattern in (_LZ4, _ZSTD) if (found := pattern.search(raw, at)) is not None]
    for found in sorted(starts, key=lambda match: match.start()):
        data_at = found.end() - MAGIC
        end = data_at + _length(found[1])
        opcode = raw[found.start()]
        unpack = lz4.frame.decompress if opcode == 0xCA else zstd.decompress
        return found.start(), end, opcode, unpack(raw[data_at:end])
    return None


def _length(raw: bytes) -> int:
    if raw[0] < 0x40:
        return raw[0]
    return int.from_bytes(raw[:2], "big") & 0x3FFF if raw[0] < 0x80 else int.from_bytes(raw[1:5], "big")


def _packed(opcode: int, data: bytes) -> bytes:
    packed = lz4.frame.compress(data, store_size=True) if opcode == 0xCA else zstd.compress(data)
    return bytes((opcode, 0x80)) + len(packed).to_bytes(4, "big") + packed
