"""Whole values decoded to elements: one case per value type of the protocol page."""

from __future__ import annotations

import struct

import pytest

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb.listpack_patterns import node_length
from df2redis_tui.dragonfly.rdb.stream_values import Consumer, Group, PendingEntry, decode_stream_node
from df2redis_tui.dragonfly.rdb.values import StreamValue, decode_elements, decode_stream
from df2redis_tui.errors import DecodeError
from tests.unit.dragonfly import wire

LP = wire.listpack(wire.lp_text(b"a"), wire.lp_int(1), wire.lp_text(b"b"), wire.lp_int(-300))
ZL = wire.ziplist(b"\x01a", b"\xf2", b"\x01b", b"\xc0\xd4\xfe")
PACKED = [b"a", b"1", b"b", b"-300"]
BASE = 1675209600


def double(value: float) -> bytes:
    return struct.pack("<d", value)


CASES: list[tuple[int, bytes, list[object]]] = [
    (r.STRING, b"\xc0\x05", [b"5"]),
    (r.JSON, wire.string(b'{"a":1}'), [b'{"a":1}']),
    (r.JSON_OLD, b"\xc0\x05", [b"5"]),
    (r.SET, b"\x02" + wire.string(b"x") + b"\xc1\x00\x01", [b"x", b"256"]),
    (r.HASH, b"\x01" + wire.string(b"f") + wire.lzf_literal(b"v" * 50), [b"f", b"v" * 50]),
    (
        r.ZSET2,
        b"\x05"
        + b"".join(
            wire.string(m) + double(s)
            for m, s in ((b"a", 1.5), (b"b", 3.0), (b"c", float("inf")), (b"d", float("-inf")), (b"e", 0.1 + 0.2))
        ),
        [b"a", b"1.5", b"b", b"3", b"c", b"inf", b"d", b"-inf", b"e", b"0.30000000000000004"],
    ),
    (r.INTSET, wire.string(wire.intset(2, -5, 7)), [b"-5", b"7"]),
    (r.ZSET_ZIPLIST, wire.string(ZL), PACKED),
    (r.HASH_ZIPLIST, wire.string(ZL), PACKED),
    (r.LIST_QUICKLIST, b"\x02" + wire.string(ZL) + wire.lzf_literal(ZL), PACKED * 2),
    (r.HASH_LISTPACK, wire.string(LP), PACKED),
    (r.ZSET_LISTPACK, wire.lzf_literal(LP), PACKED),
    (
        r.LIST_QUICKLIST2,
        b"\x03\x01" + wire.string(b"plain") + b"\x02" + wire.string(LP) + b"\x01\xc0\x07",
        [b"plain", *PACKED, b"7"],
    ),
    (
        r.HASH_TTL,
        b"\x02" + wire.strings(b"f", b"v") + b"\xc0\xff" + wire.strings(b"g", b"w", b"70000000"),
        [b"f", b"v", 0, b"g", b"w", (BASE + 70_000_000) * 1000],
    ),
    (
        r.SET_TTL,
        b"\x02" + wire.strings(b"m", b"-1", b"n") + b"\xc2\x01\x00\x00\x00",
        [b"m", 0, b"n", (BASE + 1) * 1000],
    ),
]

SKETCHES = {
    r.BLOOM: b"\x00" + double(2) + double(0.01) + b"\x01\x02\x03\x01\x05" + wire.string(b"b" * 100),
    r.BLOOM2: b"\x00" + double(2) + double(0.01) + b"\x01\x02\x03\x01\x05" + b"\x0a" + wire.strings(b"b" * 6, b"c" * 4),
    r.CMS: b"\x03\x02\x09" + bytes(3 * 2 * 8),
    r.TOPK: b"\x00\x03\x04\x05"
    + double(0.9)
    + b"\x02"
    + wire.string(b"x")
    + b"\x07\xc0\x05\x40\x80"
    + wire.string(bytes(80)),
    r.CUCKOO: b"\x08\x14\x01\x04\x02\x00\x02" + b"\x05" + wire.strings(b"abc", b"de") + b"\x02" + wire.string(b"zz"),
}


@pytest.mark.parametrize(("type", "raw", "elements"), CASES)
def test_elements(type: int, raw: bytes, elements: list[object]) -> None:
    assert decode_elements(type, raw) == elements


@pytest.mark.parametrize(("type", "raw"), [*((case[0], case[1]) for case in CASES), *SKETCHES.items()])
def test_a_value_must_be_there_whole_and_nothing_more(type: int, raw: bytes) -> None:
    for cut in range(len(raw)):
        with pytest.raises(DecodeError):
            decode_elements(type, raw[:cut])
    with pytest.raises(DecodeError, match="left behind"):
        decode_elements(type, raw + b"\x00")


@pytest.mark.parametrize(("type", "raw"), SKETCHES.items())
def test_a_sketch_is_its_raw_bytes(type: int, raw: bytes) -> None:
    assert decode_elements(type, raw) == [raw]


