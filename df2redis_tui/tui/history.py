"""What the screen remembers: rates for the charts, flushes and events beyond the engine's rings."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from typing import Protocol, TypeVar

from df2redis_tui.telemetry.format import scale_top
from df2redis_tui.telemetry.snapshot import BatchRecord, EngineSnapshot, EventRecord

POINTS = 600  # five minutes at two looks a second
RECORDS = 5000


class _Numbered(Protocol):
    @property
    def seq(self) -> int: ...


class History:
    """Filled by `take`, once per new snapshot."""

    def __init__(self) -> None:
        self.total: deque[float] = deque(maxlen=POINTS)
        self.flow_rates: dict[int, deque[float]] = {}
        self.flow_fill: dict[int, deque[float]] = {}
        self.batches: deque[BatchRecord] = deque(maxlen=RECORDS)
        self.events: deque[EventRecord] = deque(maxlen=RECORDS)
        self.top = 1.0  # the common scale of all FLOWs' rates
        self._seq = -1
        self._most = -1.0
        self._taken = 0

    def take(self, snap: EngineSnapshot) -> None:
        """Remember a snapshot, unless it is the last one again."""
        if snap.seq == self._seq:
            return
        self._seq = snap.seq
        self.total.append(snap.totals.entries_per_s)
        for flow in snap.flows:
            self.flow_rates.setdefault(flow.flow, deque(maxlen=POINTS)).append(flow.entries_per_s)
            self.flow_fill.setdefault(flow.flow, deque(maxlen=POINTS)).append(flow.channel_fill)
        most = max((flow.entries_per_s for flow in snap.flows), default=0.0)
        self._taken += 1
        if most > self._most or self._taken % 20 == 0:
            self._most = max((max(rates) for rates in self.flow_rates.values()), default=0.0)
            self.top = scale_top([self._most])
        _append_newer(self.batches, snap.batches)
        _append_newer(self.events, snap.events)

    def rates(self, flow: int) -> Sequence[float]:
        """entries/s of one FLOW, oldest first."""
        return self.flow_rates.get(flow, ())


_Record = TypeVar("_Record", bound=_Numbered)


def _append_newer(known: deque[_Record], seen: Sequence[_Record]) -> None:
    newest = known[-1].seq if known else -1
    fresh = list(takewhile(lambda record: record.seq > newest, reversed(seen)))
    known.extend(reversed(fresh))
