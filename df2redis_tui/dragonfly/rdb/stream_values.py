"""Streams decoded and checked: the entries of their nodes, and what follows the nodes (protocol page §3.6).

Errors are DecodeError without a flow or an offset.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

import xxhash

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb.encodings import listpack_entries
from df2redis_tui.dragonfly.rdb.lengths import Cursor, signed
from df2redis_tui.dragonfly.rdb.listpack_patterns import node_length
from df2redis_tui.errors import DecodeError

StreamId = tuple[int, int]
StreamEntry = tuple[int, int, list[bytes]]

_DELETED, _SAME_FIELDS = 1, 2
_ID_END = 1 << 64
_NAMES_MOST: Final = 1 << 20
_SEED: Final = secrets.randbits(64)


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """An entry delivered to a group and not acknowledged. `delivered_ms`: unix ms of the last delivery."""

    ms: int
    seq: int
    delivered_ms: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class Consumer:
    """`seen_ms`, `active_ms` in unix ms; `active_ms` is −1 when never active or not recorded (type 15)."""

    name: bytes
    seen_ms: int
    active_ms: int
    pending: list[StreamId]


@dataclass(frozen=True, slots=True)
class Group:
    """`entries_read` is −1 when unknown (always so in type 15)."""

    name: bytes
    last_id: StreamId
    entries_read: int
    pending: list[PendingEntry]
    consumers: list[Consumer]


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a stream holds beside its entries. Type 15 has no `first_id`, `max_deleted_id`, `entries_added`: None."""

    length: int
    last_id: StreamId
    first_id: StreamId | None
    max_deleted_id: StreamId | None
    entries_added: int | None
    groups: list[Group]


class StreamCheck:
    """Whether the parts of one stream fit each other, told in their order, in little memory.

    A target takes them without a look inside and dies later: of a number that is text, of a pending entry without a
    consumer. Each raises DecodeError.
    """

    __slots__ = ("_consumers", "_groups", "_length", "_names", "_node", "_owned", "_pending")

    def __init__(self) -> None:
        self._length = 0
        self._node = (-1, 0)
        self._names = 0
        self._groups: set[bytes] = set()
        self._consumers: set[bytes] = set()
        # How many ids, and the sum of their digests: 16 bytes of an id each would be too many to keep.
        self._pending = self._owned = (0, 0)

    def node(self, node: r.StreamNode) -> int:
        """A node, from front to back; how many entries it has."""
        if (node.ms, node.seq) <= self._node:
            raise DecodeError("the nodes of a stream are not in order")
        self._node = node.ms, node.seq
        known = node_length(node.listpack) if node.ms < _ID_END >> 1 and node.seq < _ID_END >> 1 else 0
        length = known or len(decode_stream_node(node))
        self._length += length
        return length

    def described(self, length: int, last_id: StreamId) -> None:
        """What follows the nodes."""
        if length != self._length:
            raise DecodeError(f"a stream holds {self._length:,} entries and declares {length:,}")
        if last_id < self._node:
            raise DecodeError("the last id of a stream comes before its last entries")

    def group(self, name: bytes) -> None:
        self._add_once(self._groups, name, "two groups of a stream have one name")
        self._consumers.clear()
        self._pending = self._owned = (0, 0)

    def pending(self, entry: bytes) -> None:
        """A pending entry of this group; its id comes first."""
        count, digests = self._pending
        self._pending = count + 1, digests + _digest(entry[:16])

    def consumer(self, name: bytes) -> None:
        self._add_once(self._consumers, name, "two consumers of a stream's group have one name")

    def owned(self, ids: bytes) -> None:
        """Pending entries of this consumer."""
        count, digests = self._owned
        digests += sum(_digest(ids[at : at + 16]) for at in range(0, len(ids), 16))
        self._owned = count + len(ids) // 16, digests

    def group_ends(self) -> None:
        """Each pending entry of a group belongs to exactly one of its consumers."""
        if self._pending != self._owned:
            raise DecodeError("the pending entries of a stream's group are not those of its consumers")

    def _add_once(self, known: set[bytes], name: bytes, otherwise: str) -> None:
        if name in known:
            raise DecodeError(otherwise)
        self._names += 1
        if self._names > _NAMES_MOST:
            raise DecodeError(f"a stream has more than {_NAMES_MOST:,} groups and consumers")
        known.add(name)