@pytest.mark.parametrize(
    ("type", "raw"),
    [
        (r.HASH_LISTPACK, wire.string(wire.listpack(wire.lp_int(1)))),
        (r.ZSET2, b"\x01\x01a" + double(float("nan"))),
        (r.LIST_QUICKLIST2, b"\x01\x03\x01a"),
        (r.HASH_TTL, b"\x01" + wire.strings(b"f", b"v", b"soon")),
        (r.SET_TTL, b"\x01" + wire.strings(b"m", b"9" * 30)),
        (r.BLOOM2, SKETCHES[r.BLOOM2].replace(b"\x0a\x06", b"\x09\x06")),
        (19, b"\x01"),
        (255, b""),
    ],
)
def test_malformed_values(type: int, raw: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_elements(type, raw)


def stream_node() -> bytes:
    """Master 1000-5 with fields f, g: an entry with the same fields, a deleted one, one with a field of its own."""
    items: list[int | bytes] = [2, 1, 2, b"f", b"g", 0]
    items += [2, 0, 0, b"v1", b"v2", 5]
    items += [3, 7, 0, b"gone", b"gone", 5]
    items += [0, 9, -4, 1, b"h", 77, 6]
    packed = [wire.lp_int(item) if isinstance(item, int) else wire.lp_text(item) for item in items]
    return wire.string(wire.stream_id(1000, 5)) + wire.string(wire.listpack(*packed))


def stream_groups(newer: bool) -> bytes:
    group = wire.string(b"grp") + wire.length(1000) + b"\x05" + (b"\x81" + b"\xff" * 8 if newer else b"")
    pending = b"\x01" + wire.stream_id(1000, 5) + struct.pack("<Q", 1_700_000_000_000) + b"\x03"
    consumer = wire.string(b"alice") + struct.pack("<Q", 111) + (struct.pack("<Q", 222) if newer else b"")
    idle = wire.string(b"bob") + struct.pack("<Q", 333) + (b"\xff" * 8 if newer else b"") + b"\x00"
    return b"\x01" + group + pending + b"\x02" + consumer + b"\x01" + wire.stream_id(1000, 5) + idle


def stream(newer: bool) -> bytes:
    tail = b"\x02" + wire.length(1009) + b"\x01"
    if newer:
        tail += wire.length(1000) + b"\x05" + wire.length(1007) + b"\x05" + b"\x03"
    return b"\x01" + stream_node() + tail + stream_groups(newer)


ENTRIES = [(1000, 5, [b"f", b"v1", b"g", b"v2"]), (1009, 1, [b"h", b"77"])]


def groups(newer: bool) -> list[Group]:
    consumers = [Consumer(b"alice", 111, 222 if newer else -1, [(1000, 5)]), Consumer(b"bob", 333, -1, [])]
    return [Group(b"grp", (1000, 5), -1, [PendingEntry(1000, 5, 1_700_000_000_000, 3)], consumers)]


def test_a_stream_of_today() -> None:
    expected = StreamValue(ENTRIES, 2, (1009, 1), (1000, 5), (1007, 5), 3, groups(newer=True))
    assert decode_stream(r.STREAM3, stream(newer=True)) == expected


def test_a_stream_of_releases_up_to_1_26() -> None:
    expected = StreamValue(ENTRIES, 2, (1009, 1), None, None, None, groups(newer=False))
    assert decode_stream(r.STREAM1, stream(newer=False)) == expected


def test_the_elements_of_a_stream_are_its_nodes_and_then_its_metadata() -> None:
    node, meta = decode_elements(r.STREAM3, stream(newer=True))
    assert isinstance(node, r.StreamNode)
    assert isinstance(meta, r.StreamMeta)
    assert (node.ms, node.seq) == (1000, 5)
    assert stream(newer=True).endswith(meta.raw)


@pytest.mark.parametrize("newer", [True, False])
def test_a_cut_stream_is_malformed(newer: bool) -> None:
    raw = stream(newer)
    for cut in range(len(raw)):
        with pytest.raises(DecodeError):
            decode_stream(r.STREAM3 if newer else r.STREAM1, raw[:cut])


def test_a_stream_node_must_hold_numbers_where_they_belong() -> None:
    for items in ([1, 0, 900, 0], [1, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0, b"many"]):
        packed = [wire.lp_int(item) if isinstance(item, int) else wire.lp_text(item) for item in items]
        node = wire.string(wire.stream_id(1, 1)) + wire.string(wire.listpack(*packed))
        with pytest.raises(DecodeError):
            decode_stream(r.STREAM1, b"\x01" + node + b"\x01\x01\x01\x00")


def plain_node(rows: int, fields: int) -> bytes:
    """A listpack of `rows` entries, all with the same `fields` fields."""
    items: list[int | bytes] = [rows, 0, fields, *(b"field %d" % at for at in range(fields)), 0]
    for row in range(rows):
        items += [2, row * 977, row, *(b"v" * (row % 125) if at else 70_000 for at in range(fields)), fields + 3]
    return wire.listpack(*(wire.lp_int(item) if isinstance(item, int) else wire.lp_text(item) for item in items))


@pytest.mark.parametrize(("rows", "fields"), [(1, 1), (3, 2), (64, 1), (65, 3), (100, 2), (127, 31)])
def test_the_pattern_of_a_node_knows_what_servers_write(rows: int, fields: int) -> None:
    listpack = plain_node(rows, fields)
    assert node_length(listpack) == rows
    assert len(decode_stream_node(r.StreamNode(1000, 5, listpack))) == rows


def test_the_pattern_of_a_node_takes_no_more_than_the_decoder() -> None:
    listpack = plain_node(4, 2)
    taken = 0
    for at in range(len(listpack)):
        for byte in range(256):
            damaged = listpack[:at] + bytes([byte]) + listpack[at + 1 :]
            if length := node_length(damaged):
                assert len(decode_stream_node(r.StreamNode(1000, 5, damaged))) == length
                taken += 1
    assert taken > len(listpack)
