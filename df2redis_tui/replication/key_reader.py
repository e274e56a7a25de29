"""Reads single keys from the source, with the FLOW's positions around them (protocol page §4.6)."""

from __future__ import annotations

import time
from dataclasses import dataclass

from df2redis_tui.dragonfly.control import error_text, open_source
from df2redis_tui.dragonfly.records import Value
from df2redis_tui.errors import DecodeError, SourceLost
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import PeerLost, PeerSilent, RespConnection, encode, is_error
from df2redis_tui.translate.payload import check_payload

Key = tuple[int, bytes]

FOOTER = 10  # bytes behind the value in a DUMP: version and CRC64
PATIENCE = 30.0  # seconds for an answer
FAR_APART_MS = 2 * 3_600_000  # a moment in time and the time left till then
BYTES_PER_SECOND = 1024**2  # that a source is expected to deliver at least
PATIENCE_MOST = 1800.0


@dataclass(frozen=True, slots=True)
class Reading:
    """`value` None = the key does not exist; `problem` says why it could not be read."""

    a: int
    b: int
    value: Value | None
    problem: str = ""


class KeyReader:
    """Reads keys on a connection of its own, opened when first needed. Every method raises SourceLost, SourceError."""

    def __init__(self, source: Endpoint, flow: int) -> None:
        self._source = source
        self._flow = flow
        self._connection: RespConnection | None = None
        self._absolute = True  # it has PEXPIRETIME

    async def sizes(self, keys: list[Key]) -> list[int | None]:
        """About how many bytes the source holds for each key; None where it does not say."""
        wires = [wire for at, (_, key) in enumerate(keys) for wire in _at(keys, at, encode("MEMORY", "USAGE", key))]
        found = [r for w, r in zip(wires, await self._ask(wires, PATIENCE), strict=True) if not _selects(w)]
        return [r if isinstance(r, int) else 0 if r is None else None for r in found]

    async def read(self, keys: list[Key], size: int = 0, patience: float = PATIENCE) -> dict[Key, Reading]:
        """Values that are `size` bytes together. A refusal is a Reading with `problem`."""
        patience = min(PATIENCE_MOST, patience + size / BYTES_PER_SECOND)
        # One after the other: a Dragonfly may run pipelined commands of different shards side by side.
        before = self._position((await self._ask([encode("DFLY", "REPLICAOFFSET")], patience))[0])
        if isinstance(before, str):
            return {key: Reading(0, 0, None, before) for key in keys}
        wires: list[bytes] = []
        for at, (_, key) in enumerate(keys):
            wires += _at(keys, at, *self._questions(key))
        replies = await self._ask(wires, patience)
        results = [r for w, r in zip(wires, replies, strict=True) if w.startswith(b"*1\r\n$4\r\nEXEC")]
        now_ms = time.time_ns() // 1_000_000
        if any(map(self._lacks_command, results)):
            return await self.read(keys, size, patience)
        after = self._position((await self._ask([encode("DFLY", "REPLICAOFFSET")], patience))[0])
        if isinstance(after, str):
            return {key: Reading(0, 0, None, after) for key in keys}
        return {
            (db, key): _reading(before, after, db, key, result, now_ms)
            for (db, key), result in zip(keys, results, strict=True)
        }

    async def read_alone(self, key: Key, size: int = 0, patience: float = PATIENCE) -> Reading:
        """One key, with the positions around it in the same write: in the shortest time that it may not change in.

        None of these commands is one that a Dragonfly runs beside others of a pipeline.
        """
        db, name = key
        offset = encode("DFLY", "REPLICAOFFSET")
        wires = _at([key], 0, offset, *self._questions(name), offset)
        replies = (await self._ask(wires, min(PATIENCE_MOST, patience + size / BYTES_PER_SECOND)))[1:]
        now_ms = time.time_ns() // 1_000_000
        if self._lacks_command(replies[-2]):
            return await self.read_alone(key, size, patience)
        before, after = self._position(replies[0]), self._position(replies[-1])
        if isinstance(before, str) or isinstance(after, str):
            return Reading(0, 0, None, before if isinstance(before, str) else str(after))
        return _reading(before, after, db, name, replies[-2], now_ms)

    def _questions(self, key: bytes) -> tuple[bytes, ...]:
        asked = encode("MULTI"), encode("DUMP", key), encode("PTTL", key)
        return (*asked, encode("PEXPIRETIME", key), encode("EXEC")) if self._absolute else (*asked, encode("EXEC"))

    def _lacks_command(self, result: object) -> bool:
        """Whether to ask again without what an old release does not know."""
        if not self._absolute or not is_error(result) or not error_text(result).startswith("EXECABORT"):
            return False
        self._absolute = False
        return True

    async def _ask(self, wires: list[bytes], patience: float) -> list[object]:
        used_before = self._connection is not None
        try:
            if self._connection is None:
                self._connection = await open_source(self._source, "re-read connection")
            return await self._connection.pipeline(wires, timeout=patience)
        except PeerLost as lost:
            await self.aclose()
            if used_before and not isinstance(lost, PeerSilent):  # the source may close what was idle for long
                return await self._ask(wires, patience)
            raise SourceLost(f"source {self._source.label}: re-read connection: {lost}") from None
        except BaseException:
            # Cancelled in the middle: answers to come would be taken for those of the next question.
            await self.aclose()
            raise

    def _position(self, reply: object) -> int | str:
        if isinstance(reply, list) and self._flow < len(reply) and isinstance(reply[self._flow], int):
            return int(reply[self._flow])
        return error_text(reply)

    async def aclose(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.aclose()


def _at(keys: list[Key], at: int, *wires: bytes) -> list[bytes]:
    """Commands in the database of this key, when those of the key before it went in front of them."""
    db = keys[at][0]
    return list(wires) if at and keys[at - 1][0] == db else [encode("SELECT", db), *wires]


def _selects(wire: bytes) -> bool:
    return wire.startswith(b"*2\r\n$6\r\nSELECT")


def _reading(a: int, b: int, db: int, key: bytes, result: object, now_ms: int) -> Reading:
    if is_error(result):
        return Reading(a, b, None, error_text(result))
    if not isinstance(result, list) or len(result) not in (2, 3):
        return Reading(a, b, None, "unexpected answer")
    dump, pttl = result[:2]
    if is_error(dump) or is_error(pttl):
        return Reading(a, b, None, error_text(dump if is_error(dump) else pttl))
    if dump is None or pttl == -2:
        return Reading(a, b, None)
    if not isinstance(dump, bytes) or len(dump) <= FOOTER or not isinstance(pttl, int):
        return Reading(a, b, None, "unexpected DUMP")
    try:
        check_payload(dump)
    except DecodeError as why:
        return Reading(a, b, None, f"the source holds or sends it damaged: {why.reason}")
    expire_ms = now_ms + pttl if pttl >= 0 else 0
    if expire_ms and isinstance(result[-1], int) and abs(result[-1] - expire_ms) < FAR_APART_MS:
        expire_ms = result[-1]  # the answer may have been long on its way
    return Reading(a, b, Value(db, key, expire_ms, dump[0], dump[1:-FOOTER]))
