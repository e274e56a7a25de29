"""Counters of a running engine: plain numbers, written on the engine's loop, read from any thread."""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from dataclasses import dataclass, field

from df2redis_tui.masking import masked
from df2redis_tui.telemetry.snapshot import BatchRecord, EventRecord

_STEP = math.log(1.12)
_BUCKETS = 160  # 0.01 ms * 1.12^160: some 750,000 ms
_FLOOR = 0.01


class Latency:
    """A histogram of milliseconds, 12 % wide buckets, over everything and over the last seconds."""

    WINDOW = 5.0

    def __init__(self) -> None:
        self.all = [0] * _BUCKETS
        self._now = [0] * _BUCKETS
        self._before = [0] * _BUCKETS
        self._turned = time.monotonic()

    def add(self, ms: float, count: int) -> None:
        bucket = 0 if ms <= _FLOOR else min(_BUCKETS - 1, int(math.log(ms / _FLOOR) / _STEP) + 1)
        self.all[bucket] += count
        self._now[bucket] += count

    def turn(self, now: float) -> None:
        """Let old samples fall out of the window."""
        if now - self._turned >= self.WINDOW:
            self._turned = now
            self._before, self._now = self._now, [0] * _BUCKETS

    def recent(self, *quantiles: float) -> list[float] | None:
        return quantiles_of([a + b for a, b in zip(self._now, self._before, strict=True)], quantiles)


def quantiles_of(buckets: list[int], quantiles: tuple[float, ...]) -> list[float] | None:
    """Upper bounds in ms; None when there is no sample."""
    total = sum(buckets)
    if not total:
        return None
    result = []
    for q in quantiles:
        sums = itertools.accumulate(buckets)
        bucket = next(i for i, seen in enumerate(sums) if seen >= q * total)
        result.append(_FLOOR * math.exp(_STEP * bucket))
    return result


class Rate:
    """Per second, over the last `samples` (two seconds at a few Hz)."""

    __slots__ = ("_samples", "value")

    def __init__(self, samples: int = 9) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=samples)
        self.value = 0.0

    def sample(self, now: float, total: float) -> None:
        self._samples.append((now, total))
        then, before = self._samples[0]
        self.value = max(0.0, (total - before) / (now - then)) if now > then else 0.0


@dataclass(slots=True)
class FlowStats:
    """What one FLOW did since the start of the run; survives reconnects."""

    flow: int
    entries: int = 0
    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    batches: int = 0
    retries: int = 0
    redirects: int = 0
    errors: int = 0
    tolerated: int = 0
    rereads: int = 0  # keys that were read again from the source, confirmed
    unverified: int = 0  # keys in doubt that were not: there were too many
    lsn_gaps: int = 0
    lsn_received: int | None = None
    lsn_confirmed: int | None = None
    lsn_acked: int | None = None
    lsn_source: int | None = None
    kinds: dict[str, int] = field(default_factory=dict)
    latency: Latency = field(default_factory=Latency)
    stable_latency: Latency = field(default_factory=Latency)
    entry_rate: Rate = field(default_factory=Rate)
    byte_rate: Rate = field(default_factory=Rate)


class Records:
    """The newest batches and events, bounded, without a password in their texts."""

    def __init__(self, batches: int = 500, events: int = 300) -> None:
        self.batches: deque[BatchRecord] = deque(maxlen=batches)
        self.events: deque[EventRecord] = deque(maxlen=events)
        self._batch_seq = 0
        self._event_seq = 0

    def batch(
        self, flow: int, number: int, entries: int, size: int, nodes: int, ms: float, result: str, failed: bool
    ) -> None:
        self._batch_seq += 1
        self.batches.append(
            BatchRecord(self._batch_seq, time.time(), flow, number, entries, size, nodes, ms, masked(result), failed)
        )

    def event(self, level: str, kind: str, text: str, flow: int | None = None) -> None:
        self._event_seq += 1
        self.events.append(EventRecord(self._event_seq, time.time(), level, kind, flow, masked(text)))
