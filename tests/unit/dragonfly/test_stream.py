"""Opcodes of the full-sync stream, one by one, and how big values and tagged chunks pass."""

from __future__ import annotations

import struct
import sys

import pytest

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder
from df2redis_tui.errors import DecodeError, SourceLost
from tests.unit.dragonfly import wire
from tests.unit.dragonfly.recorded import bytewise, decode_snapshot, normalised, whole
from tests.unit.dragonfly.test_values import CASES, SKETCHES, stream

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SELECT_1 = b"\xfe\x01"
END = wire.end()


def zstd_blob(content: bytes) -> bytes:
    return b"\xc9" + wire.string(zstd.compress(content))


def decoded(body: bytes, *, df_version: tuple[int, int] | None = None) -> list[object]:
    """The records of a stream with this body, which must not depend on how it is cut; without the StreamEnd."""
    data = wire.HEADER + body + END
    first, second = (SnapshotDecoder(3, wire.TOKEN, df_version=df_version) for _ in range(2))
    found = normalised(decode_snapshot(first, whole(data)))
    assert first.finished
    assert normalised(decode_snapshot(second, bytewise(data))) == found
    assert second.finished
    assert found[-1] == r.StreamEnd(wire.TOKEN)
    return found[:-1]


def refused(body: bytes) -> DecodeError:
    decoder = SnapshotDecoder(3, wire.TOKEN)
    with pytest.raises(DecodeError) as caught:
        decode_snapshot(decoder, whole(wire.HEADER + body + END))
    assert caught.value.flow == 3
    assert 0 <= caught.value.offset <= len(wire.HEADER + body + END)
    with pytest.raises(DecodeError):
        decoder.next_block()
    return caught.value


def test_strings_with_every_encoding_expiry_and_database() -> None:
    body = (
        wire.entry(0, b"a", b"\x01x")
        + wire.entry(0, b"b", wire.string(b"y" * 300), 1_800_000_000_000)
        + b"\x00\xc0\x05\xc1\x00\x01"
        + b"\x00\xc2\x00\x00\x01\x00\xc2\xff\xff\xff\xff"
        + SELECT_1
        + wire.entry(0, b"", b"\x00")
        + b"\x00"
        + wire.lzf_literal(b"k" * 40)
        + wire.lzf_literal(b"v" * 40)
        + wire.entry(0, b"big", wire.string(b"z" * 20_000))
    )
    assert decoded(body) == [
        ("string", 0, b"a", b"x", 0),
        ("string", 0, b"b", b"y" * 300, 1_800_000_000_000),
        ("string", 0, b"5", b"256", 0),
        ("string", 0, b"65536", b"-1", 0),
        ("string", 1, b"", b"", 0),
        ("string", 1, b"k" * 40, b"v" * 40, 0),
        ("string", 1, b"big", b"z" * 20_000, 0),
    ]


@pytest.mark.parametrize(
    ("type", "raw"),
    [*((c[0], c[1]) for c in CASES[1:]), *SKETCHES.items(), (r.STREAM3, stream(True)), (r.STREAM1, stream(False))],
)
def test_a_small_value_comes_as_it_stood(type: int, raw: bytes) -> None:
    assert decoded(wire.entry(type, b"k", raw, 77)) == [r.Value(0, b"k", 77, type, raw)]
    assert decoded(wire.lz4_blob(wire.entry(type, b"k", raw))) == [r.Value(0, b"k", 0, type, raw)]


def test_prefixes_apply_to_the_next_key_only() -> None:
    sticky, memcached = b"\xdc\x01\0\0\0", b"\xdc\x03\0\0\0\x09\0\0\0"
    body = (
        sticky
        + wire.entry(0, b"a", b"\x01x")
        + b"\xfc"
        + struct.pack("<Q", 5)
        + memcached
        + wire.entry(0, b"b", b"\x01y")
    )
    body += (
        b"\xfd"
        + struct.pack("<I", 9)
        + b"\xf9\x01\xf8\x05"
        + wire.entry(0, b"c", b"\x01z")
        + wire.entry(0, b"d", b"\0")
    )
    assert decoded(body) == [
        ("string", 0, k, v, t) for k, v, t in ((b"a", b"x", 0), (b"b", b"y", 5), (b"c", b"z", 9000), (b"d", b"", 0))
    ]


