"""RDB lengths and strings (protocol page §3.2, §3.3) read from bytes that are all there, and the skipping of them.

`Cursor` reads and checks; the `skip_*` functions find where something ends, for the hot path: they raise IndexError
when the bytes end too early *or* are malformed, and may return a position behind the end of `data`.
"""

from __future__ import annotations

from typing import Final

from df2redis_tui.dragonfly.rdb import lzf
from df2redis_tui.errors import DecodeError

# Dragonfly refuses bulk strings long before this; a longer one is a corrupt length, not a value to wait for.
MAX_STRING: Final = 1 << 32

ENC_INT8, ENC_INT16, ENC_INT32, ENC_LZF = 0xC0, 0xC1, 0xC2, 0xC3
INT_WIDTH: Final = {ENC_INT8: 1, ENC_INT16: 2, ENC_INT32: 4}

_UNSIGNED_FLIP: Final = 1 << 64


def signed(length: int) -> int:
    """A LEN that holds a stored signed number (81 FF×8 is −1)."""
    return length - _UNSIGNED_FLIP if length >> 63 else length


def check_string_length(length: int) -> int:
    """`length` itself; DecodeError if no server would send a string of that many bytes."""
    if length > MAX_STRING:
        raise DecodeError(f"a string declares {length:,} bytes")
    return length


class Cursor:
    """Reads a whole value in memory from front to back; everything cut short or malformed is a DecodeError."""

    __slots__ = ("data", "pos")

    def __init__(self, data: bytes, pos: int = 0) -> None:
        self.data = data
        self.pos = pos

    def pass_over(self, count: int) -> None:
        stop = self.pos + count
        if stop > len(self.data):
            raise DecodeError(f"{count:,} bytes are declared where {len(self.data) - self.pos:,} are left")
        self.pos = stop

    def take(self, count: int) -> bytes:
        begin = self.pos
        self.pass_over(count)
        return self.data[begin : self.pos]

    def u64le(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def u64be(self) -> int:
        return int.from_bytes(self.take(8), "big")

    def length(self) -> int:
        first = self.take(1)[0]
        if first < 64:
            return first
        if first < 128:
            return (first & 63) << 8 | self.take(1)[0]
        if first == 0x80:
            return int.from_bytes(self.take(4), "big")
        if first == 0x81:
            return self.u64be()
        raise DecodeError(f"{first:02X} does not begin a length")

    def string(self) -> bytes:
        """A STR decoded: integers as decimal text, LZF decompressed."""
        if self.pos >= len(self.data):
            raise DecodeError("a string is missing")
        first = self.data[self.pos]
        if first < 0xC0:
            return self.take(check_string_length(self.length()))
        self.pos += 1
        width = INT_WIDTH.get(first)
        if width is not None:
            return b"%d" % int.from_bytes(self.take(width), "little", signed=True)
        if first == ENC_LZF:
            packed = check_string_length(self.length())
            size = check_string_length(self.length())
            return lzf.decompress(self.take(packed), size)
        raise DecodeError(f"{first:02X} does not begin a string")

    def expect_end(self) -> None:
        if self.pos != len(self.data):
            raise DecodeError(f"{len(self.data) - self.pos:,} bytes are left behind the value")


def skip_length(data: bytes, pos: int) -> tuple[int, int]:
    """(value, position behind it) of the LEN at `pos`."""
    first = data[pos]
    if first < 64:
        return first, pos + 1
    if first < 128:
        return (first & 63) << 8 | data[pos + 1], pos + 2
    if first == 0x80:
        stop = pos + 5
    elif first == 0x81:
        stop = pos + 9
    else:
        raise IndexError
    if stop > len(data):
        raise IndexError
    return int.from_bytes(data[pos + 1 : stop], "big"), stop


def skip_strings(data: bytes, pos: int, count: int) -> int:
    """Position behind `count` STRs that begin at `pos`."""
    for _ in range(count):
        first = data[pos]
        if first < 64:
            pos += first + 1
        elif first < 128:
            pos += ((first & 63) << 8 | data[pos + 1]) + 2
        elif first < 0xC0:
            length, pos = skip_length(data, pos)
            pos += length
        elif first == ENC_INT8:
            pos += 2
        elif first == ENC_INT16:
            pos += 3
        elif first == ENC_INT32:
            pos += 5
        elif first == ENC_LZF:
            packed, begin = skip_length(data, pos + 1)
            size, begin = skip_length(data, begin)
            pos = begin + packed
            if pos <= len(data):
                try:
                    lzf.decompress(data[begin:pos], size)
                except DecodeError:
                    raise IndexError from None
        else:
            raise IndexError
    return pos