def _digest(id: bytes) -> int:
    """Not to be foreseen by who makes a stream."""
    return xxhash.xxh3_64_intdigest(id, _SEED)


def decode_stream_node(node: r.StreamNode) -> list[StreamEntry]:
    """The entries of one macro node, deleted ones left out."""
    items = listpack_entries(node.listpack)
    try:
        return _node_entries(node, items)
    except IndexError:
        raise DecodeError("a stream node is cut short") from None


def _node_entries(node: r.StreamNode, items: list[bytes | int]) -> list[StreamEntry]:
    fields = _number(items[2])
    if fields < 0 or items[3 + fields] != 0:
        raise DecodeError("the fields of a stream node do not end where they should")
    names = [_text(item) for item in items[3 : 3 + fields]]
    at = 4 + fields
    entries: list[StreamEntry] = []
    deleted = 0
    while at < len(items):
        flags = _number(items[at])
        ms, seq = node.ms + _number(items[at + 1]), node.seq + _number(items[at + 2])
        if not 0 <= flags <= _DELETED | _SAME_FIELDS or not (0 <= ms < _ID_END and 0 <= seq < _ID_END):
            raise DecodeError("an entry of a stream node has unknown flags or an impossible id")
        at += 3
        if flags & _SAME_FIELDS:
            stop = at + fields
            size = fields + 3
        else:
            size = 2 * _number(items[at]) + 4
            at += 1
            stop = at + size - 4
        if stop < at or items[stop] != size:
            raise DecodeError("an entry of a stream node has a wrong size behind it")
        if flags & _DELETED:
            deleted += 1
        else:
            content = [_text(item) for item in items[at:stop]]
            if flags & _SAME_FIELDS:
                content = [text for pair in zip(names, content, strict=True) for text in pair]
            entries.append((ms, seq, content))
        at = stop + 1
    if (_number(items[0]), _number(items[1])) != (len(entries), deleted):
        raise DecodeError(f"a stream node holds {len(entries):,} entries, {deleted:,} deleted, and declares others")
    return entries


def _number(item: bytes | int) -> int:
    if isinstance(item, bytes):
        raise DecodeError("a stream node holds text where a number belongs")
    return item


def _text(item: bytes | int) -> bytes:
    return item if isinstance(item, bytes) else b"%d" % item


def decode_stream_meta(meta: r.StreamMeta) -> StreamInfo:
    """What follows the nodes of a stream, from the bytes as they stood."""
    cursor = Cursor(meta.raw)
    length = cursor.length()
    last_id = (cursor.length(), cursor.length())
    newer = meta.type == r.STREAM3
    first_id = max_deleted_id = entries_added = None
    if newer:
        first_id = (cursor.length(), cursor.length())
        max_deleted_id = (cursor.length(), cursor.length())
        entries_added = cursor.length()
    groups: list[Group] = []
    for _ in range(cursor.length()):
        name = cursor.string()
        group_last = (cursor.length(), cursor.length())
        entries_read = signed(cursor.length()) if newer else -1
        pending = [
            PendingEntry(cursor.u64be(), cursor.u64be(), cursor.u64le(), cursor.length())
            for _ in range(cursor.length())
        ]
        consumers = [_consumer(cursor, newer) for _ in range(cursor.length())]
        groups.append(Group(name, group_last, entries_read, pending, consumers))
    cursor.expect_end()
    return StreamInfo(length, last_id, first_id, max_deleted_id, entries_added, groups)


def _consumer(cursor: Cursor, newer: bool) -> Consumer:
    name = cursor.string()
    seen = signed(cursor.u64le())
    active = signed(cursor.u64le()) if newer else -1
    return Consumer(name, seen, active, [(cursor.u64be(), cursor.u64be()) for _ in range(cursor.length())])
