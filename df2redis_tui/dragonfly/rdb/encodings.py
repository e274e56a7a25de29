"""The packed containers inside RDB strings: ziplist, listpack, intset (protocol page §3.4).

Each function takes a whole blob and gives its elements as bytes, integers as decimal text. Sizes and counts in
a blob are checked against its real length, never believed.
"""

from __future__ import annotations

from typing import Final

from df2redis_tui.errors import DecodeError

_UNKNOWN_COUNT: Final = 65535
# No server packs so many; their objects take a hundred times the bytes that a packed value came in.
ELEMENTS_MOST: Final = 1 << 18
_TOO_MANY: Final = f"a packed value has more than {ELEMENTS_MOST:,} elements"


def intset(blob: bytes) -> list[bytes]:
    """u32le width (2, 4, 8), u32le count, then `count` signed little-endian integers."""
    width = int.from_bytes(blob[:4], "little")
    count = int.from_bytes(blob[4:8], "little")
    if len(blob) < 8 or width not in (2, 4, 8) or len(blob) != 8 + width * count:
        raise DecodeError(f"intset of {len(blob):,} bytes declares {count:,} integers of {width} bytes")
    if count > ELEMENTS_MOST:
        raise DecodeError(_TOO_MANY)
    from_bytes = int.from_bytes
    return [b"%d" % from_bytes(blob[at : at + width], "little", signed=True) for at in range(8, len(blob), width)]


def ziplist(blob: bytes) -> list[bytes]:
    """u32le bytes, u32le tail offset, u16le count, entries, FF."""
    end = len(blob) - 1
    if end < 10 or blob[end] != 0xFF or int.from_bytes(blob[:4], "little") != len(blob):
        raise DecodeError(f"ziplist of {len(blob):,} bytes has a wrong size or no end mark")
    elements: list[bytes] = []
    append = elements.append
    from_bytes = int.from_bytes
    at = 10
    for _ in range(ELEMENTS_MOST + 1):
        if at >= end:
            break
        at += 5 if blob[at] == 0xFE else 1
        if at >= end:
            raise DecodeError("ziplist entry is cut short")
        code = blob[at]
        kind = code >> 6
        if kind == 0:
            start = at + 1
            at = start + code
        elif kind == 1:
            start = at + 2
            at = start + ((code & 63) << 8 | blob[at + 1])
        elif code == 0x80:
            start = at + 5
            at = start + from_bytes(blob[at + 1 : start], "big")
        else:
            if 0xF1 <= code <= 0xFD:
                append(b"%d" % ((code & 15) - 1))
                at += 1
                continue
            width = _ZIPLIST_INTEGER.get(code)
            if width is None:
                raise DecodeError(f"ziplist entry has the unknown encoding {code:02X}")
            start = at + 1
            at = start + width
            if at > end:
                raise DecodeError("ziplist entry passes the end of its list")
            append(b"%d" % from_bytes(blob[start:at], "little", signed=True))
            continue
        if at > end:
            raise DecodeError("ziplist entry passes the end of its list")
        append(blob[start:at])
    else:
        raise DecodeError(_TOO_MANY)
    count = int.from_bytes(blob[8:10], "little")
    if count not in (_UNKNOWN_COUNT, len(elements)):
        raise DecodeError(f"ziplist holds {len(elements):,} entries and declares {count:,}")
    return elements


_ZIPLIST_INTEGER: Final = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}


def listpack(blob: bytes) -> list[bytes]:
    """u32le bytes, u16le count, entries each with a back-length behind it, FF."""
    end = len(blob) - 1
    if end < 6 or blob[end] != 0xFF or int.from_bytes(blob[:4], "little") != len(blob):
        raise DecodeError(f"listpack of {len(blob):,} bytes has a wrong size or no end mark")
    elements: list[bytes] = []
    append = elements.append
    from_bytes = int.from_bytes
    at = 6
    for _ in range(ELEMENTS_MOST + 1):
        if at >= end:
            break
        code = blob[at]
        if code < 0x80:
            append(b"%d" % code)
            at += 2
            continue
        begin = at
        if code < 0xC0:
            start = at + 1
            at = start + (code & 63)
        elif code < 0xE0:
            value = (code & 31) << 8 | blob[at + 1]
            append(b"%d" % (value if value < 4096 else value - 8192))
            at += 3
            continue
        elif code < 0xF0:
            start = at + 2
            at = start + ((code & 15) << 8 | blob[at + 1])
        elif code == 0xF0:
            start = at + 5
            at = start + from_bytes(blob[at + 1 : start], "little")
        else:
            width = _LISTPACK_INTEGER.get(code)
            if width is None:
                raise DecodeError(f"listpack entry has the unknown encoding {code:02X}")
            start = at + 1
            at = start + width + 1
            if at > end:
                raise DecodeError("listpack entry passes the end of its list")
            append(b"%d" % from_bytes(blob[start : at - 1], "little", signed=True))
            continue
        if at > end:
            raise DecodeError("listpack entry passes the end of its list")
        append(blob[start:at])
        size = at - begin
        at += 1 if size <= 127 else 2 if size < 16383 else 3 if size < 2097151 else 4 if size < 268435455 else 5
    else:
        raise DecodeError(_TOO_MANY)
    if at != end:
        raise DecodeError("listpack entry passes the end of its list")
    count = int.from_bytes(blob[4:6], "little")
    if count not in (_UNKNOWN_COUNT, len(elements)):
        raise DecodeError(f"listpack holds {len(elements):,} entries and declares {count:,}")
    return elements


_LISTPACK_INTEGER: Final = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}
