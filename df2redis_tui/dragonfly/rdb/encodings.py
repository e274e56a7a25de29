"""The packed containers inside RDB strings: ziplist, listpack, intset (protocol page §3.4).

Each function takes a whole blob and gives its elements. Every size, count and offset in a blob must fit the others: a
target takes a small blob as it is, without a look inside, and dies of a damaged one when the key is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import lt
from struct import unpack_from
from typing import Final

from df2redis_tui.dragonfly import records as r
from df2redis_tui.errors import DecodeError

UNKNOWN_COUNT: Final = 65535
# No server packs so many; their objects take a hundred times the bytes that a packed value came in.
ELEMENTS_MOST: Final = 1 << 18
_TOO_MANY: Final = f"a packed value has more than {ELEMENTS_MOST:,} elements"
INTSET_FORMAT: Final = {2: "h", 4: "i", 8: "q"}  # width → of struct

# What strtod takes, but for NaN, at which a target's skip list dies, and hexadecimal.
SCORE: Final = re.compile(rb"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|inf(?:inity)?)", re.IGNORECASE)

_ZIPLIST_INTEGER: Final = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}
_LISTPACK_INTEGER: Final = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}


def intset(blob: bytes) -> list[bytes]:
    """u32le width (2, 4, 8), u32le count, then `count` signed little-endian integers, ascending."""
    width = int.from_bytes(blob[:4], "little")
    count = int.from_bytes(blob[4:8], "little")
    if len(blob) < 8 or width not in INTSET_FORMAT or len(blob) != 8 + width * count:
        raise DecodeError(f"intset of {len(blob):,} bytes declares {count:,} integers of {width} bytes")
    if count > ELEMENTS_MOST:
        raise DecodeError(_TOO_MANY)
    values = unpack_from(f"<{count}{INTSET_FORMAT[width]}", blob, 8)
    if not ascending(values):
        raise DecodeError("intset is not in order")
    return [b"%d" % value for value in values]


def ascending(values: Sequence[int]) -> bool:
    """Each greater than the one before it."""
    return all(map(lt, values, values[1:]))


def ziplist(blob: bytes) -> list[bytes]:
    """u32le bytes, u32le offset of the last entry, u16le count, entries each behind the size of the one before, FF."""
    end = len(blob) - 1
    if end < 10 or blob[end] != 0xFF or int.from_bytes(blob[:4], "little") != len(blob):
        raise DecodeError(f"ziplist of {len(blob):,} bytes has a wrong size or no end mark")
    elements: list[bytes] = []
    append = elements.append
    from_bytes = int.from_bytes
    at = last = 10
    size = 0
    for _ in range(ELEMENTS_MOST + 1):
        if at >= end:
            break
        last = at
        before = blob[at]
        at += 1
        if before == 0xFE:
            before = from_bytes(blob[at : at + 4], "little")
            at += 4
        if at >= end:
            raise DecodeError("ziplist entry is cut short")
        if before != size:
            raise DecodeError("ziplist entry gives the one before it a wrong size")
        code = blob[at]
        at += 1
        if code < 0xC0:
            if code < 0x40:
                length = code
            elif code < 0x80:
                length = (code & 63) << 8 | blob[at]
                at += 1
            elif code == 0x80:
                length = from_bytes(blob[at : at + 4], "big")
                at += 4
            else:
                raise DecodeError(f"ziplist entry has the unknown encoding {code:02X}")
            append(blob[at : at + length])
            at += length
        elif 0xF1 <= code <= 0xFD:
            append(b"%d" % (code - 0xF1))
        else:
            width = _ZIPLIST_INTEGER.get(code)
            if width is None:
                raise DecodeError(f"ziplist entry has the unknown encoding {code:02X}")
            append(b"%d" % from_bytes(blob[at : at + width], "little", signed=True))
            at += width
        if at > end:
            raise DecodeError("ziplist entry passes the end of its list")
        size = at - last
    else:
        raise DecodeError(_TOO_MANY)
    count = from_bytes(blob[8:10], "little")
    if count not in (UNKNOWN_COUNT, len(elements)):
        raise DecodeError(f"ziplist holds {len(elements):,} entries and declares {count:,}")
    if from_bytes(blob[4:8], "little") != last:
        raise DecodeError("ziplist does not say where its last entry is")
    return elements


def listpack(blob: bytes) -> list[bytes]:
    """The elements of `listpack_entries`, integers as decimal text."""
    return [entry if isinstance(entry, bytes) else b"%d" % entry for entry in listpack_entries(blob)]


def listpack_entries(blob: bytes) -> list[bytes | int]:
    """u32le bytes, u16le count, entries each with its size behind it, FF."""
    end = len(blob) - 1
    if end < 6 or blob[end] != 0xFF or int.from_bytes(blob[:4], "little") != len(blob):
        raise DecodeError(f"listpack of {len(blob):,} bytes has a wrong size or no end mark")
    entries: list[bytes | int] = []
    append = entries.append
    from_bytes = int.from_bytes
    at = 6
    for _ in range(ELEMENTS_MOST + 1):
        if at >= end:
            break
        begin = at
        code = blob[at]
        at += 1
        if code < 0x80:
            append(code)
        elif 0xC0 <= code < 0xE0:
            value = (code & 31) << 8 | blob[at]
            append(value if value < 4096 else value - 8192)
            at += 1
        elif code <= 0xF0:
            if code < 0xC0:
                length = code & 63
            elif code < 0xF0:
                length = (code & 15) << 8 | blob[at]
                at += 1
            else:
                length = from_bytes(blob[at : at + 4], "little")
                at += 4
            append(blob[at : at + length])
            at += length
        else:
            width = _LISTPACK_INTEGER.get(code)
            if width is None:
                raise DecodeError(f"listpack entry has the unknown encoding {code:02X}")
            append(from_bytes(blob[at : at + width], "little", signed=True))
            at += width
        if at >= end:
            raise DecodeError("listpack entry passes the end of its list")
        size = at - begin
        if size < 128:
            if blob[at] != size:
                raise DecodeError("listpack entry has a wrong size behind it")
            at += 1
        else:
            back = back_length(size)
            if not blob.startswith(back, at):
                raise DecodeError("listpack entry has a wrong size behind it")
            at += len(back)
    else:
        raise DecodeError(_TOO_MANY)
    if at != end:
        raise DecodeError("listpack entry passes the end of its list")
    count = from_bytes(blob[4:6], "little")
    if count not in (UNKNOWN_COUNT, len(entries)):
        raise DecodeError(f"listpack holds {len(entries):,} entries and declares {count:,}")
    return entries


def back_length(size: int) -> bytes:
    """What stands behind a listpack entry of `size` bytes, to be read from its end: 7 bits a byte."""
    if size < 128:
        return bytes((size,))
    if size < 16383:
        return bytes((size >> 7, size & 127 | 128))
    shift = 14 if size < 2097151 else 21 if size < 268435455 else 28
    return bytes([size >> shift, *(size >> low & 127 | 128 for low in range(shift - 7, -1, -7))])


def check_different(elements: Sequence[object]) -> None:
    """Targets do not look for a field or member that is there twice, and die once the key grows."""
    if len({*elements}) != len(elements):
        raise DecodeError("a field or member is there twice")


def _pairs(elements: list[bytes]) -> list[bytes]:
    if len(elements) & 1:
        raise DecodeError("a packed hash or sorted set has an odd number of elements")
    check_different(elements[::2])
    return elements


def _scored(elements: list[bytes]) -> list[bytes]:
    if not all(map(SCORE.fullmatch, _pairs(elements)[1::2])):
        raise DecodeError("a packed sorted set holds a score that is no number")
    return elements


# By value type: the elements of what is packed in one string.
PACKED: Final[dict[int, Callable[[bytes], list[bytes]]]] = {
    r.INTSET: intset,
    r.HASH_ZIPLIST: lambda blob: _pairs(ziplist(blob)),
    r.HASH_LISTPACK: lambda blob: _pairs(listpack(blob)),
    r.ZSET_ZIPLIST: lambda blob: _scored(ziplist(blob)),
    r.ZSET_LISTPACK: lambda blob: _scored(listpack(blob)),
}
