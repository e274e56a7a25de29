"""What the screens draw from: the snapshot, the history, and what the operator has chosen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from df2redis_tui.telemetry.snapshot import BatchRecord, EngineSnapshot, EventRecord, FlowSnapshot
from df2redis_tui.telemetry.view import SLOW_MS
from df2redis_tui.telemetry.view_table import SORTABLE, sorted_flows
from df2redis_tui.tui.history import History


@dataclass(slots=True)
class UiState:
    """`live` is the newest snapshot, `snap` the one shown (older while the view is frozen)."""

    live: EngineSnapshot
    snap: EngineSnapshot
    history: History = field(default_factory=History)
    selected: int = 0  # the number of the selected FLOW
    scope: int | None = None  # the FLOW that is tuned, None = all
    frozen: bool = False
    table: bool | None = None  # panels or table, None = by the room there is
    tabled: bool = False  # whether a table is shown now
    sort: str = "flow"
    descending: bool = False
    note: str = ""  # the last change, shown in the tuning bar
    paused_since: float = 0.0  # unix time

    def take(self, snap: EngineSnapshot) -> None:
        """A new snapshot: always kept as the newest, shown unless the view is frozen."""
        if snap.paused and not self.live.paused:
            self.paused_since = snap.at
        self.live = snap
        if not self.frozen:
            self.snap = snap
            self.history.take(snap)
        if snap.flows and all(f.flow != self.selected for f in snap.flows):
            self.selected = snap.flows[0].flow

    def flow(self) -> FlowSnapshot | None:
        """The selected FLOW."""
        return next((f for f in self.snap.flows if f.flow == self.selected), None)

    def ordered(self) -> list[FlowSnapshot]:
        """FLOWs in the order in which they are shown."""
        if not self.tabled:
            return list(self.snap.flows)
        return sorted_flows(self.snap.flows, self.sort, self.descending)

    def move(self, by: int) -> None:
        """Select the FLOW `by` places further on."""
        flows = self.ordered()
        if not flows:
            return
        numbers = [f.flow for f in flows]
        at = numbers.index(self.selected) if self.selected in numbers else 0
        self.selected = numbers[max(0, min(len(numbers) - 1, at + by))]

    def next_sort(self) -> None:
        self.sort = SORTABLE[(SORTABLE.index(self.sort) + 1) % len(SORTABLE)]
        self.descending = self.sort != "flow"


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which flushes or events are listed. `text` is a regular expression; with a leading ! what doesn't match."""

    flow: int | None = None
    slow: bool = False
    failed: bool = False
    text: str = ""

    def __bool__(self) -> bool:
        return self != RecordFilter()

    def with_text(self, text: str) -> RecordFilter:
        """Raises re.error for what is no regular expression."""
        re.compile(text.removeprefix("!"))
        return replace(self, text=text)

    def words(self) -> str:
        """FLOW 2, slow, "redirected" """
        parts = [f"FLOW {self.flow}"] if self.flow is not None else []
        parts += [word for word, on in (("slow", self.slow), ("failed", self.failed)) if on]
        if self.text:
            parts.append(f"/{self.text}/")
        return ", ".join(parts)

    def passes(self, record: BatchRecord | EventRecord, shown: str) -> bool:
        """`shown` is the record as it stands on the screen."""
        if self.flow is not None and record.flow != self.flow:
            return False
        if isinstance(record, BatchRecord):
            if self.slow and record.ms < SLOW_MS:
                return False
            if self.failed and not record.failed:
                return False
        if not self.text:
            return True
        found = re.search(self.text.removeprefix("!"), shown, re.IGNORECASE) is not None
        return found is not self.text.startswith("!")


def next_flow_filter(current: int | None, flows: Iterable[int]) -> int | None:
    """None → the first FLOW → the next ... → None"""
    numbers = sorted(flows)
    if current is None:
        return numbers[0] if numbers else None
    return next((n for n in numbers if n > current), None)
