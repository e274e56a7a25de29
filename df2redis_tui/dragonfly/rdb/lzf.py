"""LZF decompression (RDB string encoding C3; liblzf's format)."""

from __future__ import annotations

from typing import Final

from df2redis_tui.errors import DecodeError

# Three bytes of input, a long back reference, give at most 264 bytes of output.
_MAX_EXPANSION: Final = 88
_REACH: Final = 8192  # bytes; no back reference goes further


def check_sizes(packed: int, size: int) -> None:
    """DecodeError if `packed` bytes can't hold `size` bytes."""
    if size > packed * _MAX_EXPANSION:
        raise DecodeError(f"an LZF string of {packed:,} bytes can't hold the {size:,} bytes it declares")


def decompress(data: bytes, size: int) -> bytes:
    """`data` decompressed to exactly `size` bytes; DecodeError if it gives any other number."""
    check_sizes(len(data), size)
    out = bytearray()
    at = _expand(data, out, size)
    _check_end(len(data) - at, len(out), size)
    return bytes(out)


class Decompressor:
    """A long text in pieces: `feed` gives what each piece of the compressed text gives, `finish` checks the end."""

    __slots__ = ("_given", "_out", "_rest", "_size")

    def __init__(self, packed: int, size: int) -> None:
        check_sizes(packed, size)
        self._size = size
        self._given = 0
        self._out = bytearray()
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        out = self._out
        del out[:-_REACH]
        begin = len(out)
        data = self._rest + data
        at = _expand(data, out, begin + self._size - self._given)
        self._rest = data[at:]
        self._given += len(out) - begin
        return bytes(out[begin:])

    def finish(self) -> None:
        _check_end(len(self._rest), self._given, self._size)


def _check_end(left: int, given: int, size: int) -> None:
    if left:
        raise DecodeError("an LZF string is cut short")
    if given != size:
        raise DecodeError(f"an LZF string holds {given:,} bytes and declares {size:,}")


def _expand(data: bytes, out: bytearray, most: int) -> int:
    """Append to `out` what `data` gives, up to `most` bytes in all; returns where the first item begins that is cut."""
    at, end = 0, len(data)
    try:
        while at < end:
            control = data[at]
            if control < 32:
                stop = at + control + 2
                if stop > end:
                    return at
                out += data[at + 1 : stop]
            else:
                length = control >> 5
                stop = at + 2
                if length == 7:
                    length += data[at + 1]
                    stop = at + 3
                length += 2
                distance = ((control & 31) << 8 | data[stop - 1]) + 1
                start = len(out) - distance
                if start < 0:
                    raise DecodeError("an LZF reference points before the start of its string")
                if distance >= length:
                    out += out[start : start + length]
                else:
                    out += (out[start:] * (length // distance + 1))[:length]
            at = stop
            if len(out) > most:
                raise DecodeError("an LZF string is longer than it declares")
    except IndexError:
        pass
    return at
