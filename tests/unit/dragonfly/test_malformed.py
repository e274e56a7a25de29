"""Damaged input: a typed error or a wait for more bytes, never anything else, in bounded time and memory."""

# ruff: noqa: PT017 (an error is one of the allowed outcomes here, not the expected one)

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.journal import JournalDecoder
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder
from df2redis_tui.dragonfly.rdb.values import decode_elements, decode_stream
from df2redis_tui.errors import DecodeError, SourceLost
from tests.unit.dragonfly import wire
from tests.unit.dragonfly.recorded import RecordedFlow, decode_journal, decode_snapshot, recorded_flows, whole
from tests.unit.dragonfly.test_values import CASES, SKETCHES, stream

FULL = [flow for flow in recorded_flows() if flow.full and flow.path.stat().st_size < 600_000]
PLAIN = (
    wire.HEADER
    + b"\xfe\x01"
    + b"".join(
        wire.entry(type, b"key%d" % type, raw, 1_800_000_000_000)
        for type, raw in [
            *((case[0], case[1]) for case in CASES),
            *SKETCHES.items(),
            (21, stream(True)),
            (15, stream(False)),
        ]
    )
)
PLAIN += wire.chunk(3, wire.entry(r.SET, b"s", b"\x02\x01a\x01b")[:6])
PLAIN += wire.journal_blob([wire.select(1), wire.command(b"SET", b"k", b"v")])
PLAIN += wire.lz4_blob(wire.entry(0, b"k", wire.string(b"text " * 40)) + wire.chunk(3, b"\x01b"))
PLAIN += b"\xc8" + bytes(8) + b"\xd3" + bytes(8) + wire.end()

JOURNAL = b"".join(
    [
        wire.select(1),
        wire.command(b"SET", b"key", b"value" * 20),
        wire.command(b"DEL", b"k", op=9),
        b"\x0c\x00\x01\x0d\x0f\x05",
        wire.command(b"LPUSH", b"l", *(b"%d" % i for i in range(50)), op=11, txid=70_000),
        wire.command(b"SET", b"big", b"x" * 20_000),
    ]
)

# (position as a share of the input, what is done there, with which bytes)
damage = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["set", "insert", "delete", "cut"]),
        st.one_of(st.binary(min_size=1, max_size=9), st.sampled_from([b"\x81" + b"\xff" * 8, b"\x80\xff\xff\xff\xff"])),
    ),
    min_size=1,
    max_size=4,
)
Damage = list[tuple[float, str, bytes]]
many = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
some = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


def damaged(data: bytes, steps: Damage) -> bytes:
    for share, what, content in steps:
        at = int(share * len(data))
        if what == "cut":
            return data[:at]
        behind = data[at + (0 if what == "insert" else len(content)) :]
        data = data[:at] + (b"" if what == "delete" else content) + behind
    return data


def check_snapshot(data: bytes, token: bytes) -> None:
    for decoder, pieces in (
        (SnapshotDecoder(5, token), [data]),
        (
            SnapshotDecoder(5, token, small_limit=64, part_bytes=50),
            [data[at : at + 997] for at in range(0, len(data), 997)],
        ),
    ):
        try:
            decode_snapshot(decoder, pieces)
        except DecodeError as error:
            assert error.flow == 5
            assert 0 <= error.offset <= len(data)
            assert len(error.context) <= 16
        except SourceLost:
            assert data.startswith(b"-")


@many
@given(damage)
def test_a_damaged_full_sync(steps: Damage) -> None:
    check_snapshot(damaged(PLAIN, steps), wire.TOKEN)


def test_the_undamaged_one_is_well_formed() -> None:
    decoder = SnapshotDecoder(0, wire.TOKEN)
    decode_snapshot(decoder, whole(PLAIN))
    assert decoder.finished


@some
@given(st.sampled_from(FULL), st.floats(0, 1, exclude_max=True), damage)
def test_a_damaged_recording(flow: RecordedFlow, share: float, steps: Damage) -> None:
    data = flow.read()
    window = int(share * len(data))
    data = data[:window] + damaged(data[window : window + 2_000], steps) + data[window + 2_000 :]
    check_snapshot(data[: window + 20_000], flow.token)


