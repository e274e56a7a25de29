"""The ends of small values that are all there, for the hot path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb.lengths import ENC_LZF, skip_length, skip_strings
from df2redis_tui.dragonfly.rdb.walk import PACKED, PACKED_NODE, PLAIN_NODE, STRIDES, UNPACKED_LIST


def _skip_one(data: bytes, pos: int) -> int:
    return skip_strings(data, pos, 1)


def _skip_times(stride: int) -> Callable[[bytes, int], int]:
    def skip(data: bytes, pos: int) -> int:
        count, pos = skip_length(data, pos)
        return skip_strings(data, pos, count * stride)

    return skip


def _skip_zset(data: bytes, pos: int) -> int:
    count, pos = skip_length(data, pos)
    for _ in range(count):
        first = data[pos]
        pos = (pos + first + 9) if first < 64 else skip_strings(data, pos, 1) + 8
    return pos


def _skip_quicklist2(data: bytes, pos: int) -> int:
    count, pos = skip_length(data, pos)
    unpacked = 0
    for _ in range(count):
        container, pos = skip_length(data, pos)
        if container not in (PLAIN_NODE, PACKED_NODE):
            raise IndexError
        if data[pos] == ENC_LZF:
            unpacked += skip_length(data, skip_length(data, pos + 1)[1])[0]
        pos = skip_strings(data, pos, 1)
    if unpacked > UNPACKED_LIST:
        raise IndexError
    return pos


def _skip_quicklist(data: bytes, pos: int) -> int:
    count, pos = skip_length(data, pos)
    unpacked = 0
    for _ in range(count):
        if data[pos] == ENC_LZF:
            unpacked += skip_length(data, skip_length(data, pos + 1)[1])[0]
        pos = skip_strings(data, pos, 1)
    if unpacked > UNPACKED_LIST:
        raise IndexError
    return pos


# By type: the position behind a value that begins at `pos`; IndexError or a position behind the data if it is not all
# there or malformed. The resumable walk then says which.
SKIPS: Final[list[Callable[[bytes, int], int] | None]] = [None] * 256
for _type in (*PACKED, r.JSON, r.JSON_OLD):
    SKIPS[_type] = _skip_one
for _type, _stride in STRIDES.items():
    SKIPS[_type] = _skip_times(_stride)
SKIPS[r.LIST_QUICKLIST] = _skip_quicklist
SKIPS[r.LIST_QUICKLIST2] = _skip_quicklist2
SKIPS[r.ZSET2] = _skip_zset
