"""A DUMP's value → records as a full sync has them: a large container comes in parts (protocol page §3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from df2redis_tui.dragonfly import records
from df2redis_tui.dragonfly.rdb.encodings import PACKED
from df2redis_tui.dragonfly.rdb.stream import SELECTDB, SnapshotDecoder
from df2redis_tui.dragonfly.rdb.values import decode_elements
from df2redis_tui.dragonfly.records import SnapshotRecord, Value

WHOLE_MOST: Final = 4 * 1024**2  # bytes of a value that is passed on as it is
FED: Final = 256 * 1024  # bytes
_EXPIRES_MS: Final = b"\xfc"
_IN_PARTS: Final = frozenset({
    records.SET, records.HASH, records.ZSET2, records.LIST_QUICKLIST, records.LIST_QUICKLIST2, records.HASH_TTL,
    records.SET_TTL,
})  # fmt: skip


# Targets look into none of these; Redis has the same types under these numbers.
_CHECKED: Final = frozenset({*PACKED, *_IN_PARTS, records.STREAM1, records.STREAM3})


def check_whole(rdb_type: int, raw: bytes) -> None:
    """Raise DecodeError if this is damaged, of what `in_parts` passes on as it is."""
    if rdb_type in _CHECKED and (len(raw) <= WHOLE_MOST or rdb_type not in _IN_PARTS):
        decode_elements(rdb_type, raw)


def in_parts(value: Value, flow: int) -> Iterator[list[SnapshotRecord]]:
    """What `value` is made of, in blocks of bounded size where its type allows. Raises DecodeError."""
    if len(value.raw) <= WHOLE_MOST or value.type not in _IN_PARTS:
        yield [value]
        return
    decoder = SnapshotDecoder(flow, b"")
    expiry = _EXPIRES_MS + value.expire_ms.to_bytes(8, "little") if value.expire_ms else b""
    decoder.receive(
        b"REDIS0009%c%b%b%c%b%b" % (SELECTDB, _length(value.db), expiry, value.type, _length(len(value.key)), value.key)
    )
    for at in range(0, len(value.raw), FED):
        decoder.receive(value.raw[at : at + FED])
        while (block := decoder.next_block()) is not None:
            if block:
                yield block


def _length(number: int) -> bytes:
    return bytes((number,)) if number < 64 else b"\x80" + number.to_bytes(4, "big")