@many
@given(damage)
def test_a_damaged_journal(steps: Damage) -> None:
    data = damaged(JOURNAL, steps)
    outcomes: list[object] = []
    for pieces in ([data], [data[at : at + 7] for at in range(0, len(data), 7)]):
        found: list[r.Entry] = []
        decoder = JournalDecoder(5)
        try:
            for piece in pieces:
                found += decode_journal(decoder, [piece])
        except (DecodeError, SourceLost) as error:
            assert isinstance(error, SourceLost) or (error.flow == 5 and 0 <= error.offset <= len(data))
            outcomes.append(type(error))
        else:
            outcomes.append(found)
    assert outcomes[0] == outcomes[1]


@many
@given(st.sampled_from([*((case[0], case[1]) for case in CASES), *SKETCHES.items(), (21, stream(True))]), damage)
def test_a_damaged_value(value: tuple[int, bytes], steps: Damage) -> None:
    type, raw = value
    try:
        decode_elements(type, damaged(raw, steps))
        if type == r.STREAM3:
            decode_stream(type, damaged(raw, steps))
    except DecodeError as error:
        assert (error.flow, error.offset) == (-1, -1)


HUGE = [b"\x80\xff\xff\xff\xff", b"\x81\x00\x00\x00\x00\xff\xff\xff\xff", b"\x81" + b"\x7f" + b"\xff" * 7]


@pytest.mark.parametrize("huge", HUGE)
@pytest.mark.parametrize("type", [*(case[0] for case in CASES), *SKETCHES, r.STREAM1, r.STREAM3])
def test_lying_lengths_and_counts_take_no_memory(type: int, huge: bytes) -> None:
    content = bytes(200)
    bodies = [
        bytes([type]) + b"\x01k" + huge + content,
        bytes([type]) + huge + content,
        bytes([type]) + b"\x01k\xc3\x20" + huge + content,
        bytes([type]) + b"\x01k" + b"\x00" * 17 + huge + content,
    ]
    tracemalloc.start()
    try:
        started = time.process_time()
        for body in bodies:
            for data in (body, wire.chunk(1, body), wire.lz4_blob(body)):
                try:
                    decode_snapshot(SnapshotDecoder(0, wire.TOKEN), whole(wire.HEADER + data))
                except DecodeError:
                    pass
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        assert time.process_time() - started < 2
    finally:
        tracemalloc.stop()


def test_a_compressed_bomb_passes_in_bounded_memory() -> None:
    """100 MB of one string in a blob of under 1 MB: pieces, never the whole."""
    size = 100 << 20
    data = wire.HEADER + wire.lz4_blob(wire.entry(0, b"bomb", wire.length(size) + bytes(size))) + wire.end()
    assert len(data) < 1 << 20
    decoder = SnapshotDecoder(0, wire.TOKEN)
    decoder.receive(data)
    tracemalloc.start()
    try:
        passed = 0
        while (block := decoder.next_block()) is not None:
            passed += sum(
                len(e) for x in block if isinstance(x, r.ValuePart) for e in x.elements if isinstance(e, bytes)
            )
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert passed == size
    assert decoder.finished


def test_a_huge_hash_passes_in_bounded_memory() -> None:
    """30 MB in tagged chunks, compressed and not; what is kept does not grow with the value."""
    pairs, value = 30_000, b"v" * 1000
    head = wire.entry(r.HASH, b"h", wire.length(pairs))
    decoder = SnapshotDecoder(0, wire.TOKEN)
    tracemalloc.start()
    try:
        seen = 0
        for at in range(0, pairs, 100):
            content = b"".join(wire.strings(b"f%d" % i, value) for i in range(at, at + 100))
            item = wire.chunk(1, content if at else head + content)
            block = decode_snapshot(
                decoder, whole((b"" if at else wire.HEADER) + (wire.lz4_blob(item) if at % 200 else item))
            )
            seen += sum(len(record.elements) for record in block if isinstance(record, r.ValuePart))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert seen == 2 * pairs
