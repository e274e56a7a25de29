"""Streams: the description behind a stream's nodes, its re-encoding, and its replay with native commands (§3.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from df2redis_tui.dragonfly import records
from df2redis_tui.dragonfly.rdb.encodings import listpack
from df2redis_tui.dragonfly.rdb.lengths import Cursor, skip_length, skip_strings
from df2redis_tui.dragonfly.records import StreamNode
from df2redis_tui.errors import DecodeError
from df2redis_tui.translate.capabilities import Capabilities
from df2redis_tui.translate.payload import STREAM2, encode_length, encode_string
from df2redis_tui.translate.resp import command

Id = tuple[int, int]
UNKNOWN_READ: Final = (1 << 64) - 1  # a stored −1

_DELETED, _SAME_FIELDS = 1, 2


@dataclass(slots=True)
class Consumer:
    """`pending` are raw 16-byte ids."""

    name: bytes
    seen_ms: int
    active_ms: int
    pending: list[bytes]


@dataclass(slots=True)
class Group:
    """`pending`: raw 16-byte id → (delivery unix ms, delivery count)."""

    name: bytes
    last: Id
    entries_read: int
    pending: dict[bytes, tuple[int, int]]
    consumers: list[Consumer]


@dataclass(slots=True)
class StreamState:
    """What a stream is besides its entries. Type 15 lacks first, max_deleted, entries_added and entries_read."""

    length: int
    last: Id
    first: Id
    max_deleted: Id
    entries_added: int
    groups: list[Group]


def parse_state(rdb_type: int, raw: bytes) -> StreamState:
    """The bytes behind the nodes of a type 15 or 21 stream. DecodeError when malformed."""
    cursor = Cursor(raw)
    full = rdb_type == records.STREAM3
    state = StreamState(cursor.length(), _id(cursor), (0, 0), (0, 0), 0, [])
    state.entries_added = state.length
    if full:
        state.first, state.max_deleted, state.entries_added = _id(cursor), _id(cursor), cursor.length()
    for _ in range(cursor.length()):
        group = Group(cursor.string(), _id(cursor), UNKNOWN_READ, {}, [])
        if full:
            group.entries_read = cursor.length()
        for _ in range(cursor.length()):
            entry = cursor.take(16)
            group.pending[entry] = (cursor.u64le(), cursor.length())
        for _ in range(cursor.length()):
            name, seen = cursor.string(), cursor.u64le()
            active = cursor.u64le() if full else seen
            group.consumers.append(Consumer(name, seen, active, [cursor.take(16) for _ in range(cursor.length())]))
        state.groups.append(group)
    return state


def encode_state(state: StreamState, rdb_type: int) -> bytes:
    """The bytes behind the nodes, for types 15 and 19."""
    full = rdb_type == STREAM2
    out = [encode_length(state.length), _encode_id(state.last)]
    if full:
        out += (_encode_id(state.first), _encode_id(state.max_deleted), encode_length(state.entries_added))
    out.append(encode_length(len(state.groups)))
    for group in state.groups:
        out += (encode_string(group.name), _encode_id(group.last))
        if full:
            out.append(encode_length(group.entries_read))
        out.append(encode_length(len(group.pending)))
        for entry, (delivered, count) in group.pending.items():
            out += (entry, delivered.to_bytes(8, "little"), encode_length(count))
        out.append(encode_length(len(group.consumers)))
        for consumer in group.consumers:
            out += (encode_string(consumer.name), consumer.seen_ms.to_bytes(8, "little"))
            out += (encode_length(len(consumer.pending)), *consumer.pending)
    return b"".join(out)


def nodes_end(raw: bytes) -> int:
    """Where the state begins in a whole stream value."""
    try:
        count, pos = skip_length(raw, 0)
        return skip_strings(raw, pos, 2 * count)
    except IndexError:
        raise DecodeError("a stream's nodes are cut short") from None


def join_nodes(nodes: list[StreamNode], state: bytes) -> bytes:
    """A whole stream value from its nodes and the bytes behind them."""
    parts = [encode_length(len(nodes))]
    for node in nodes:
        parts += (b"\x10", _raw_id((node.ms, node.seq)), encode_string(node.listpack))
    return b"".join((*parts, state))


def reencode(rdb_type: int, raw: bytes, caps: Capabilities) -> tuple[int, bytes]:
    """(type, value) that the target's RESTORE takes for a whole stream: as it is, 19 on Redis 7.0, else 15."""
    if rdb_type in caps.rdb_types:
        return rdb_type, raw
    target = STREAM2 if caps.entries_read else records.STREAM1
    at = nodes_end(raw)
    return target, raw[:at] + encode_state(parse_state(rdb_type, raw[at:]), target)


