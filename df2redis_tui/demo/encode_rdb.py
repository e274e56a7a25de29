"""Encoders for the full-sync stream of a FLOW (protocol page §3): lengths, strings, values, entries, blobs, chunks.

The counterpart of the decoders in `df2redis_tui.dragonfly.rdb`; written from the page, not from them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

import lz4.frame

from df2redis_tui.dragonfly.records import (
    HASH,
    HASH_LISTPACK,
    HASH_TTL,
    INTSET,
    JSON,
    LIST_QUICKLIST2,
    SET,
    SET_TTL,
    STREAM3,
    STRING,
    ZSET2,
    ZSET_LISTPACK,
)

HEADER: Final = b"REDIS0009"
FULLSYNC_END: Final = b"\xc8" + bytes(8)
MEMBER_EXPIRY_BASE: Final = 1_675_209_600  # seconds, 2023-02-01: what field and member expiries count from
MASK_STICKY: Final = 1
MASK_MC_FLAGS: Final = 2

__all__ = [
    "FULLSYNC_END", "HASH", "HASH_LISTPACK", "HASH_TTL", "HEADER", "INTSET", "JSON", "LIST_QUICKLIST2",
    "MASK_MC_FLAGS", "MASK_STICKY", "MEMBER_EXPIRY_BASE", "SET", "SET_TTL", "STREAM3", "STRING", "ZSET2",
    "ZSET_LISTPACK", "aux", "encode_hash", "encode_hash_ttl", "encode_intset", "encode_list", "encode_set",
    "encode_set_ttl", "encode_stream3", "encode_zset", "entry_head", "intset", "journal_blob", "journal_offset",
    "length", "listpack", "lz4_blob", "select_db", "stream_end", "string", "tagged_chunk",
]  # fmt: skip


def length(n: int) -> bytes:
    """LEN (§3.2): 6, 14, 32 or 64 bits, big endian."""
    if n < 0x40:
        return bytes((n,))
    if n < 0x4000:
        return (0x4000 | n).to_bytes(2, "big")
    if n <= 0xFFFFFFFF:
        return b"\x80" + n.to_bytes(4, "big")
    return b"\x81" + n.to_bytes(8, "big")


def _canonical_integer(text: bytes) -> int | None:
    if not 0 < len(text) <= 11 or not text.lstrip(b"-").isdigit():
        return None
    number = int(text)
    return number if b"%d" % number == text else None


def string(text: bytes) -> bytes:
    """STR (§3.3): integers of at most 32 bits in canonical decimal become C0, C1 or C2, all else a length and the
    bytes.
    """
    number = _canonical_integer(text)
    if number is not None:
        if -0x80 <= number < 0x80:
            return b"\xc0" + number.to_bytes(1, "little", signed=True)
        if -0x8000 <= number < 0x8000:
            return b"\xc1" + number.to_bytes(2, "little", signed=True)
        if -0x80000000 <= number < 0x80000000:
            return b"\xc2" + number.to_bytes(4, "little", signed=True)
    return length(len(text)) + text


def _strings(items: Iterable[bytes]) -> bytes:
    return b"".join(map(string, items))


def _listpack_entry(item: bytes | int) -> bytes:
    number = item if isinstance(item, int) else _listpack_integer(item)
    if number is not None:
        body = _listpack_number(number)
    else:
        assert isinstance(item, bytes)
        size = len(item)
        if size < 0x40:
            body = bytes((0x80 | size,)) + item
        elif size < 0x1000:
            body = (0xE000 | size).to_bytes(2, "big") + item
        else:
            body = b"\xf0" + size.to_bytes(4, "little") + item
    return body + _back_length(len(body))


def _listpack_integer(text: bytes) -> int | None:
    if not 0 < len(text) <= 20 or not text.lstrip(b"-").isdigit():
        return None
    number = int(text)
    return number if b"%d" % number == text and -(1 << 63) <= number < 1 << 63 else None


def _listpack_number(number: int) -> bytes:
    if 0 <= number < 0x80:
        return bytes((number,))
    if -0x1000 <= number < 0x1000:
        return (0xC000 | (number & 0x1FFF)).to_bytes(2, "big")
    for mark, width in ((0xF1, 2), (0xF2, 3), (0xF3, 4), (0xF4, 8)):
        if -(1 << (8 * width - 1)) <= number < 1 << (8 * width - 1):
            return bytes((mark,)) + number.to_bytes(width, "little", signed=True)
    raise ValueError("a listpack integer has at most 64 bits")


def _back_length(size: int) -> bytes:
    count = 1 + sum(size >= limit for limit in (128, 16383, 2097151, 268435455))
    groups = [(size >> (7 * i)) & 0x7F for i in reversed(range(count))]
    return bytes([groups[0], *(group | 0x80 for group in groups[1:])])


def listpack(items: Sequence[bytes | int]) -> bytes:
    """A listpack (§3.4): u32le bytes, u16le count, entries, FF; canonical decimal text becomes an integer entry."""
    body = b"".join(map(_listpack_entry, items))
    return struct.pack("<IH", len(body) + 7, min(len(items), 0xFFFF)) + body + b"\xff"


def intset(numbers: Iterable[int]) -> bytes:
    """An intset: u32le width, u32le count, sorted little-endian integers of that width."""
    ordered = sorted(set(numbers))
    low, high = (ordered[0], ordered[-1]) if ordered else (0, 0)
    width = next(w for w in (2, 4, 8) if -(1 << (8 * w - 1)) <= low and high < 1 << (8 * w - 1))
    body = b"".join(n.to_bytes(width, "little", signed=True) for n in ordered)
    return struct.pack("<II", width, len(ordered)) + body


def encode_intset(numbers: Iterable[int]) -> bytes:
    """An intset (type 11)."""
    return _blob_string(intset(numbers))


def _blob_string(raw: bytes) -> bytes:
    return length(len(raw)) + raw


def encode_set(members: Sequence[bytes]) -> bytes:
    """A set (type 2)."""
    return length(len(members)) + _strings(members)


def encode_hash(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A hash (type 4)."""
    return length(len(pairs)) + b"".join(string(f) + string(v) for f, v in pairs)


