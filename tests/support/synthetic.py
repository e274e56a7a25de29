"""FLOW bytes made up: RDB entries, LZ4 blobs and journal records as a Dragonfly 1.40 writes them (page §3, §4)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence

import lz4.frame

from tests.support.player import FlowScript

TOKEN = "f" * 40
HEADER = b"REDIS0009" + b"\xfa\x09redis-ver\x057.4.0" + b"\xfe\x00"
SNAPSHOT_END = b"\xc8" + bytes(8)
STRING, SET, HASH, ZSET, LIST = b"\x00", b"\x02", b"\x04", b"\x05", b"\x12"
HASH_LISTPACK, ZSET_LISTPACK = b"\x10", b"\x11"


def length(n: int) -> bytes:
    """RDB LEN; the journal's packed integers have the same bytes."""
    if n < 1 << 6:
        return bytes((n,))
    if n < 1 << 14:
        return bytes((0x40 | n >> 8, n & 0xFF))
    if n < 1 << 32:
        return b"\x80" + n.to_bytes(4, "big")
    return b"\x81" + n.to_bytes(8, "big")


def string(text: bytes) -> bytes:
    """RDB STR, never integer encoded."""
    return length(len(text)) + text


def stable_start(lsn: int, token: str = TOKEN) -> bytes:
    """What stands between the last snapshot byte and the journal."""
    return b"\xd3" + lsn.to_bytes(8, "little") + b"\xff" + bytes(8) + token.encode()


def entry(kind: bytes, key: bytes, payload: bytes, expire_ms: int = 0) -> bytes:
    """One snapshot entry."""
    expiry = b"\xfc" + expire_ms.to_bytes(8, "little") if expire_ms else b""
    return expiry + kind + string(key) + payload


def hash_payload(pairs: Iterable[tuple[bytes, bytes]], count: int) -> bytes:
    return length(count) + b"".join(string(f) + string(v) for f, v in pairs)


def set_payload(members: Sequence[bytes]) -> bytes:
    return length(len(members)) + b"".join(map(string, members))


def zset_payload(members: Sequence[tuple[bytes, float]]) -> bytes:
    return length(len(members)) + b"".join(string(m) + struct.pack("<d", s) for m, s in members)


def list_payload(elements: Sequence[bytes]) -> bytes:
    """A quicklist of plain nodes."""
    return length(len(elements)) + b"".join(b"\x01" + string(e) for e in elements)


def listpack(elements: Sequence[bytes]) -> bytes:
    """Strings of at most 63 bytes each."""
    body = b"".join(bytes((0x80 | len(e),)) + e + bytes((len(e) + 1,)) for e in elements)
    return struct.pack("<IH", len(body) + 7, len(elements)) + body + b"\xff"


def blob(plain: bytes) -> bytes:
    """An LZ4 blob (opcode 202)."""
    return b"\xca" + string(lz4.frame.compress(plain, store_size=True, compression_level=0))


def select(db: int) -> bytes:
    """SELECTDB of the snapshot."""
    return b"\xfe" + length(db)


def record(*argv: bytes, db: int = 0, txid: int = 0) -> bytes:
    """A journal COMMAND record with its SELECT."""
    body = b"".join(length(len(a)) + a for a in argv)
    return (
        b"\x06" + length(db) + b"\x0a" + length(txid) + b"\x01" + length(len(argv)) + length(sum(map(len, argv))) + body
    )


PING = b"\x0d"


def journal_blob(*records: bytes) -> bytes:
    """Journal records inside the full sync (opcode 210)."""
    return b"\xd2" + length(1) + string(b"".join(records))


def tagged(stream_id: int, payload: bytes) -> bytes:
    """A piece of a big value (opcode 224)."""
    return b"\xe0" + struct.pack("<II", stream_id, len(payload)) + payload


def flow(
    snapshot: Iterable[bytes] = (), journal: Iterable[bytes] = (), *, lsn: int = 1, count: int | None = None
) -> FlowScript:
    """A whole FLOW of given snapshot entries and journal records. `count`: records that have an LSN (default: all)."""
    body, records = b"".join(snapshot), list(journal)
    first = HEADER + body + SNAPSHOT_END
    start = stable_start(lsn)
    return FlowScript(
        snapshot=lambda: [first],
        stable=lambda: [start + b"".join(records)],
        token=TOKEN,
        full_sync_end=len(first),
        stable_from=len(start),
        lsn_start=lsn,
        lsn_end=lsn + len(records),
    )


def streamed_flow(snapshot: Callable[[], Iterator[bytes]], size: int, *, lsn: int = 1) -> FlowScript:
    """A FLOW whose snapshot is made while it is sent; `size` is the length of what `snapshot` yields."""

    def pieces() -> Iterator[bytes]:
        yield HEADER
        yield from snapshot()
        yield SNAPSHOT_END

    start = stable_start(lsn)
    return FlowScript(
        snapshot=pieces,
        stable=lambda: [start],
        token=TOKEN,
        full_sync_end=len(HEADER) + size + len(SNAPSHOT_END),
        stable_from=len(start),
        lsn_start=lsn,
        lsn_end=lsn,
    )