def node_entries(node: StreamNode) -> Iterator[tuple[Id, bool, list[bytes]]]:
    """(id, deleted, flat fields and values) of every entry of a node. DecodeError when malformed."""
    items = listpack(node.listpack)
    try:
        total = int(items[0]) + int(items[1])
        width = int(items[2])
        shared = items[3 : 3 + width]
        at = 4 + width
        for _ in range(total):
            flags = int(items[at])
            entry_id = (node.ms + int(items[at + 1]), node.seq + int(items[at + 2]))
            at += 3
            if flags & _SAME_FIELDS:
                values = items[at : at + width]
                at += width
                flat = [part for pair in zip(shared, values, strict=True) for part in pair]
            else:
                count = int(items[at])
                flat = items[at + 1 : at + 1 + 2 * count]
                at += 1 + 2 * count
            at += 1
            yield entry_id, bool(flags & _DELETED), flat
    except (IndexError, ValueError):
        raise DecodeError("a stream's node is malformed") from None


def state_commands(key: bytes, state: StreamState, caps: Capabilities) -> Iterator[bytes]:
    """What restores the state after all XADDs. Pending entries of deleted ids can't be restored."""
    if not state.length:
        yield command(b"XGROUP", b"CREATE", key, b"df2redis", b"$", b"MKSTREAM")
        yield command(b"XGROUP", b"DESTROY", key, b"df2redis")
    if caps.entries_read:
        added, deleted = b"%d" % state.entries_added, id_text(state.max_deleted)
        yield command(b"XSETID", key, id_text(state.last), b"ENTRIESADDED", added, b"MAXDELETEDID", deleted)
    else:
        yield command(b"XSETID", key, id_text(state.last))
    for group in state.groups:
        create = [b"XGROUP", b"CREATE", key, group.name, id_text(group.last)]
        if caps.entries_read:
            create += [b"ENTRIESREAD", b"-1" if group.entries_read >> 63 else b"%d" % group.entries_read]
        yield command(*create)
        for consumer in group.consumers:
            yield command(b"XGROUP", b"CREATECONSUMER", key, group.name, consumer.name)
            for entry in consumer.pending:
                delivered, count = group.pending.get(entry, (consumer.seen_ms, 1))
                claim = [b"XCLAIM", key, group.name, consumer.name, b"0", id_text(from_raw(entry))]
                yield command(*claim, b"TIME", b"%d" % delivered, b"RETRYCOUNT", b"%d" % count, b"FORCE", b"JUSTID")


def id_text(entry: Id) -> bytes:
    """`ms-seq`."""
    return b"%d-%d" % entry


def from_raw(entry: bytes) -> Id:
    """From 16 raw bytes, big endian."""
    return int.from_bytes(entry[:8], "big"), int.from_bytes(entry[8:], "big")


def _raw_id(entry: Id) -> bytes:
    return entry[0].to_bytes(8, "big") + entry[1].to_bytes(8, "big")


def _id(cursor: Cursor) -> Id:
    return cursor.length(), cursor.length()


def _encode_id(entry: Id) -> bytes:
    return encode_length(entry[0]) + encode_length(entry[1])
