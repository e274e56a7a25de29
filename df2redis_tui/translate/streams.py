"""Streams: re-encoding to what the target's RESTORE takes, and replay with native commands (§3.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from df2redis_tui.dragonfly import records
from df2redis_tui.dragonfly.rdb.lengths import skip_length, skip_strings
from df2redis_tui.dragonfly.rdb.stream_values import StreamId
from df2redis_tui.dragonfly.records import StreamMeta, StreamNode
from df2redis_tui.errors import DecodeError
from df2redis_tui.translate.capabilities import Capabilities
from df2redis_tui.translate.payload import STREAM2, encode_length, encode_string
from df2redis_tui.translate.resp import command
from df2redis_tui.translate.stream_groups import StreamInfo

_MINUS_ONE = (1 << 64) - 1


def encode_info(info: StreamInfo, rdb_type: int) -> bytes:
    """The bytes behind the nodes, for type 15 or 19."""
    full = rdb_type == STREAM2
    out = bytearray(encode_length(info.length) + _encode_id(info.last_id))
    if full:
        added = info.length if info.entries_added is None else info.entries_added
        out += _encode_id(info.first_id or (0, 0)) + _encode_id(info.max_deleted_id or (0, 0)) + encode_length(added)
    out += encode_length(info.groups_count)
    for group in info.groups():
        out += encode_string(group.name) + _encode_id(group.last_id)
        if full:
            out += encode_length(group.entries_read & _MINUS_ONE)
        out += encode_length(group.pending.count)
        out += group.pending.as_it_stands()
        out += encode_length(group.consumers_count)
        for consumer in group.consumers:
            out += encode_string(consumer.name) + (consumer.seen_ms & _MINUS_ONE).to_bytes(8, "little")
            out += encode_length(len(consumer.pending) // 16)
            out += consumer.pending
    return bytes(out)


def nodes_end(raw: bytes) -> int:
    """Where the description behind the nodes begins in a whole stream value."""
    try:
        count, pos = skip_length(raw, 0)
        return skip_strings(raw, pos, 2 * count)
    except IndexError:
        raise DecodeError("a stream's nodes are cut short") from None


def join_nodes(nodes: list[StreamNode], meta: bytes) -> bytes:
    """A whole stream value from its nodes and the bytes behind them."""
    parts = [encode_length(len(nodes))]
    for node in nodes:
        parts += (b"\x10", raw_id((node.ms, node.seq)), encode_string(node.listpack))
    return b"".join((*parts, meta))


def reencode(rdb_type: int, raw: bytes, caps: Capabilities) -> tuple[int, bytes]:
    """(type, value) that the target's RESTORE takes for a whole stream: as it is, 19 on Redis 7.0, else 15."""
    if rdb_type in caps.rdb_types:
        return rdb_type, raw
    target = STREAM2 if caps.entries_read else records.STREAM1
    at = nodes_end(raw)
    return target, raw[:at] + encode_info(StreamInfo(StreamMeta(rdb_type, raw[at:])), target)


def info_commands(
    key: bytes, info: StreamInfo, caps: Capabilities, claimed: Callable[[StreamId], None]
) -> Iterator[bytes]:
    """What restores everything but the entries, behind all XADDs. `claimed` is told of each pending entry; those of
    deleted ids can't be restored. Raises DecodeError while it is gone through."""
    if not info.length:
        yield command(b"XGROUP", b"CREATE", key, b"df2redis", b"$", b"MKSTREAM")
        yield command(b"XGROUP", b"DESTROY", key, b"df2redis")
    last = [b"XSETID", key, id_text(info.last_id)]
    if caps.entries_read and info.entries_added is not None:
        last += [b"ENTRIESADDED", b"%d" % info.entries_added, b"MAXDELETEDID", id_text(info.max_deleted_id or (0, 0))]
    yield command(*last)
    for group in info.groups():
        create = [b"XGROUP", b"CREATE", key, group.name, id_text(group.last_id)]
        if caps.entries_read:
            create += [b"ENTRIESREAD", b"%d" % group.entries_read]
        yield command(*create)
        for consumer in group.consumers:
            yield command(b"XGROUP", b"CREATECONSUMER", key, group.name, consumer.name)
            for raw in consumer.ids():
                delivered = group.pending.find(raw)
                if delivered is None:
                    raise DecodeError("a consumer of a stream has a pending entry that its group has not")
                entry_id = int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big")
                claimed(entry_id)
                claim = [b"XCLAIM", key, group.name, consumer.name, b"0", id_text(entry_id)]
                claim += [b"TIME", b"%d" % delivered[0], b"RETRYCOUNT", b"%d" % delivered[1]]
                yield command(*claim, b"FORCE", b"JUSTID")


def id_text(entry: StreamId) -> bytes:
    """`ms-seq`."""
    return b"%d-%d" % entry


def raw_id(entry: StreamId) -> bytes:
    """16 bytes, big endian."""
    return entry[0].to_bytes(8, "big") + entry[1].to_bytes(8, "big")


def _encode_id(entry: StreamId) -> bytes:
    return encode_length(entry[0]) + encode_length(entry[1])