def test_an_expiry_at_the_epoch_is_not_no_expiry() -> None:
    assert decoded(wire.entry(0, b"k", b"\x01v", 0)) == [("string", 0, b"k", b"v", 1)]


def test_opcodes_without_data_are_passed_over() -> None:
    body = (
        b"\xfb\x05\x06"
        + b"\xf4\x01\x02\x03"
        + b"\xf5\x03lua"
        + b"\xf7\x09\x02\x01\x05\x02ab\x04"
        + bytes(8)
        + b"\x00"
        + b"\xcb"
    )
    body += b"\xdf\x00" + wire.string(b"idx") + b"\x02" + b"\x01k\x07" + b"\xc0\x05\x08"
    assert decoded(body) == []


def vector_index(entry_point: bytes) -> bytes:
    node = struct.pack("<IQI", 1, 2, 1) + struct.pack("<I", 2) + bytes(8) + struct.pack("<I", 0)
    return b"\xde" + wire.string(b"idx:field") + entry_point + b"\x02" + node * 2


def test_a_vector_index_is_skipped_in_the_layout_of_its_release() -> None:
    behind = wire.entry(0, b"k", b"\x01v")
    want = [("string", 0, b"k", b"v", 0)]
    assert decoded(vector_index(b"\x01") + behind, df_version=(1, 39)) == want
    assert decoded(vector_index(b"") + behind, df_version=(1, 38)) == want
    assert decoded(vector_index(b"\x01") + behind) == want
    announced = b"\xfa" + wire.strings(b"df-ver", b"df-v1.38.0")
    assert decoded(announced + vector_index(b"") + behind) == [r.Aux(b"df-ver", b"df-v1.38.0"), *want]


def test_header_cut_offset_and_end() -> None:
    body = b"\xfa\x05ctime\xc2\x01\0\0\0" + b"\xc8" + bytes(8) + b"\xd3" + struct.pack("<Q", 1 << 40)
    want = [r.Aux(b"ctime", b"1"), r.FullSyncEnd(), r.JournalOffset(1 << 40)]
    assert decoded(body) == want
    assert decoded(wire.lz4_blob(body)) == want
    assert decoded(zstd_blob(body)) == want


def test_bytes_behind_the_token_are_left_over() -> None:
    decoder = SnapshotDecoder(0, wire.TOKEN)
    decode_snapshot(decoder, [wire.HEADER + END + b"\x0d", b"\x0d\x0f"])
    decoder.receive(b"\x05")
    assert decoder.finished
    assert decoder.offset == len(wire.HEADER + END)
    assert decoder.leftover == b"\x0d\x0d\x0f\x05"
    assert decoder.next_block() is None


def test_journal_blobs_keep_their_own_database() -> None:
    blob = wire.journal_blob(
        [wire.select(2), wire.command(b"SET", b"k", b"v"), b"\x0d", wire.command(b"DEL", b"k", op=9)]
    )
    found = decoded(SELECT_1 + blob + wire.lz4_blob(blob) + wire.entry(0, b"a", b"\0"))
    entries = [r.Entry(10, 2, 0, [b"SET", b"k", b"v"]), r.Entry(13, 2, 0, []), r.Entry(9, 2, 0, [b"DEL", b"k"])]
    assert found == [r.Blob(entries), r.Blob(entries), ("string", 1, b"a", b"", 0)]


def test_a_journal_blob_must_be_used_up() -> None:
    cut = wire.command(b"SET", b"k", b"v")[:-1]
    assert "journal blob" in refused(wire.journal_blob([cut])).reason


def test_blobs_share_the_state_of_the_stream() -> None:
    body = zstd_blob(SELECT_1) + wire.lz4_blob(wire.entry(0, b"a", b"\0") + b"\xfe\x02") + wire.entry(0, b"b", b"\0")
    assert decoded(body) == [("string", 1, b"a", b"", 0), ("string", 2, b"b", b"", 0)]


