"""Recordings of real servers: every flow decodes, in any split, to the same records, and its LSNs add up."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.journal import JournalDecoder
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder
from df2redis_tui.dragonfly.rdb.values import decode_elements, decode_stream
from tests.unit.dragonfly.recorded import (
    RecordedFlow,
    bytewise,
    counted,
    decode_journal,
    decode_snapshot,
    normalised,
    recorded_flows,
    whole,
)

FLOWS = recorded_flows()
FULL = [flow for flow in FLOWS if flow.full]
PARTIAL = [flow for flow in FLOWS if not flow.full]
BYTEWISE_LIMIT = 200_000

by_name = {"ids": str}


def random_splits(data: bytes, seed: int, longest: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    at = 0
    while at < len(data):
        size = rng.randint(1, rng.choice((3, 40, longest)))
        yield data[at : at + size]
        at += size


def snapshot_and_journal(flow: RecordedFlow) -> tuple[list[r.SnapshotRecord], bytes]:
    decoder = SnapshotDecoder(flow.number, flow.token)
    found = decode_snapshot(decoder, whole(flow.read()))
    assert decoder.finished
    assert decoder.offset + len(decoder.leftover) == len(flow.read())
    return found, decoder.leftover


def test_there_are_recordings_of_three_server_generations() -> None:
    versions = {flow.path.parent.name.split("-")[1] for flow in FULL}
    assert {"1.15.1", "1.27.1", "1.40.1"} <= versions
    assert PARTIAL


@pytest.mark.parametrize("flow", FULL, **by_name)
def test_a_full_sync_flow_decodes_to_its_end_and_every_lsn_is_counted(flow: RecordedFlow) -> None:
    found, rest = snapshot_and_journal(flow)
    assert isinstance(found[-1], r.StreamEnd)
    assert sum(isinstance(record, r.FullSyncEnd) for record in found) == 1
    (cut,) = (record.lsn for record in found if isinstance(record, r.JournalOffset))
    journal = JournalDecoder(flow.number)
    entries = decode_journal(journal, whole(rest))
    assert journal.offset == len(rest)
    assert cut + counted(entries) == flow.end_lsn
    following = cut
    for entry in entries:
        if entry.op == r.OP_LSN:
            assert entry.txid == following - 1
        else:
            following += 1


@pytest.mark.parametrize("flow", PARTIAL, **by_name)
def test_a_partial_sync_flow_is_the_raw_journal_from_the_lsn_asked_for(flow: RecordedFlow) -> None:
    entries = decode_journal(JournalDecoder(flow.number), whole(flow.read()))
    assert flow.start_lsn is not None
    assert flow.start_lsn + counted(entries) == flow.end_lsn
    assert entries == decode_journal(JournalDecoder(flow.number), bytewise(flow.read()), limit=1)


@pytest.mark.parametrize("flow", FULL, **by_name)
def test_any_split_of_a_full_sync_gives_the_same_records(flow: RecordedFlow) -> None:
    found, rest = snapshot_and_journal(flow)
    expected = normalised(found)
    data = flow.read()
    for seed, longest in ((1, 200), (2, 5_000), (3, 300_000)):
        decoder = SnapshotDecoder(flow.number, flow.token)
        assert normalised(decode_snapshot(decoder, random_splits(data, seed, longest))) == expected
        assert decoder.leftover == rest


@pytest.mark.parametrize("flow", [flow for flow in FULL if flow.path.stat().st_size < BYTEWISE_LIMIT], **by_name)
def test_a_full_sync_may_come_byte_by_byte(flow: RecordedFlow) -> None:
    found, rest = snapshot_and_journal(flow)
    decoder = SnapshotDecoder(flow.number, flow.token)
    assert normalised(decode_snapshot(decoder, bytewise(flow.read()))) == normalised(found)
    assert decoder.leftover == rest


@pytest.mark.parametrize("flow", FULL, **by_name)
def test_any_split_of_the_journal_gives_the_same_entries(flow: RecordedFlow) -> None:
    _, rest = snapshot_and_journal(flow)
    expected = decode_journal(JournalDecoder(flow.number), whole(rest))
    pieces = bytewise(rest) if len(rest) < BYTEWISE_LIMIT else random_splits(rest, 4, 60)
    assert decode_journal(JournalDecoder(flow.number), pieces) == expected
    assert decode_journal(JournalDecoder(flow.number), random_splits(rest, 5, 9_000), limit=100) == expected


def elements_by_key(found: list[r.SnapshotRecord]) -> list[object]:
    """Every value decoded to its elements, however it was delivered."""
    items: list[object] = []
    for item in normalised(found):
        if isinstance(item, r.Value):
            items.append((item.db, item.key, item.expire_ms, decode_elements(item.type, item.raw)))
        elif isinstance(item, tuple) and item[:1] == ("value",):
            items.append((*item[1:4], item[5]))
        elif isinstance(item, tuple) and item[:1] == ("string",):
            items.append((item[1], item[2], item[4], [item[3]]))
        elif not isinstance(item, r.Blob):
            items.append(item)
    return sorted(items, key=repr)


@pytest.mark.parametrize("flow", FULL, **by_name)
def test_values_in_parts_have_the_same_elements_as_whole_ones(flow: RecordedFlow) -> None:
    found, _ = snapshot_and_journal(flow)
    tiny = SnapshotDecoder(flow.number, flow.token, small_limit=200, part_bytes=100, block_bytes=1000)
    in_parts = decode_snapshot(tiny, random_splits(flow.read(), 6, 2_000))
    assert sum(isinstance(record, r.ValueStart) for record in in_parts) > sum(
        isinstance(record, r.ValueStart) for record in found
    )
    assert elements_by_key(in_parts) == elements_by_key(found)


@pytest.mark.parametrize("flow", FULL, **by_name)
def test_recorded_streams_hold_the_entries_they_declare(flow: RecordedFlow) -> None:
    found, _ = snapshot_and_journal(flow)
    for record in found:
        if isinstance(record, r.Value) and r.KIND[record.type] == "stream":
            stream = decode_stream(record.type, record.raw)
            assert len(stream.entries) == stream.length
            assert [entry[:2] for entry in stream.entries] == sorted(entry[:2] for entry in stream.entries)
