"""LZF decompression (RDB string encoding C3; liblzf's format)."""

from __future__ import annotations

from typing import Final

from df2redis_tui.errors import DecodeError

# Three bytes of input, a long back reference, give at most 264 bytes of output.
_MAX_EXPANSION: Final = 88


def decompress(data: bytes, size: int) -> bytes:
    """`data` decompressed to exactly `size` bytes; DecodeError if it gives any other number."""
    if size > len(data) * _MAX_EXPANSION:
        raise DecodeError(f"an LZF string of {len(data):,} bytes can't hold the {size:,} bytes it declares")
    out = bytearray()
    at, end = 0, len(data)
    try:
        while at < end:
            control = data[at]
            at += 1
            if control < 32:
                stop = at + control + 1
                if stop > end:
                    raise DecodeError("an LZF literal passes the end of its string")
                out += data[at:stop]
                at = stop
            else:
                length = control >> 5
                if length == 7:
                    length += data[at]
                    at += 1
                length += 2
                distance = ((control & 31) << 8 | data[at]) + 1
                at += 1
                start = len(out) - distance
                if start < 0:
                    raise DecodeError("an LZF reference points before the start of its string")
                if distance >= length:
                    out += out[start : start + length]
                else:
                    out += (out[start:] * (length // distance + 1))[:length]
            if len(out) > size:
                raise DecodeError(f"an LZF string is longer than the {size:,} bytes it declares")
    except IndexError:
        raise DecodeError("an LZF string is cut short") from None
    if len(out) != size:
        raise DecodeError(f"an LZF string holds {len(out):,} bytes and declares {size:,}")
    return bytes(out)
