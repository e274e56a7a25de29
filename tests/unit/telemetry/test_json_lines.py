"""NDJSON: what is new since the line before, never more than so much."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from df2redis_tui.telemetry.json_lines import MOST, JsonLines
from df2redis_tui.telemetry.snapshot import BatchRecord, EngineSnapshot, EventRecord
from tests.unit.cli.test_report import LAST


def after(batches: int, events: int = 0) -> EngineSnapshot:
    """A snapshot whose rings are as full as they get."""
    return dataclasses.replace(
        LAST,
        batches=tuple(BatchRecord(n, 1.0, 0, n, 1, 1, 1, 1.0, "ok", False) for n in range(1, batches + 1))[-500:],
        events=tuple(EventRecord(n, 1.0, "info", "phase", None, "x") for n in range(1, events + 1))[-300:],
    )


def seqs(line: str, what: str) -> list[int]:
    found: dict[str, Any] = json.loads(line)
    return [record["seq"] for record in found[what]]


def test_a_flush_is_told_of_once() -> None:
    lines = JsonLines()
    assert seqs(lines(after(3, 1)), "batches") == [1, 2, 3]
    second = lines(after(5, 1))
    assert seqs(second, "batches") == [4, 5]
    assert seqs(second, "events") == []
    assert seqs(lines(after(5, 2)), "events") == [2]


def test_a_line_stays_short_however_much_happened() -> None:
    lines = JsonLines()
    lines(after(10))
    line = lines(after(9_000, 4_000))
    assert seqs(line, "batches") == list(range(9_000 - MOST + 1, 9_001))
    assert seqs(line, "events") == list(range(4_000 - MOST + 1, 4_001))
    assert len(line) < 20_000
    assert seqs(lines(after(9_001, 4_000)), "batches") == [9_001]
