"""Snapshots as lines of JSON: each carries the flushes and events that are new since the line before it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from df2redis_tui.masking import masked_values
from df2redis_tui.telemetry.snapshot import EngineSnapshot

MOST: Final = 50  # flushes, and events, of one line: the newest; a gap in `seq` tells of more


class _Numbered(Protocol):
    @property
    def seq(self) -> int: ...


Record = TypeVar("Record", bound=_Numbered)


class JsonLines:
    """Call with each snapshot for its line."""

    def __init__(self) -> None:
        self._batch = 0
        self._event = 0

    def __call__(self, snap: EngineSnapshot) -> str:
        batches, self._batch = _newer(snap.batches, self._batch)
        events, self._event = _newer(snap.events, self._event)
        return json.dumps(masked_values(dataclasses.replace(snap, batches=batches, events=events).as_json()))


def _newer(records: Sequence[Record], seen: int) -> tuple[tuple[Record, ...], int]:
    """The newest of those behind `seen`, and the number of the last."""
    fresh = tuple(record for record in records[-MOST:] if record.seq > seen)
    return fresh, records[-1].seq if records else seen
