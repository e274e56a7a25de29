"""Any value → bytes → the same value, encoders of the demo against the program's decoders."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from df2redis_tui.demo import encode_rdb as rdb
from df2redis_tui.demo.encode_journal import PING, command, lsn
from df2redis_tui.demo.valkey_dump import listpack_items, pieces
from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.journal import JournalDecoder
from df2redis_tui.dragonfly.rdb import encodings
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder

TOKEN = b"t" * 40
numbers = st.integers(-(1 << 63), (1 << 63) - 1).map(lambda n: b"%d" % n)
texts = st.one_of(st.binary(max_size=80), numbers, st.binary(min_size=4000, max_size=5000))
databases = st.integers(0, 70)
expiries = st.one_of(st.just(0), st.integers(1, 1 << 45))


def decoded(items: bytes, cuts: list[int]) -> list[Any]:
    stream = rdb.HEADER + items + rdb.FULLSYNC_END + rdb.journal_offset(7) + rdb.stream_end(TOKEN) + b"rest"
    decoder = SnapshotDecoder(0, TOKEN, small_limit=2000, part_bytes=1000)
    records: list[Any] = []
    bounds = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    for begin, end in pairwise(bounds):
        decoder.receive(stream[begin:end])
        while (block := decoder.next_block()) is not None:
            records += block
    assert decoder.finished
    assert decoder.leftover == b"rest"
    assert records[-3:] == [r.FullSyncEnd(), r.JournalOffset(7), r.StreamEnd(TOKEN)]
    return records[:-3]


@given(st.lists(st.tuples(databases, st.binary(max_size=30), texts, expiries), max_size=8), st.lists(st.integers(0)))
def test_strings(entries: list[tuple[int, bytes, bytes, int]], cuts: list[int]) -> None:
    items = b"".join(
        rdb.select_db(db) + rdb.entry_head(key, rdb.STRING, expire, sticky=True, mc_flags=5) + rdb.string(value)
        for db, key, value, expire in entries
    )
    found: list[tuple[int, bytes, bytes, int]] = []
    parts: dict[int, tuple[r.ValueStart, list[bytes]]] = {}
    for record in decoded(items, cuts):
        match record:
            case r.Strings(db, run):
                found += [(db, *entry) for entry in run]
            case r.ValueStart():
                parts[record.id] = (record, [])
            case r.ValuePart(id, elements):
                parts[id][1].extend(elements)
            case r.ValueEnd(id):
                start, pieces_of_it = parts.pop(id)
                found.append((start.db, start.key, b"".join(pieces_of_it), start.expire_ms))
    assert [(db, key, value, expire) for db, key, value, expire in found] == entries


@given(st.lists(texts, max_size=40))
def test_listpack(items: list[bytes]) -> None:
    pack = rdb.listpack(items)
    assert encodings.listpack(pack) == items
    assert listpack_items(pack) == items


@given(st.sets(st.integers(-(1 << 63), (1 << 63) - 1), max_size=30))
def test_intset(members: set[int]) -> None:
    assert [int(m) for m in encodings.intset(rdb.intset(members))] == sorted(members)


pair_lists = st.lists(st.tuples(texts, texts), min_size=1, max_size=30, unique_by=lambda pair: pair[0])


@given(pair_lists, st.integers(1, 500), st.booleans())
def test_a_cut_value_between_others_is_whole_again(
    pairs: list[tuple[bytes, bytes]], limit: int, compress: bool
) -> None:
    value = rdb.encode_hash(pairs)
    first, *more = pieces(rdb.HASH, value, limit)
    assert b"".join((first, *more)) == value
    items = rdb.select_db(2) + rdb.tagged_chunk(9, rdb.entry_head(b"big", rdb.HASH, 77) + first)
    for number, piece in enumerate(more):
        items += rdb.select_db(number % 5) + rdb.entry_head(b"k", rdb.STRING) + rdb.string(b"%d" % number)
        items += rdb.journal_blob(command(1, [b"INCR", b"n"])) + rdb.tagged_chunk(9, piece)
    blob = rdb.lz4_blob(items) if compress else None
    elements: list[Any] = []
    for record in decoded(items if blob is None else blob, []):
        match record:
            case r.Value():
                assert (record.db, record.key, record.expire_ms, record.type) == (2, b"big", 77, rdb.HASH)
                assert record.raw == value
                return
            case r.ValueStart():
                assert (record.db, record.key, record.expire_ms) == (2, b"big", 77)
            case r.ValuePart(_, part):
                elements += part
            case r.Blob(entries):
                assert entries == [r.Entry(r.OP_COMMAND, 1, 0, [b"INCR", b"n"])]
    assert elements == [text for pair in pairs for text in pair]


records = st.lists(st.tuples(databases, st.lists(texts, min_size=1, max_size=70), st.integers(0, 1 << 40)), max_size=12)


@given(records, st.lists(st.integers(0)))
def test_journal(entries: list[tuple[int, list[bytes], int]], cuts: list[int]) -> None:
    stream = b"".join(command(db, args, txid=txid) + PING + lsn(txid) for db, args, txid in entries)
    decoder = JournalDecoder(0)
    found: list[r.Entry] = []
    bounds = sorted({0, len(stream), *(cut % max(1, len(stream)) for cut in cuts)})
    for begin, end in pairwise(bounds):
        decoder.receive(stream[begin:end])
        while (block := decoder.next_block()) is not None:
            found += block
    assert [(e.db, e.args, e.txid) for e in found if e.op == r.OP_COMMAND] == entries
    assert [e.txid for e in found if e.op == r.OP_LSN] == [txid for _, _, txid in entries]