@pytest.mark.parametrize("pack", [wire.lz4_blob, zstd_blob])
def test_damaged_blobs(pack: object) -> None:
    assert callable(pack)
    content = wire.entry(0, b"k", wire.string(bytes(range(256)) * 8))
    blob: bytes = pack(content)
    opcode, frame = blob[:1], blob[3:]
    assert "ends before" in refused(opcode + wire.string(frame[:-1])).reason
    assert "behind the frame" in refused(opcode + wire.string(frame + b"\0")).reason
    assert "passes the end" in refused(pack(content[:-1])).reason
    refused(opcode + wire.string(b"\x00" * 50))
    refused(pack(pack(content)))
    refused(pack(END))
    refused(opcode + b"\xc3" + wire.strings(frame))


HASH = b"\x03" + wire.strings(b"f1", b"v1", b"f2", b"v2", b"f3", b"v3")


def test_tagged_chunks_interleave_with_everything() -> None:
    first, second = wire.entry(r.HASH, b"h", HASH, 42), wire.entry(r.SET, b"s", b"\x02" + wire.strings(b"a", b"b"))
    blob = wire.journal_blob([wire.command(b"DEL", b"x")])
    body = (
        SELECT_1
        + wire.chunk(7, first[:20])
        + b"\xfe\x02"
        + wire.entry(0, b"k", b"\x01v")
        + wire.chunk(9, second[:5])
        + blob
        + wire.lz4_blob(wire.chunk(7, first[20:24]) + wire.entry(0, b"l", b"\x01w"))
        + wire.chunk(9, second[5:])
        + wire.chunk(7, first[24:])
        + wire.chunk(7, wire.entry(0, b"again", b"\x01x"))
    )
    assert decoded(body) == [
        ("string", 2, b"k", b"v", 0),
        r.Blob([r.Entry(10, 0, 0, [b"DEL", b"x"])]),
        ("string", 2, b"l", b"w", 0),
        r.Value(2, b"s", 0, r.SET, b"\x02" + wire.strings(b"a", b"b")),
        r.Value(1, b"h", 42, r.HASH, HASH),
        ("string", 2, b"again", b"x", 0),
    ]


@pytest.mark.parametrize(
    "body",
    [
        wire.chunk(0, b"\0\1k\1v"),
        wire.chunk(5, b""),
        wire.chunk(5, wire.entry(r.HASH, b"h", HASH)[:-1]),
        wire.chunk(5, wire.entry(0, b"k", b"\1v") + b"\0"),
        wire.chunk(5, b"\xfe\x01"),
        wire.lz4_blob(b"\xe0" + struct.pack("<II", 5, 500) + b"\0\1k\1v"),
    ],
)
def test_malformed_tagged_chunks(body: bytes) -> None:
    refused(body)


@pytest.mark.parametrize(
    "body",
    [
        b"\x01\x01k",
        b"\x13\x01k",
        b"\x26\x01k",
        b"\xc9\xc0\x05",
        b"\xfc" + b"\xff" * 8,
        b"\xfe\x81" + b"\xff" * 8,
        b"\xdc\0\0\0\0\xfe\x01",
        b"\xf6\x00",
    ],
)
def test_malformed_items(body: bytes) -> None:
    refused(body)


def test_a_wrong_header_token_or_an_error_text() -> None:
    for data in (b"RUBIS0009" + END, b"REDIS00x9" + END, wire.HEADER + wire.end(b"f" * 40)):
        with pytest.raises(DecodeError):
            decode_snapshot(SnapshotDecoder(0, wire.TOKEN), whole(data))
    with pytest.raises(SourceLost, match="ERR syncid"):
        decode_snapshot(SnapshotDecoder(0, wire.TOKEN), whole(b"-ERR syncid not found\r\n"))


