"""Values that a target would not survive, or misread, never come out of the decoder, however the stream is cut."""

# ruff: noqa: PT017 (an error is one of the outcomes that are compared here)

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder
from df2redis_tui.dragonfly.rdb.values import decode_elements
from df2redis_tui.errors import DecodeError, SourceLost
from tests.support.damaged import Damaged, damaged_values
from tests.unit.dragonfly import wire
from tests.unit.dragonfly.recorded import RecordedFlow, bytewise, recorded_flows, whole
from tests.unit.dragonfly.test_malformed import PLAIN, Damage, damage, damaged
from tests.unit.dragonfly.test_stream import zstd_blob

TABLE = damaged_values()
BEFORE = wire.entry(r.STRING, b"before", b"\x01x") + wire.entry(r.SET, b"set", b"\x01\x01m")
AFTER = wire.entry(r.STRING, b"after", b"\x01y")

PIECED = ("string", "json", "bloom", "cms", "topk", "cuckoo")
Wrap = Callable[[bytes], bytes]


def cut_chunks(entry: bytes) -> bytes:
    """In tagged chunks of three bytes."""
    return b"".join(wire.chunk(7, entry[at : at + 3]) for at in range(0, len(entry), 3))


WRAPS: dict[str, Wrap] = {
    "plain": lambda entry: entry,
    "in an LZ4 blob": wire.lz4_blob,
    "in a zstd blob": zstd_blob,
    "in a tagged chunk": lambda entry: wire.chunk(7, entry),
    "in tagged chunks": cut_chunks,
    "in tagged chunks in a blob": lambda entry: wire.lz4_blob(cut_chunks(entry)),
}


def outcome(data: bytes, pieces: Iterable[bytes], token: bytes = wire.TOKEN) -> tuple[list[object], object]:
    """What the records say, and how it ended: True at the end, False where more is needed, or the error."""
    decoder = SnapshotDecoder(5, token)
    found: list[object] = []
    open_values: dict[int, list[Any]] = {}
    pieced: dict[int, bool] = {}
    ended: object = False
    try:
        for piece in pieces:
            decoder.receive(piece)
            while (block := decoder.next_block()) is not None:
                for record in block:
                    if isinstance(record, r.Strings):
                        found += [(record.db, *item) for item in record.items]
                    elif isinstance(record, r.ValueStart):
                        open_values[record.id] = []
                        pieced[record.id] = r.KIND[record.type] in PIECED
                        found.append((record, open_values[record.id]))
                    elif isinstance(record, r.ValuePart):
                        elements = open_values[record.id]
                        for element in record.elements:
                            if isinstance(element, bytes) and elements and pieced[record.id]:
                                elements[0] += element  # where a text is cut into pieces does not matter
                            else:
                                elements.append(element)
                    else:
                        found.append(record)
        ended = decoder.finished
    except DecodeError as error:
        assert 0 <= error.offset <= len(data)
        ended = error.reason, error.flow, error.offset
    except SourceLost as error:
        ended = str(error)[:20]  # an error line of the source, as far as it has come
    return found, ended


def random_pieces(data: bytes, dice: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = dice.randint(1, dice.choice((2, 30, 2_000)))
        yield data[at : at + size]
        at += size


@pytest.mark.parametrize("how", WRAPS)
@pytest.mark.parametrize("value", TABLE, ids=str)
def test_a_damaged_value_is_refused_at_one_place_however_the_stream_is_cut(value: Damaged, how: str) -> None:
    front = wire.HEADER + BEFORE + WRAPS[how](wire.entry(value.type, b"key:a", value.raw))
    data = front + AFTER * 20 + wire.end()
    records, error = outcome(data, whole(data))
    assert records[:2] == [(0, b"before", b"x", 0), r.Value(0, b"set", 0, r.SET, b"\x01\x01m")]
    assert len(records) == 2
    assert isinstance(error, tuple)
    assert f"{r.KIND[value.type]}" in error[0]
    assert outcome(data, bytewise(data)) == (records, error)
    for cut in range(1, len(front) + 10, 1 if how == "plain" else 13):
        assert outcome(data, [data[:cut], data[cut:]]) == (records, error)


@pytest.mark.parametrize("how", WRAPS)
@pytest.mark.parametrize("value", {(value.type, value.intact): value for value in TABLE}.values(), ids=str)
def test_the_same_value_without_the_damage_passes(value: Damaged, how: str) -> None:
    data = wire.HEADER + WRAPS[how](wire.entry(value.type, b"key:a", value.intact)) + AFTER + wire.end()
    expected = [r.Value(0, b"key:a", 0, value.type, value.intact), (0, b"after", b"y", 0), r.StreamEnd(wire.TOKEN)]
    assert outcome(data, whole(data)) == (expected, True)
    assert outcome(data, bytewise(data)) == (expected, True)


@pytest.mark.parametrize("value", TABLE, ids=str)
def test_a_damaged_value_can_not_be_decoded(value: Damaged) -> None:
    decode_elements(value.type, value.intact)
    with pytest.raises(DecodeError):
        decode_elements(value.type, value.raw)


def test_the_error_names_the_key() -> None:
    value = TABLE[0]
    data = wire.HEADER + wire.entry(value.type, b"user:\xff1", value.raw)
    _, error = outcome(data, whole(data))
    assert isinstance(error, tuple)
    assert error[0].endswith("in the hash user:\\xff1")


many = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
some = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
intact_entries = st.sampled_from([wire.entry(value.type, b"k%d" % at, value.intact) for at, value in enumerate(TABLE)])


@many
@given(damage, st.randoms(use_true_random=False))
def test_a_damaged_stream_ends_the_same_however_it_is_cut(steps: Damage, dice: random.Random) -> None:
    data = damaged(PLAIN, steps)
    expected = outcome(data, whole(data))
    assert outcome(data, bytewise(data)) == expected
    assert outcome(data, random_pieces(data, dice)) == expected


@many
@given(st.lists(intact_entries, min_size=1, max_size=4), st.sampled_from(list(WRAPS.values())), damage)
def test_every_cut_of_a_damaged_value_ends_the_same(entries: list[bytes], wrap: Wrap, steps: Damage) -> None:
    data = wire.HEADER + damaged(b"".join(map(wrap, entries)), steps) + AFTER + wire.end()
    expected = outcome(data, whole(data))
    assert outcome(data, bytewise(data)) == expected
    for cut in range(1, len(data), max(1, len(data) // 60)):
        assert outcome(data, [data[:cut], data[cut:]]) == expected


FULL = [flow for flow in recorded_flows() if flow.full and flow.path.stat().st_size < 600_000]


@some
@given(st.sampled_from(FULL), st.floats(0, 1, exclude_max=True), damage, st.randoms(use_true_random=False))
def test_a_damaged_recording_ends_the_same_however_it_is_cut(
    flow: RecordedFlow, share: float, steps: Damage, dice: random.Random
) -> None:
    data = flow.read()
    window = int(share * len(data))
    data = (data[:window] + damaged(data[window : window + 2_000], steps) + data[window + 2_000 :])[: window + 20_000]
    token = flow.token
    expected = outcome(data, whole(data), token)
    assert outcome(data, random_pieces(data, dice), token) == expected
    if len(data) < 60_000:
        assert outcome(data, bytewise(data), token) == expected
