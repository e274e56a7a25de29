"""Values too big to hold, rebuilt with native commands in bounded chunks as their parts arrive."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, cast

from df2redis_tui.dragonfly import records
from df2redis_tui.dragonfly.rdb.stream_values import StreamId, decode_stream_node
from df2redis_tui.dragonfly.records import StreamMeta, StreamNode, ValueStart
from df2redis_tui.translate import streams
from df2redis_tui.translate.payload import payload
from df2redis_tui.translate.resp import command
from df2redis_tui.translate.stream_groups import StreamInfo
from df2redis_tui.translate.values import (
    JSON_TYPES,
    NO_FIELD_TTL,
    NO_MEMBER_TTL,
    Unrepresentable,
    ValueWriter,
    field_expiry_commands,
    refuse_type,
)  # fmt: skip

CHUNK_ELEMENTS: Final = 512
CHUNK_BYTES: Final = 128 * 1024
STREAM_RESTORED_MOST: Final = 16 * 1024 * 1024  # bytes of nodes; beyond, the stream is replayed (§3.6: inexact)

IDS_KNOWN_MOST: Final = 4_000_000  # numbers, two per entry, of a replayed stream: 32 MB

TOO_LARGE: Final = "it is larger than the {:,} bytes which the target takes in one value (its proto-max-bulk-len)"

_ADD: Final = {"list": (b"RPUSH", 1), "set": (b"SADD", 1), "hash": (b"HSET", 2)}


class BigValue:
    """One open value. `start`, then `part` per ValuePart, then `end`; each gives the commands to send.

    `started` says whether the target's key was touched. Unrepresentable ends it at any point; what is then on the
    target is half a value, which the caller removes. `lost` counts pending stream entries that could not be replayed.
    """

    def __init__(self, record: ValueStart, writer: ValueWriter) -> None:
        self.db = record.db
        self.key = record.key
        self.expire_ms = record.expire_ms
        self.type = record.type
        self.kind = records.KIND.get(record.type, f"type {record.type}")
        self.started = False
        self.refused = False
        self.lost = 0
        self._caps = writer.caps
        self._drop_ttl = writer.member_ttl == "drop"
        self._held: list[bytes] = []
        self._nodes: list[StreamNode] = []
        self._node_bytes = 0
        self._replaying = False
        self._string_bytes = 0
        self._ids = array("Q")
        self._last_id: StreamId = (0, 0)

    @property
    def converges(self) -> bool:
        """Whether its parts may be sent a second time (lists, strings and replayed streams would grow)."""
        return self.kind not in ("list", "string", "stream")

    def start(self) -> list[bytes]:
        """Raises Unrepresentable before the key is touched when its type says so."""
        refuse_type(self.type, self._caps)
        if self.kind == "stream" or self.type in JSON_TYPES:
            return []
        self.started = True
        return [command(b"UNLINK", self.key)]

    def part(self, elements: list[object]) -> Iterator[bytes]:
        """Raises Unrepresentable where the target can't take it (or while the result is gone through)."""
        self._check_size(elements)
        if self.type == records.STRING:
            return (command(b"APPEND", self.key, piece) for piece in cast("list[bytes]", elements))
        if self.type in JSON_TYPES:
            self._held += cast("list[bytes]", elements)
            return iter(())
        if self.kind == "stream":
            return self._stream(cast("list[StreamNode | StreamMeta]", elements))
        if self.type == records.HASH_TTL:
            return self._hash_ttl(cast("list[bytes | int]", elements))
        if self.type == records.SET_TTL:
            return self._set_ttl(cast("list[bytes | int]", elements))
        flat = cast("list[bytes]", elements)
        if self.kind == "zset":
            scored = list(chain.from_iterable(zip(flat[1::2], flat[::2], strict=True)))
            return chunked(b"ZADD", self.key, scored, 2)
        name, width = _ADD[self.kind]
        return chunked(name, self.key, flat, width)

    def _check_size(self, elements: list[object]) -> None:
        """No argument, and no string as a whole, may be larger than the target takes."""
        limit = self._caps.bulk_limit
        sizes = [len(element) for element in elements if isinstance(element, bytes)]
        if self.type == records.STRING or self.type in JSON_TYPES:
            self._string_bytes += sum(sizes)
            sizes = [self._string_bytes]
        if sizes and max(sizes) > limit:
            raise Unrepresentable(self.kind, TOO_LARGE.format(limit))

    def end(self) -> list[bytes]:
        """What completes the value; its expiry is read from `expire_ms` now."""
        out: list[bytes] = []
        if self.type in JSON_TYPES:
            out = [command(b"DEL", self.key), command(b"JSON.SET", self.key, b"$", b"".join(self._held))]
            self._held = []
        if self.expire_ms:
            out.append(command(b"PEXPIREAT", self.key, b"%d" % self.expire_ms))
        return out

    def _hash_ttl(self, flat: list[bytes | int]) -> Iterator[bytes]:
        expiring = any(flat[2::3])
        if expiring and not (self._caps.field_ttl or self._drop_ttl):
            raise Unrepresentable("hash", NO_FIELD_TTL)
        pairs = [cast("bytes", part) for i, part in enumerate(flat) if i % 3 != 2]
        yield from chunked(b"HSET", self.key, pairs, 2)
        if expiring and self._caps.field_ttl:
            for at in range(0, len(flat), 3 * CHUNK_ELEMENTS):
                yield from field_expiry_commands(self.key, flat[at : at + 3 * CHUNK_ELEMENTS])

    def _set_ttl(self, flat: list[bytes | int]) -> Iterator[bytes]:
        if any(flat[1::2]) and not self._drop_ttl:
            raise Unrepresentable("set", NO_MEMBER_TTL)
        yield from chunked(b"SADD", self.key, [cast("bytes", member) for member in flat[::2]], 1)

    def _stream(self, elements: list[StreamNode | StreamMeta]) -> Iterator[bytes]:
        for element in elements:
            if isinstance(element, StreamMeta):
                yield from self._finish_stream(element)
            elif self._replaying:
                yield from self._replay(element)
            else:
                self._nodes.append(element)
                self._node_bytes += len(element.listpack)
                if self._node_bytes > STREAM_RESTORED_MOST:
                    self._replaying = self.started = True
                    yield command(b"UNLINK", self.key)
                    held, self._nodes = self._nodes, []
                    for node in held:
                        yield from self._replay(node)

    def _replay(self, node: StreamNode) -> Iterator[bytes]:
        for ms, seq, flat in decode_stream_node(node):
            self._last_id = (ms, seq)
            if len(self._ids) < IDS_KNOWN_MOST:
                self._ids += array("Q", (ms, seq))
            yield command(b"XADD", self.key, streams.id_text((ms, seq)), *flat)

    def _finish_stream(self, meta: StreamMeta) -> Iterator[bytes]:
        if not self._replaying:
            rdb_type, raw = streams.reencode(meta.type, streams.join_nodes(self._nodes, meta.raw), self._caps)
            self._nodes = []
            self.started = True
            yield command(b"RESTORE", self.key, b"0", payload(rdb_type, raw), b"REPLACE", b"ABSTTL")
            return
        yield from streams.info_commands(self.key, StreamInfo(meta), self._caps, self._claimed)

    def _claimed(self, wanted: StreamId) -> None:
        """Whether the stream has this entry; behind the known ids they are taken for present up to the last."""
        ids = self._ids
        at = bisect_left(range(0, len(ids), 2), wanted, key=lambda i: (ids[i], ids[i + 1]))
        if 2 * at < len(ids):
            self.lost += (ids[2 * at], ids[2 * at + 1]) != wanted
        elif len(ids) < IDS_KNOWN_MOST or wanted > self._last_id:
            self.lost += 1


def chunked(name: bytes, key: bytes, flat: Sequence[bytes], width: int) -> Iterator[bytes]:
    """`name key` with elements of `width` arguments each, cut at CHUNK_ELEMENTS or about CHUNK_BYTES."""
    begin = size = 0
    for at in range(0, len(flat), width):
        if size >= CHUNK_BYTES or at - begin >= CHUNK_ELEMENTS * width:
            yield command(name, key, *flat[begin:at])
            begin, size = at, 0
        for arg in flat[at : at + width]:
            size += len(arg)
    if begin < len(flat):
        yield command(name, key, *flat[begin:])
