"""Listpacks checked by regular expressions: some 25 ns an entry, where decoding takes 150, and more in streams.

`intact`, for pairs (an even count) `intact_pairs`, for members with scores `intact_scored`: True only of what
`encodings` takes too. False says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from struct import unpack_from
from typing import Final

from df2redis_tui.dragonfly.rdb.encodings import back_length

Check = Callable[[bytes, int, int, int], bool]  # data, begin of the first entry, end of the listpack, declared count

_MOST: Final = 64  # entries, or pairs, in one pattern: compiling takes a millisecond or two
_LONGEST: Final = 125  # bytes of a string whose size behind it is one byte
_SCORE_LONGEST: Final = 24

_END: Final = b"\xff"
_TEXT_BEGINS: Final = frozenset({*range(0x80, 0xC0), 0xE0})
_NUMBER: Final = rb"-?+[0-9]++(?:\.[0-9]++)?+(?:e[-+][0-9]++)?+"


def _byte(value: int) -> bytes:
    return b"\\x%02x" % value


def _any(count: int) -> bytes:
    return b"." * count if count < 2 else b".{%d}+" % count


def _either(*kinds: bytes) -> bytes:
    return b"(?:" + b"|".join(kinds) + b")"


# Strings come first: a branch that begins with another byte costs a nanosecond.
_SHORT: Final = b"|".join(_byte(0x80 | size) + _any(size) + _byte(size + 1) for size in range(64))
_LONGER: Final = rb"\xe0" + _either(*(_byte(n) + _any(n) + _byte(n + 2) for n in range(64, _LONGEST + 1)))
_WIDE: Final = rb"(?:[\x80-\xff]\x00|[\x00-\x7f]\xff|.[\x01-\xfe])"  # no less bytes would do
_INTEGER: Final = _either(
    rb"[\x00-\x7f]\x01",
    rb"(?:\xc0[\x80-\xff]|[\xc1-\xdf].)\x02",
    rb"\xf1.[\x10-\xef]\x03",
    rb"\xf2." + _WIDE + rb"\x04",
    rb"\xf3.." + _WIDE + rb"\x05",
    rb"\xf4...(?:[\x80-\xff]\x00{4}+|[\x00-\x7f]\xff{4}+|.(?!\x00{4}+|\xff{4}+).{4}+)\x09",
)
_TEXT: Final = _either(_SHORT, _LONGER)
_ENTRY: Final = _either(_SHORT, _INTEGER, _LONGER)
_SCORE: Final = _either(
    *(
        _byte(0x80 | size) + b"(?=[-+.e0-9]{%d}+%b)" % (size, _byte(size + 1)) + _NUMBER + _byte(size + 1)
        for size in range(1, _SCORE_LONGEST + 1)
    ),
    _INTEGER,
)


def _checker(element: bytes) -> Check:
    """A function (data, begin, stop, count): whether `count` elements and the end mark are all there is."""

    @cache
    def pattern(count: int, end: bytes) -> re.Pattern[bytes]:
        return re.compile(b"(?:%b){%d}+%b" % (element, count, end), re.DOTALL)

    last: list[Callable[[bytes, int, int], object] | None] = [None] * (_MOST + 1)

    def check(data: bytes, begin: int, stop: int, count: int) -> bool:
        while count > _MOST:
            some = pattern(_MOST, b"").match(data, begin, stop)
            if some is None:
                return False
            begin = some.end()
            count -= _MOST
        fits = last[count]
        if fits is None:
            fits = last[count] = pattern(count, _END).fullmatch
        return fits(data, begin, stop) is not None

    return check


# By first byte: bytes of an entry without the size behind it; 0 where bytes behind the first one tell it.
_SIZES: Final = (*[1] * 128, *range(1, 65), *[2] * 32, *[0] * 17, 3, 4, 5, 9, *[0] * 11)


def _entries_fit(data: bytes, begin: int, stop: int, count: int, firsts: list[bytes] | None = None) -> bool:
    """As the patterns, for entries of any size; appends every other entry, from the first one on, to `firsts`."""
    at, end, found, sizes = begin, stop - 1, 0, _SIZES
    while at < end:
        code = data[at]
        size = sizes[code]
        if not size:
            if 0xE0 <= code < 0xF0:
                size = 2 + ((code & 15) << 8 | data[at + 1])
            elif code == 0xF0:
                size = 5 + int.from_bytes(data[at + 1 : at + 5], "little")
            else:
                return False
        behind = at + size
        if behind >= end:
            return False
        if firsts is not None and not found & 1:
            firsts.append(data[at:behind])
        if size < 128:
            if data[behind] != size:
                return False
            at = behind + 1
        elif size < 16383:
            if data[behind] != size >> 7 or data[behind + 1] != size & 127 | 128:
                return False
            at = behind + 2
        else:
            back = back_length(size)
            if not data.startswith(back, behind):
                return False
            at = behind + len(back)
        found += 1
    return at == end and data[at] == 0xFF and found == count


def _pair_checker(value: bytes) -> Check:
    """As `_checker`, of pairs whose first entries are all texts or all integers, and all different.

    Of each kind only the one form in which servers write it is known, so two that are equal look the same.
    """
    kinds = [(_checker(kind + value), re.compile(b"(%b)%b" % (kind, value), re.DOTALL)) for kind in (_TEXT, _INTEGER)]
    (texts, first_texts), (integers, first_integers) = kinds

    def check(data: bytes, begin: int, stop: int, count: int) -> bool:
        count >>= 1
        if data[begin] in _TEXT_BEGINS:
            fits, firsts = texts, first_texts
        else:
            fits, firsts = integers, first_integers
        return fits(data, begin, stop, count) and len({*firsts.findall(data, begin, stop - 1)}) == count

    return check


_few_bytes: Final = _checker(_ENTRY)
_few_bytes_in_pairs: Final = _pair_checker(_ENTRY)
intact_scored: Final = _pair_checker(_SCORE)


def intact(data: bytes, begin: int, stop: int, count: int) -> bool:
    return _few_bytes(data, begin, stop, count) or _entries_fit(data, begin, stop, count)


def intact_pairs(data: bytes, begin: int, stop: int, count: int) -> bool:
    if _few_bytes_in_pairs(data, begin, stop, count):
        return True
    firsts: list[bytes] = []
    if not _entries_fit(data, begin, stop, count, firsts):
        return False
    # Among short texts the same text is always the same bytes.
    return len({*firsts}) == len(firsts) and all(0x80 <= first[0] < 0xC0 for first in firsts)


# Streams: nodes without deleted entries, all of which have the fields of the first one.

_NODE_HEAD: Final = re.compile(rb".{6}([\x01-\x7f])\x01\x00\x01([\x01-\x1f])\x01", re.DOTALL)
_ID_PART: Final = _either(
    rb"[\x00-\x7f]\x01", rb"[\xc0-\xcf].\x02", rb"\xf1.[\x00-\x7f]\x03", rb"\xf2..[\x00-\x7f]\x04",
    rb"\xf3...[\x00-\x7f]\x05", rb"\xf4.{7}+[\x00-\x7f]\x09",
)  # fmt: skip


@cache
def _node_parts(fields: int) -> tuple[re.Pattern[bytes], Check]:
    items = b"%b{%d}+" % (_ENTRY, fields)
    names = re.compile(items + rb"\x00\x01", re.DOTALL)
    return names, _checker(rb"\x02\x01" + 2 * _ID_PART + items + _byte(fields + 3) + rb"\x01")


def node_length(listpack: bytes) -> int:
    """How many entries this node of a stream has if it is intact; 0 when it may be or not."""
    head = _NODE_HEAD.match(listpack)
    if head is None:
        return 0
    count, fields = head[1][0], head[2][0]
    size, items = unpack_from("<IH", listpack)
    if size != len(listpack) or items != 4 + fields + count * (4 + fields):
        return 0
    names, entries = _node_parts(fields)
    behind = names.match(listpack, head.end())
    return count if behind is not None and entries(listpack, behind.end(), size, count) else 0
