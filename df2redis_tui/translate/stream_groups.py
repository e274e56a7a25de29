"""What follows the nodes of a stream (protocol page §3.6), gone through without an object for each pending entry."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from df2redis_tui.dragonfly.rdb.lengths import Cursor, signed
from df2redis_tui.dragonfly.rdb.stream_values import StreamId
from df2redis_tui.dragonfly.records import STREAM3, StreamMeta

# A pending entry is 16 bytes of id, 8 of time, and a LEN of deliveries, which is a byte almost always.
_ENTRY: Final = 24
_STRIDE: Final = _ENTRY + 1
_RUN: Final = 4096


class Pending:
    """The pending entries of a group, sorted by their ids: `count` of them in `raw[begin:end]`."""

    __slots__ = ("_offsets", "_raw", "begin", "count", "end")

    def __init__(self, cursor: Cursor, count: int) -> None:
        self._raw = cursor.data
        self.begin = cursor.pos
        self.count = count
        self._offsets: array[int] | None = None
        self._pass(cursor)
        self.end = cursor.pos

    def _pass(self, cursor: Cursor) -> None:
        raw, left = self._raw, self.count
        offsets = array("Q")
        while left:
            run = min(_RUN, left)
            pos, stop = cursor.pos, cursor.pos + run * _STRIDE
            if stop <= len(raw) and max(raw[pos + _ENTRY : stop : _STRIDE]) < 64:
                offsets.extend(range(pos, stop, _STRIDE))
                cursor.pos = stop
            else:
                for _ in range(run):
                    offsets.append(cursor.pos)
                    cursor.take(_ENTRY)
                    cursor.length()
            left -= run
        if self.count * _STRIDE != cursor.pos - self.begin:
            self._offsets = offsets

    def as_it_stands(self) -> memoryview:
        return memoryview(self._raw)[self.begin : self.end]

    def find(self, id: bytes) -> tuple[int, int] | None:
        """(time of the last delivery in unix ms, deliveries) of an id in its 16 bytes."""
        raw, offsets = self._raw, self._offsets or range(self.begin, self.end, _STRIDE)
        at = bisect_left(offsets, id, key=lambda offset: raw[offset : offset + 16])
        if at == len(offsets) or raw[offsets[at] : offsets[at] + 16] != id:
            return None
        cursor = Cursor(raw, offsets[at] + 16)
        return cursor.u64le(), cursor.length()


@dataclass(frozen=True, slots=True)
class Consumer:
    """`seen_ms` and `active_ms` in unix ms, −1 when not known; `pending` are ids of 16 bytes each."""

    name: bytes
    seen_ms: int
    active_ms: int
    pending: memoryview

    def ids(self) -> Iterator[bytes]:
        return (bytes(self.pending[at : at + 16]) for at in range(0, len(self.pending), 16))


@dataclass(frozen=True, slots=True)
class Group:
    """`entries_read` is −1 when unknown; `consumers` have to be gone through before the next group is."""

    name: bytes
    last_id: StreamId
    entries_read: int
    pending: Pending
    consumers_count: int
    consumers: Iterator[Consumer]


class StreamInfo:
    """What a stream holds beside its entries. Type 15 has no `first_id`, `max_deleted_id`, `entries_added`: None.

    Raises DecodeError, also from `groups`, when the bytes are malformed.
    """

    def __init__(self, meta: StreamMeta) -> None:
        cursor = self._cursor = Cursor(meta.raw)
        self._newer = meta.type == STREAM3
        self.length = cursor.length()
        self.last_id = _id(cursor)
        self.first_id: StreamId | None = None
        self.max_deleted_id: StreamId | None = None
        self.entries_added: int | None = None
        if self._newer:
            self.first_id, self.max_deleted_id = _id(cursor), _id(cursor)
            self.entries_added = cursor.length()
        self.groups_count = cursor.length()
        self._groups_begin = cursor.pos

    def groups(self) -> Iterator[Group]:
        cursor = self._cursor
        cursor.pos = self._groups_begin
        for _ in range(self.groups_count):
            name, last_id = cursor.string(), _id(cursor)
            entries_read = signed(cursor.length()) if self._newer else -1
            pending = Pending(cursor, cursor.length())
            count = cursor.length()
            yield Group(name, last_id, entries_read, pending, count, self._consumers(count))
        cursor.expect_end()

    def _consumers(self, count: int) -> Iterator[Consumer]:
        cursor = self._cursor
        view = memoryview(cursor.data)
        for _ in range(count):
            name = cursor.string()
            seen = signed(cursor.u64le())
            active = signed(cursor.u64le()) if self._newer else -1
            size = 16 * cursor.length()
            begin = cursor.pos
            cursor.pass_over(size)
            yield Consumer(name, seen, active, view[begin : begin + size])


def _id(cursor: Cursor) -> StreamId:
    return cursor.length(), cursor.length()