def encode_hash_listpack(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A small hash (type 16)."""
    return _blob_string(listpack([text for pair in pairs for text in pair]))


def encode_zset(pairs: Sequence[tuple[bytes, float]]) -> bytes:
    """A sorted set (type 5)."""
    return length(len(pairs)) + b"".join(string(m) + struct.pack("<d", score) for m, score in pairs)


def encode_zset_listpack(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """`pairs` are (member, score text)."""
    return _blob_string(listpack([text for pair in pairs for text in pair]))


def encode_list(elements: Sequence[bytes], *, node_elements: int = 128, plain_above: int = 8192) -> bytes:
    """A quicklist of listpacks (type 18); an element above `plain_above` bytes gets a plain node of its own."""
    nodes: list[bytes] = []
    packed: list[bytes] = []
    size = 0
    for element in elements:
        if packed and (len(packed) >= node_elements or size >= plain_above or len(element) > plain_above):
            nodes.append(b"\x02" + _blob_string(listpack(packed)))
            packed, size = [], 0
        if len(element) > plain_above:
            nodes.append(b"\x01" + _blob_string(element))
        else:
            packed.append(element)
            size += len(element)
    if packed:
        nodes.append(b"\x02" + _blob_string(listpack(packed)))
    return length(len(nodes)) + b"".join(nodes)


def expiry_text(expire_ms: int) -> bytes:
    """The expiry of a field or member in types 31 and 32: seconds since `MEMBER_EXPIRY_BASE`, or -1 (`expire_ms` 0)."""
    if expire_ms == 0:
        return b"-1"
    return b"%d" % max(0, (expire_ms + 500) // 1000 - MEMBER_EXPIRY_BASE)


def encode_hash_ttl(fields: Sequence[tuple[bytes, bytes, int]]) -> bytes:
    """`fields` are (field, value, expire_ms or 0)."""
    return length(len(fields)) + b"".join(string(f) + string(v) + string(expiry_text(t)) for f, v, t in fields)


def encode_set_ttl(members: Sequence[tuple[bytes, int]]) -> bytes:
    """`members` are (member, expire_ms or 0)."""
    return length(len(members)) + b"".join(string(m) + string(expiry_text(t)) for m, t in members)


def stream_id(ms: int, seq: int) -> bytes:
    """16 bytes, big endian."""
    return struct.pack(">QQ", ms, seq)


StreamEntry = tuple[tuple[int, int], Sequence[tuple[bytes, bytes]]]
PelEntry = tuple[tuple[int, int], int, int]  # id, delivery time (ms), delivery count
StreamGroup = tuple[
    bytes, tuple[int, int], int, Sequence[PelEntry], Sequence[tuple[bytes, int, int, Sequence[tuple[int, int]]]]
]


def stream_node(entries: Sequence[StreamEntry]) -> bytes:
    """One macro node: STR master id, STR listpack; ids count from the first entry, whose fields are the master
    fields.
    """
    (ms, seq), first_fields = entries[0]
    names = [f for f, _ in first_fields]
    items: list[bytes | int] = [len(entries), 0, len(names), *names, 0]
    for (entry_ms, entry_seq), fields in entries:
        same = [f for f, _ in fields] == names
        items += [2 if same else 0, entry_ms - ms, entry_seq - seq]
        if same:
            items += [v for _, v in fields]
            items.append(len(fields) + 3)
        else:
            items.append(len(fields))
            items += [text for pair in fields for text in pair]
            items.append(2 * len(fields) + 4)
    return _blob_string(stream_id(ms, seq)) + _blob_string(listpack(items))


def encode_stream3(
    entries: Sequence[StreamEntry],
    *,
    last_id: tuple[int, int] = (0, 0),
    max_deleted: tuple[int, int] = (0, 0),
    entries_added: int | None = None,
    groups: Sequence[StreamGroup] = (),
    node_entries: int = 100,
) -> bytes:
    """A stream (type 21). A group is (name, last id, entries read, PEL, consumers); a consumer is
    (name, seen ms, active ms, ids of its pending entries)."""
    nodes = [stream_node(entries[i : i + node_entries]) for i in range(0, len(entries), node_entries)]
    first = entries[0][0] if entries else (0, 0)
    last = max(last_id, entries[-1][0]) if entries else last_id
    out = [length(len(nodes)), *nodes, length(len(entries))]
    out += map(length, (*last, *first, *max_deleted))
    out += [length(len(entries) if entries_added is None else entries_added), length(len(groups))]
    for name, group_last, entries_read, pel, consumers in groups:
        out += [string(name), length(group_last[0]), length(group_last[1]), length(entries_read % (1 << 64))]
        out.append(length(len(pel)))
        out += [stream_id(*entry) + struct.pack("<Q", time_ms) + length(count) for entry, time_ms, count in pel]
        out.append(length(len(consumers)))
        for consumer, seen_ms, active_ms, pending in consumers:
            out += [string(consumer), struct.pack("<QQ", seen_ms, active_ms), length(len(pending))]
            out += [stream_id(*entry) for entry in pending]
    return b"".join(out)


def aux(key: bytes, value: bytes) -> bytes:
    """An AUX field."""
    return b"\xfa" + string(key) + string(value)


def select_db(db: int) -> bytes:
    """SELECTDB."""
    return b"\xfe" + length(db)


def entry_head(
    key: bytes, type_code: int, expire_ms: int = 0, *, sticky: bool = False, mc_flags: int | None = None
) -> bytes:
    """`[FC…] [DC…] type key`: what stands before a value."""
    out = b"\xfc" + expire_ms.to_bytes(8, "little") if expire_ms else b""
    mask = (MASK_STICKY if sticky else 0) | (MASK_MC_FLAGS if mc_flags is not None else 0)
    if mask:
        out += b"\xdc" + mask.to_bytes(4, "little")
        if mc_flags is not None:
            out += mc_flags.to_bytes(4, "little")
    return out + bytes((type_code,)) + string(key)


def journal_blob(records: bytes) -> bytes:
    """Opcode 210. The count is always 1, however many records the string holds."""
    return b"\xd2\x01" + _blob_string(records)


def journal_offset(next_lsn: int) -> bytes:
    """Opcode 211."""
    return b"\xd3" + next_lsn.to_bytes(8, "little")


def stream_end(token: bytes) -> bytes:
    """EOF, 8 bytes, the token."""
    return b"\xff" + bytes(8) + token


def tagged_chunk(stream: int, payload: bytes) -> bytes:
    """Opcode 224: a piece of the entry `stream`, which is not 0."""
    return b"\xe0" + struct.pack("<II", stream, len(payload)) + payload


def lz4_blob(items: bytes) -> bytes | None:
    """Opcode 202 with one LZ4 frame, or None when it does not shrink to 95 %."""
    packed: bytes = lz4.frame.compress(items, store_size=True)
    if len(packed) > len(items) * 95 // 100:
        return None
    return b"\xca" + _blob_string(packed)