def test_records_in_front_of_damage_are_delivered_first() -> None:
    decoder = SnapshotDecoder(1, wire.TOKEN)
    decoder.receive(wire.HEADER + wire.entry(0, b"k", b"\x01v") + b"\x01")
    assert decoder.next_block() == [r.Strings(0, [(b"k", b"v", 0)])]
    with pytest.raises(DecodeError, match="FLOW 1: malformed stream at byte 14"):
        decoder.next_block()


def test_a_record_is_delivered_as_soon_as_its_last_byte_is_there() -> None:
    decoder = SnapshotDecoder(0, wire.TOKEN)
    for body in (
        wire.entry(0, b"k", b"\x01v"),
        wire.entry(r.HASH, b"h", HASH),
        b"\xc8" + bytes(8),
        wire.lz4_blob(b"\xc8" + bytes(8)),
    ):
        data = body if decoder.offset else wire.HEADER + body
        assert decode_snapshot(decoder, whole(data[:-1])) == [] or body[0] == 0xCA
        last = decode_snapshot(decoder, whole(data[-1:]))
        assert len(last) == 1 or body[0] == 0xCA


BIG: list[tuple[int, bytes, object]] = [
    (r.STRING, wire.string(b"x" * 50_000), [b"x" * 50_000]),
    (r.STRING, wire.lzf_literal(b"x" * 50_000), [b"x" * 50_000]),
    (r.JSON, wire.string(b"[" * 50_000), [b"[" * 50_000]),
    (
        r.SET,
        wire.length(9000) + b"".join(wire.string(b"%d" % i) for i in range(9000)),
        [b"%d" % i for i in range(9000)],
    ),
    (
        r.HASH_TTL,
        wire.length(3000) + b"".join(wire.strings(b"f%d" % i, b"v", b"-1") for i in range(3000)),
        [x for i in range(3000) for x in (b"f%d" % i, b"v", 0)],
    ),
    (
        r.ZSET2,
        wire.length(3000) + b"".join(wire.string(b"m%d" % i) + struct.pack("<d", i) for i in range(3000)),
        [x for i in range(3000) for x in (b"m%d" % i, b"%d" % i)],
    ),
    (r.INTSET, wire.string(wire.intset(8, *range(9000))), [b"%d" % i for i in range(9000)]),
    (
        r.LIST_QUICKLIST2,
        wire.length(40) + (b"\x02" + wire.string(wire.listpack(*(wire.lp_text(b"e" * 60) for _ in range(50))))) * 40,
        [b"e" * 60] * 2000,
    ),
    (
        r.BLOOM,
        SKETCHES[r.BLOOM][:-102] + wire.string(b"b" * 40_000),
        [SKETCHES[r.BLOOM][:-102] + wire.string(b"b" * 40_000)],
    ),
]


@pytest.mark.parametrize(("type", "raw", "elements"), BIG, ids=lambda x: str(x) if isinstance(x, int) else "")
@pytest.mark.parametrize("inside", ["plain", "lz4", "chunks"])
def test_a_big_value_comes_in_bounded_parts(type: int, raw: bytes, elements: list[object], inside: str) -> None:
    entry = wire.entry(type, b"big", raw, 5)
    body = {
        "plain": entry,
        "lz4": wire.lz4_blob(entry),
        "chunks": b"".join(wire.chunk(4, entry[at : at + 3000]) for at in range(0, len(entry), 3000)),
    }[inside]
    decoder = SnapshotDecoder(0, wire.TOKEN, small_limit=17_000, part_bytes=4_000, block_bytes=8_000)
    decoder.receive(wire.HEADER + body + END)
    found: list[r.SnapshotRecord] = []
    while (block := decoder.next_block()) is not None:
        assert (
            sum(len(e) for x in block if isinstance(x, r.ValuePart) for e in x.elements if isinstance(e, bytes))
            < 80_000
        )
        found += block
    parts = [record for record in found if isinstance(record, r.ValuePart)]
    assert len(parts) > 2
    group = {r.HASH_TTL: 3, r.ZSET2: 2}.get(type, 1)
    assert all(len(part.elements) % group == 0 for part in parts)
    assert normalised(found)[0] == ("value", 0, b"big", 5, type, elements)
