"""Passing over small values that are all there, checked: the hot path's way.

What a skip passes, `walk` takes too, with the same bytes; what it does not, `walk` reads and refuses, or waits for. So
it makes no difference how a stream is cut, and no damaged value goes on as it stood.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from struct import Struct
from typing import Final

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb.encodings import PACKED, listpack, ziplist
from df2redis_tui.dragonfly.rdb.lengths import ENC_LZF, INT_WIDTH, Cursor, skip_length, skip_strings
from df2redis_tui.dragonfly.rdb.listpack_patterns import Check, intact, intact_pairs, intact_scored
from df2redis_tui.dragonfly.rdb.walk import PACKED_NODE, PLAIN_NODE, UNPACKED_LIST, member_expiry
from df2redis_tui.errors import DecodeError

Skip = Callable[[bytes, int], int]

_DOUBLE: Final = Struct("<d")


def _packed(decode: Callable[[bytes], object]) -> Skip:
    def skip(data: bytes, pos: int) -> int:
        cursor = Cursor(data, pos)
        try:
            decode(cursor.string())
        except DecodeError:
            raise IndexError from None
        return cursor.pos

    return skip


def _listpack(check: Check, decode: Callable[[bytes], object], parity: int = 0) -> Skip:
    """`check` looks at what it knows, at once; `decode` at everything else."""
    rest = _packed(decode)
    head = Struct("<IH").unpack_from

    def skip(data: bytes, pos: int) -> int:
        first = data[pos]
        if first < 64:
            begin = pos + 1
            stop = begin + first
        elif first < 128:
            begin = pos + 2
            stop = begin + ((first & 63) << 8 | data[pos + 1])
        else:
            return rest(data, pos)
        if stop > len(data) or stop - begin < 7:
            raise IndexError
        size, count = head(data, begin)
        if size == stop - begin and not count & parity and check(data, begin + 6, stop, count):
            return stop
        return rest(data, pos)

    return skip


def _set(data: bytes, pos: int) -> int:
    """Targets look for members that are there twice."""
    count, pos = skip_length(data, pos)
    return skip_strings(data, pos, count)


def _hash(data: bytes, pos: int) -> int:
    """The fields are all different."""
    count, pos = skip_length(data, pos)
    fields: list[bytes] = []
    for _ in range(count):
        field, pos = _string(data, pos)
        fields.append(field)
        pos = skip_strings(data, pos, 1)
    if len({*fields}) != count:
        raise IndexError
    return pos


def _expiring(values: int) -> Skip:
    """Each element has a name, different from the others, `values` strings and an expiry."""

    def skip(data: bytes, pos: int) -> int:
        count, pos = skip_length(data, pos)
        names: list[bytes] = []
        for _ in range(count):
            name, pos = _string(data, pos)
            names.append(name)
            text, pos = _string(data, skip_strings(data, pos, values))
            try:
                member_expiry(text)
            except DecodeError:
                raise IndexError from None
        if len({*names}) != count:
            raise IndexError
        return pos

    return skip


def _string(data: bytes, pos: int) -> tuple[bytes, int]:
    """A string and the position behind it, which is behind the data's if the string is not all there."""
    first = data[pos]
    pos += 1
    if first < 64:
        return data[pos : pos + first], pos + first
    width = INT_WIDTH.get(first)
    if width is not None:
        return b"%d" % int.from_bytes(data[pos : pos + width], "little", signed=True), pos + width
    cursor = Cursor(data, pos - 1)
    try:
        return cursor.string(), cursor.pos
    except DecodeError:
        raise IndexError from None


def _json(data: bytes, pos: int) -> int:
    return skip_strings(data, pos, 1)


def _zset(data: bytes, pos: int) -> int:
    count, pos = skip_length(data, pos)
    for _ in range(count):
        first = data[pos]
        pos = (pos + first + 9) if first < 64 else skip_strings(data, pos, 1) + 8
        if data[pos - 1] & 0x7F == 0x7F and isnan(_DOUBLE.unpack_from(data, pos - 8)[0]):
            raise IndexError
    return pos


def _quicklist(data: bytes, pos: int) -> int:
    count, pos = skip_length(data, pos)
    unpacked = 0
    for _ in range(count):
        unpacked += _unpacked(data, pos)
        if unpacked > UNPACKED_LIST:
            raise IndexError
        pos = _ziplist_node(data, pos)
    return pos


def _quicklist2(data: bytes, pos: int) -> int:
    count, pos = skip_length(data, pos)
    unpacked = 0
    for _ in range(count):
        container, pos = skip_length(data, pos)
        unpacked += _unpacked(data, pos)
        if unpacked > UNPACKED_LIST:
            raise IndexError
        if container == PACKED_NODE:
            pos = _listpack_node(data, pos)
        elif container == PLAIN_NODE:
            pos = skip_strings(data, pos, 1)
        else:
            raise IndexError
    return pos


def _unpacked(data: bytes, pos: int) -> int:
    """The bytes that the string here declares, if it is compressed."""
    return skip_length(data, skip_length(data, pos + 1)[1])[0] if data[pos] == ENC_LZF else 0


_ziplist_node, _listpack_node = _packed(ziplist), _listpack(intact, listpack)

# By type: the position behind a value that begins at `pos`; IndexError or a position behind the data if it is not all
# there or malformed.
SKIPS: Final[list[Skip | None]] = [None] * 256
for _type, _decode in PACKED.items():
    SKIPS[_type] = _packed(_decode)
SKIPS[r.HASH_LISTPACK] = _listpack(intact_pairs, PACKED[r.HASH_LISTPACK], parity=1)
SKIPS[r.ZSET_LISTPACK] = _listpack(intact_scored, PACKED[r.ZSET_LISTPACK], parity=1)
SKIPS[r.SET] = _set
SKIPS[r.HASH] = _hash
SKIPS[r.HASH_TTL], SKIPS[r.SET_TTL] = _expiring(1), _expiring(0)
SKIPS[r.JSON] = SKIPS[r.JSON_OLD] = _json
SKIPS[r.LIST_QUICKLIST] = _quicklist
SKIPS[r.LIST_QUICKLIST2] = _quicklist2
SKIPS[r.ZSET2] = _zset
