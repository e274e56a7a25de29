"""How long the source's journal backlog holds at the rate at which it is written: that is how long a restart may take.

The backlog is a ring of records for each shard (`--shard_repl_backlog_len`). Its length can't be asked for.
"""

from __future__ import annotations

from collections import deque

from df2redis_tui.dragonfly.control import Greeting

OPTION = "--shard_repl_backlog_len"
SHORT = 30.0  # seconds; below, a restart or a broken connection easily costs a full sync
WINDOW = 10.0  # seconds
NEVER_PARTIAL = ((1, 21), (1, 30))  # releases that grant no partial sync, whatever the backlog holds


def default_length(release: tuple[int, int] | None) -> int:
    """Records a shard, unless the source was started with another number."""
    return 1024 if release is not None and release < (1, 34) else 8192


def never_partial(release: tuple[int, int] | None) -> bool:
    return release is not None and NEVER_PARTIAL[0] <= release <= NEVER_PARTIAL[1]


class Backlog:
    """Of one run: the write rate of each shard, from what the source says of its journals."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, list[int]]] = deque()
        self.length = default_length(None)
        self._never = False

    def follow(self, greeting: Greeting) -> None:
        """A session begins."""
        self._samples.clear()
        self.length = default_length(greeting.release)
        self._never = never_partial(greeting.release)

    def note(self, offsets: list[int], now: float) -> None:
        self._samples.append((now, offsets))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW:
            self._samples.popleft()

    def busiest(self) -> tuple[int, float] | None:
        """The FLOW whose journal grows fastest, and its records per second; None before a window has passed."""
        if not self._samples:
            return None
        (then, before), (now, after) = self._samples[0], self._samples[-1]
        if now - then < WINDOW:
            return None
        rates = [(new - old) / (now - then) for old, new in zip(before, after, strict=True)]
        flow = max(range(len(rates)), key=rates.__getitem__)
        return flow, rates[flow]

    def holds(self) -> float | None:
        """Seconds that the default backlog lasts at the rate of the busiest FLOW; None when that is not known or 0."""
        found = self.busiest()
        return self.length / found[1] if found is not None and found[1] > 0 else None

    def advice(self) -> str:
        """What to say where a partial sync is refused or near to be: how long it holds, and what makes it longer."""
        if self._never:
            first, last = (".".join(map(str, release)) for release in NEVER_PARTIAL)
            return f"releases {first} to {last} of Dragonfly never grant a partial sync"
        found, holds = self.busiest(), self.holds()
        now = f", {holds:.1f} s at the {found[1]:,.0f} records/s of FLOW {found[0]}" if found and holds else ""
        return f"its {OPTION} is {self.length:,} records a shard unless raised{now}"
