"""Where fuzzing begins: pieces of the recorded sessions, as each harness takes them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from df2redis_tui.dragonfly.journal import JournalDecoder
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder
from df2redis_tui.dragonfly.records import OP_COMMAND, OP_EXPIRED, OP_MULTI, Entry, Value
from tests.fuzz.harnesses import HARNESSES
from tests.unit.dragonfly import wire
from tests.unit.dragonfly.recorded import RecordedFlow, recorded_flows
from tests.unit.dragonfly.test_values import CASES, SKETCHES, stream

LONGEST = 2048  # bytes of one seed
JOURNAL_RECORDS = 400  # of a flow


def write_corpus(directory: Path) -> None:
    """A folder for each harness."""
    for name in HARNESSES:
        (directory / name).mkdir(parents=True, exist_ok=True)
    for at, (name, seed) in enumerate(seeds()):
        (directory / name / f"{at:05}").write_bytes(seed)


def seeds() -> Iterator[tuple[str, bytes]]:
    for type, raw in [*((c[0], c[1]) for c in CASES), *SKETCHES.items(), (21, stream(True)), (15, stream(False))]:
        yield "value", bytes([type]) + raw
        for how in (0, 4, 8):
            yield "full_sync", bytes([how]) + wire.entry(type, b"key", raw, 1_900_000_000_000)
        if raw[:1] == bytes([len(raw) - 1]):
            yield from (("packed", bytes([kind]) + raw[1:]) for kind in range(3))
    yield "packed", b"\x03\x00\x10\x01ab\xe0\x05\x01"
    seen: set[bytes] = set()
    for flow in recorded_flows():
        yield from _of_flow(flow, seen)


def _of_flow(flow: RecordedFlow, seen: set[bytes]) -> Iterator[tuple[str, bytes]]:
    data, journal = flow.read(), flow.read()
    if flow.full:
        for at in range(9, min(len(data), 60_000), LONGEST):
            yield "full_sync", b"\x00" + data[at : at + LONGEST]
        decoder = SnapshotDecoder(flow.number, flow.token)
        decoder.receive(data)
        kinds: dict[int, int] = {}
        while (block := decoder.next_block()) is not None:
            for item in block:
                if isinstance(item, Value) and len(item.raw) < LONGEST and kinds.setdefault(item.type, 0) < 12:
                    kinds[item.type] += 1
                    yield "value", bytes([item.type]) + item.raw
                    yield "full_sync", b"\x04" + wire.entry(item.type, item.key[:200], item.raw)
        journal = decoder.leftover
    entries = JournalDecoder(flow.number)
    entries.receive(journal)
    for entry in islice(_entries(entries), JOURNAL_RECORDS):
        name = entry.args[0].upper()
        text = wire.command(*entry.args, op=entry.op, txid=entry.txid)
        if len(text) < LONGEST and (name not in seen or len(seen) < 10):
            seen.add(name)
            yield "stable_sync", b"\x00" + text
            yield "full_sync", b"\x0c" + text
            yield "blob", text
            yield "record", b"\x01" + b"\xff".join(entry.args)


def _entries(decoder: JournalDecoder) -> Iterator[Entry]:
    while (block := decoder.next_block()) is not None:
        yield from (entry for entry in block if entry.op in (OP_COMMAND, OP_MULTI, OP_EXPIRED))
