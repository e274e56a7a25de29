"""What a FLOW delivers, in stream order: the records that the sans-IO decoders give.

Tuples, because millions of them pass; `Strings` holds a run of plain string keys, the commonest case, in one record.
Expiry is absolute unix milliseconds, 0 = none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# RDB value types (protocol page §3.4). In Dragonfly's streams 20 is JSON, not Redis' set-listpack.
STRING, SET, HASH, ZSET2, INTSET = 0, 2, 4, 5, 11
ZSET_ZIPLIST, HASH_ZIPLIST, LIST_QUICKLIST, STREAM1 = 12, 13, 14, 15
HASH_LISTPACK, ZSET_LISTPACK, LIST_QUICKLIST2, JSON_OLD, STREAM3 = 16, 17, 18, 20, 21
JSON, HASH_TTL, SET_TTL, BLOOM, BLOOM2, CMS, TOPK, CUCKOO = 30, 31, 32, 33, 34, 35, 36, 37

KIND: dict[int, str] = {
    STRING: "string", SET: "set", INTSET: "set", SET_TTL: "set",
    HASH: "hash", HASH_ZIPLIST: "hash", HASH_LISTPACK: "hash", HASH_TTL: "hash",
    ZSET2: "zset", ZSET_ZIPLIST: "zset", ZSET_LISTPACK: "zset",
    LIST_QUICKLIST: "list", LIST_QUICKLIST2: "list",
    STREAM1: "stream", STREAM3: "stream", JSON_OLD: "json", JSON: "json",
    BLOOM: "bloom", BLOOM2: "bloom", CMS: "cms", TOPK: "topk", CUCKOO: "cuckoo",
}  # fmt: skip


class Strings(NamedTuple):
    """A run of whole string keys of one database: (key, value, expire_ms)."""

    db: int
    items: list[tuple[bytes, bytes, int]]


class Value(NamedTuple):
    """A whole value small enough to hold: `raw` is the RDB value as it stood behind the key, no type byte."""

    db: int
    key: bytes
    expire_ms: int
    type: int
    raw: bytes


class ValueStart(NamedTuple):
    """A value too big to hold begins; its parts follow, with other records between them. `id`: unique per FLOW."""

    id: int
    db: int
    key: bytes
    expire_ms: int
    type: int


class ValuePart(NamedTuple):
    """Elements of a big value, in order. `elements` by kind:

    string, json: list of bytes pieces to be joined; list, set: list of bytes;
    hash: flat [field, value, ...]; zset: flat [member, score text, ...];
    HASH_TTL: flat [field, value, expire_ms (0 none) as int, ...]; SET_TTL: flat [member, expire_ms, ...];
    stream: list of `StreamNode`, and at the end one `StreamMeta`;
    sketches (bloom, cms, topk, cuckoo): list of raw bytes pieces of the value.
    """

    id: int
    elements: list[object]


class ValueEnd(NamedTuple):
    """The big value is complete."""

    id: int


class StreamNode(NamedTuple):
    """One macro node of a stream: master id (ms, seq) and its listpack bytes."""

    ms: int
    seq: int
    listpack: bytes


class StreamMeta(NamedTuple):
    """What follows the nodes of a stream (§3.6). `raw` are its bytes as they stood, for re-encoding."""

    type: int
    raw: bytes


class FullSyncEnd(NamedTuple):
    """Opcode 200: all static data of this shard was sent."""


class JournalOffset(NamedTuple):
    """Opcode 211: next LSN of this shard; the full sync's cut."""

    lsn: int


class StreamEnd(NamedTuple):
    """FF, checksum and the 40-byte token; the raw journal follows."""

    token: bytes


class Aux(NamedTuple):
    """An AUX field of the RDB header part."""

    key: bytes
    value: bytes


class Entry(NamedTuple):
    """A journal entry. `op` is the opcode (§4.2): COMMAND 10, MULTI_COMMAND 11, EXPIRED 9 carry `args`
    (argv, name first); EXEC 12 and PING 13 none; LSN 15 carries its value in `txid` and does not count."""

    op: int
    db: int
    txid: int
    args: Sequence[bytes]


class Blob(NamedTuple):
    """Opcode 210: journal entries inside the full sync (they have no LSN of their own)."""

    entries: list[Entry]


OP_SELECT, OP_EXPIRED, OP_COMMAND, OP_MULTI, OP_EXEC, OP_PING, OP_FIN, OP_LSN = 6, 9, 10, 11, 12, 13, 14, 15

OP_LARGE = 0x10A  # ours: a COMMAND, MULTI_COMMAND or EXPIRED with an argument of more than LARGE bytes
LARGE = 1024 * 1024  # no server's proto-max-bulk-len is smaller

SnapshotRecord = (
    Strings | Value | ValueStart | ValuePart | ValueEnd | FullSyncEnd | JournalOffset | StreamEnd | Aux | Blob
)
