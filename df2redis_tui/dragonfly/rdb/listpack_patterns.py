"""Listpacks checked by regular expressions: some 25 ns an entry, where decoding takes 150.

`intact` and `intact_scored` say True only of what `encodings` takes too. False says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final

_MOST: Final = 64  # entries, or pairs, in one pattern: compiling takes a millisecond or two
_LONGEST: Final = 125  # bytes of a string whose size behind it is one byte
_SCORE_LONGEST: Final = 24

_END: Final = b"\xff"
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
_INTEGERS: Final = rb"[\x00-\x7f]\x01|[\xc0-\xdf].\x02|\xf1..\x03|\xf2...\x04|\xf3....\x05|\xf4.{8}+\x09"
_ENTRY: Final = _either(_SHORT, _INTEGERS, _LONGER)
_SCORE: Final = _either(
    *(
        _byte(0x80 | size) + b"(?=[-+.e0-9]{%d}+%b)" % (size, _byte(size + 1)) + _NUMBER + _byte(size + 1)
        for size in range(1, _SCORE_LONGEST + 1)
    ),
    _INTEGERS,
)


def _checker(element: bytes) -> Callable[[bytes, int, int, int], bool]:
    """A function (data, begin, stop, count): whether `count` elements and the end mark are all there is."""

    @cache
    def pattern(count: int, end: bytes) -> re.Pattern[bytes]:
        return re.compile(b"%b{%d}+%b" % (element, count, end), re.DOTALL)

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


intact: Final = _checker(_ENTRY)
_pairs: Final = _checker(b"(?:" + _ENTRY + _SCORE + b")")


def intact_scored(data: bytes, begin: int, stop: int, count: int) -> bool:
    """As `intact`, of an even number of entries, every other one a score."""
    return _pairs(data, begin, stop, count >> 1)
