"""RESP2 replies out of the bytes of a peer that is not trusted: every length it announces is held against a bound.

hiredis makes an array as large as its header says, and takes the maps and sets of RESP3, for which nobody asked.
"""

from __future__ import annotations

import re
from typing import Final

import hiredis

from df2redis_tui.errors import printable

NEED_MORE: Final = object()
LINE_MOST: Final = 64 * 1024  # bytes of a line: a status, an error, a number, a header
DEPTH_MOST: Final = 32  # arrays in arrays; COMMAND INFO has some ten
SMALLEST: Final = 4  # bytes of a reply, and so of each element of an array (`:0`, `+` and their line ends)

_NUMBER: Final = re.compile(rb"[+-]?\d{1,19}")
_LENGTH: Final = re.compile(rb"\d{1,19}")
_BULK: Final = re.compile(rb"\$(\d{1,9})\r\n")
_LONGEST: Final = 2**63
_RESP3: Final = {
    b"%": "map", b"~": "set", b"_": "null", b"#": "boolean", b",": "double", b"(": "big number", b"=": "verbatim text",
    b"!": "bulk error", b">": "push message", b"|": "attribute",
}  # fmt: skip


class Malformed(Exception):
    """What came is no reply, or a larger one than can be due. The text says what it is: "a RESP3 map"."""


class ReplyReader:
    """`feed` what came, then take replies by `next` until it returns NEED_MORE. Errors are `hiredis.ReplyError` values.

    A reply takes no more memory than has come of it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0  # what is in front of it is done with
        self._searched = 0  # no line ends in front of it
        self._bulk = -1  # bytes of the bulk string whose header was read
        self._open: list[tuple[list[object], int]] = []  # arrays that are not complete, and how long they become
        self._spent = 0  # bytes of the reply in front of `_at`

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def rest(self) -> bytes:
        """What came behind the last reply; it is no longer here."""
        rest = bytes(memoryview(self._buffer)[self._at :])
        self._buffer.clear()
        self._at = self._searched = 0
        return rest

    def next(self, most: int) -> object:
        """A reply, or NEED_MORE. Raises Malformed, also for one that is to be longer than `most` bytes."""
        began = self._at
        try:
            while True:
                value = self._value(most - self._spent + began)
                if value is NEED_MORE:
                    return NEED_MORE
                while self._open:
                    items, length = self._open[-1]
                    items.append(value)
                    self._strings(items, length, most - self._spent + began)
                    if len(items) < length:
                        break
                    value = self._open.pop()[0]
                else:
                    return value
        finally:
            self._spent = 0 if not self._open and self._bulk < 0 else self._spent + self._at - began
            del self._buffer[: self._at]
            self._searched = max(0, self._searched - self._at)
            self._at = 0

    def _strings(self, items: list[object], length: int, until: int) -> None:
        """Bulk strings that are here as a whole, which most elements are, on the short way."""
        buffer, at, end_of_line = self._buffer, self._at, b"\r\n"
        here = min(until, len(buffer))
        while len(items) < length and (header := _BULK.match(buffer, at)):
            begin = header.end()
            end = begin + int(header[1])
            if end + 2 > here or buffer[end : end + 2] != end_of_line:
                break
            items.append(bytes(buffer[begin:end]))
            at = end + 2
        self._at = at

    def _value(self, until: int) -> object:
        """The next one that is no array with something in it. `until`: where in the buffer the reply has to end."""
        buffer = self._buffer
        while True:
            if self._bulk >= 0:
                end = self._at + self._bulk
                if len(buffer) < end + 2:
                    return NEED_MORE
                if buffer[end : end + 2] != b"\r\n":
                    raise Malformed("a bulk string that is longer than it says")
                value = bytes(memoryview(buffer)[self._at : end])
                self._at, self._bulk = end + 2, -1
                return value
            end = buffer.find(b"\r\n", max(self._at, self._searched))
            if end < 0:
                if len(buffer) - self._at > LINE_MOST:
                    raise Malformed(f"a line without an end: {_shown(buffer[self._at : self._at + 100])}")
                self._searched = max(self._at, len(buffer) - 1)
                if len(buffer) > self._at and buffer[self._at : self._at + 1] not in b"+-:$*":
                    raise _no_reply(bytes(buffer[self._at : self._at + 100]))
                return NEED_MORE
            line = bytes(buffer[self._at : end])
            if len(line) > LINE_MOST:
                raise Malformed(f"a line of {len(line):,} bytes: {_shown(line)}")
            self._at = end + 2
            kind = line[:1]
            if kind == b"$":
                length = _length(line, "bulk string of {} bytes", until - self._at)
                if length is None:
                    return None
                self._bulk = length
            elif kind == b"*":
                length = _length(line, "array of {} elements", (until - self._at) // SMALLEST)
                if length is None:
                    return None
                if not length:
                    return []
                if len(self._open) >= DEPTH_MOST:
                    raise Malformed(f"arrays in arrays, more than {DEPTH_MOST} deep")
                self._open.append(([], length))
            elif kind == b":":
                if not _NUMBER.fullmatch(line, 1) or not -_LONGEST <= (number := int(line[1:])) < _LONGEST:
                    raise Malformed(f"an integer that is none: {_shown(line[1:])}")
                return number
            elif kind == b"+":
                return line[1:]
            elif kind == b"-":
                return hiredis.ReplyError(line[1:].decode("utf-8", "replace"))
            else:
                raise _no_reply(line)


def _length(line: bytes, what: str, most: int) -> int | None:
    """What a header announces, None for nil."""
    if line[1:] == b"-1":
        return None
    if not _LENGTH.fullmatch(line, 1):
        raise Malformed(f"a length that is none: {_shown(line)}")
    length = int(line[1:])
    if length > most:
        raise Malformed(f"the header of a {what.format(f'{length:,}')}, more than that can have")
    return length


def _no_reply(line: bytes) -> Malformed:
    resp3 = _RESP3.get(line[:1])
    return Malformed(f"a RESP3 {resp3}, where RESP2 is spoken" if resp3 else f"no RESP: {_shown(line)}")


def _shown(raw: bytes | bytearray) -> str:
    return f"`{printable(bytes(raw), 60)}`"
