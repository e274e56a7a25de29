"""Whole values decoded: elements of any container, and streams with their groups (protocol page §3.4 to §3.6).

For those who rebuild a value with commands or re-encode it. Errors are DecodeError without a flow or an offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb.encodings import listpack
from df2redis_tui.dragonfly.rdb.lengths import Cursor, signed
from df2redis_tui.dragonfly.rdb.source import Whole
from df2redis_tui.dragonfly.rdb.walk import walk
from df2redis_tui.errors import DecodeError

StreamId = tuple[int, int]
StreamEntry = tuple[int, int, list[bytes]]

_DELETED, _SAME_FIELDS = 1, 2
_IDS: Final = 1 << 64


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


@dataclass(frozen=True, slots=True)
class StreamValue:
    """A whole stream: entries as (ms, seq, [field, value, ...]) in order, and the rest as in `StreamInfo`."""

    entries: list[StreamEntry]
    length: int
    last_id: StreamId
    first_id: StreamId | None
    max_deleted_id: StreamId | None
    entries_added: int | None
    groups: list[Group]


class _AllParts:
    """A sink that keeps everything: the value is in memory already."""

    limit: Final = 1 << 62

    def part(self, elements: list[object]) -> bool:
        raise AssertionError("a value in memory is never cut into parts")


def decode_elements(type: int, raw: bytes) -> list[object]:
    """The elements of the whole value `raw` (no type byte), in the shapes of `records.ValuePart`.

    String and JSON: one element, the text. Sketches: one element, the raw bytes.
    """
    if type in (r.STRING, r.JSON, r.JSON_OLD):
        cursor = Cursor(raw)
        text = cursor.string()
        cursor.expect_end()
        return [text]
    src = Whole(raw)
    steps = walk(src, type, _AllParts())
    try:
        next(steps)
    except StopIteration as done:
        elements: list[object] = done.value
        if src.available():
            raise DecodeError(f"{src.available():,} bytes are left behind the value") from None
        return elements
    raise AssertionError("a value in memory never waits")


def decode_stream(type: int, raw: bytes) -> StreamValue:
    """A whole stream value of type 15 or 21."""
    if type not in (r.STREAM1, r.STREAM3):
        raise DecodeError(f"value type {type} is not a stream")
    entries: list[StreamEntry] = []
    meta = r.StreamMeta(type, b"")
    for element in decode_elements(type, raw):
        if isinstance(element, r.StreamNode):
            entries += decode_stream_node(element)
        elif isinstance(element, r.StreamMeta):
            meta = element
    info = decode_stream_meta(meta)
    return StreamValue(
        entries, info.length, info.last_id, info.first_id, info.max_deleted_id, info.entries_added, info.groups
    )


def decode_stream_node(node: r.StreamNode) -> list[StreamEntry]:
    """The entries of one macro node, deleted ones left out."""
    items = listpack(node.listpack)
    try:
        return _node_entries(node, items)
    except IndexError:
        raise DecodeError("a stream node is cut short") from None
    except ValueError:
        raise DecodeError("a stream node holds text, or no id, where a number belongs") from None


def _node_entries(node: r.StreamNode, items: list[bytes]) -> list[StreamEntry]:
    fields = int(items[2])
    if fields < 0 or 3 + fields >= len(items):
        raise IndexError
    names = items[3 : 3 + fields]
    at = 4 + fields
    entries: list[StreamEntry] = []
    while at < len(items):
        flags = int(items[at])
        ms, seq = node.ms + int(items[at + 1]), node.seq + int(items[at + 2])
        if not (0 <= ms < _IDS and 0 <= seq < _IDS):
            raise ValueError
        at += 3
        if flags & _SAME_FIELDS:
            count = fields
            stop = at + count
            content = [item for pair in zip(names, items[at:stop], strict=False) for item in pair]
        else:
            count = int(items[at])
            at += 1
            stop = at + 2 * count
            content = items[at:stop]
        if count < 0 or stop >= len(items):
            raise IndexError
        at = stop + 1
        if not flags & _DELETED:
            entries.append((ms, seq, content))
    return entries


def decode_stream_meta(meta: r.StreamMeta) -> StreamInfo:
    """What follows the nodes of a stream, from the bytes as they stood (§3.6)."""
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
