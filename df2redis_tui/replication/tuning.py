"""The operator's changes of knobs: for the FLOWs there are, and remembered for those to come."""

from __future__ import annotations

import dataclasses
import logging
from typing import Protocol

from df2redis_tui.pipeline.knobs import FlowKnobs
from df2redis_tui.pipeline.limiter import RateLimit
from df2redis_tui.replication.flow_state import FlowState
from df2redis_tui.replication.handle import KNOB_RANGES, TuneChange, TuneRequest
from df2redis_tui.telemetry.stats import Records

log = logging.getLogger(__name__)


class Tuned:
    """What the operator has changed, by knob: for all FLOWs and, of the same number, for single ones."""

    def __init__(self) -> None:
        self._all: dict[str, float] = {}
        self._of_flow: dict[int, dict[str, float]] = {}

    def note(self, flow: int | None, knob: str, value: float, configured: float) -> None:
        """`configured` is what the settings say: a knob of all FLOWs that has this value is not a changed one."""
        if flow is not None:
            self._of_flow.setdefault(flow, {})[knob] = value
            return
        for single in self._of_flow.values():
            single.pop(knob, None)
        if value == configured:
            self._all.pop(knob, None)
        else:
            self._all[knob] = value

    def values(self, flow: int | None) -> dict[str, float]:
        """Knobs of a FLOW (None = of all) that differ from the settings."""
        return {**self._all, **self._of_flow.get(-1 if flow is None else flow, {})}

    def apply(self, flow: int | None, knobs: FlowKnobs) -> FlowKnobs:
        """The knobs with what was changed."""
        changed = {knob: _as(getattr(knobs, knob), value) for knob, value in self.values(flow).items()}
        return dataclasses.replace(knobs, **changed)  # type: ignore[arg-type]


class Tunable(Protocol):
    """The parts of a job that knobs belong to."""

    flows: list[FlowState]
    rate: RateLimit
    tuned: Tuned
    records: Records

    def configured(self) -> FlowKnobs:
        """The knobs of each FLOW as the settings want them."""
        ...


def tune(job: Tunable, request: TuneRequest) -> list[TuneChange]:
    """Apply a request; what it changed, with the values clamped to their ranges."""
    wanted = dataclasses.asdict(request)
    del wanted["flow"]
    changes: list[TuneChange] = []
    if (rate := wanted.pop("rate_limit")) is not None:
        per_second = int(clamp("rate_limit", rate))
        if per_second != job.rate.per_second:
            changes.append(TuneChange("rate_limit", None, job.rate.per_second, per_second, "at once"))
            job.rate.change(per_second)
    for knob, value in wanted.items():
        if value is not None and (change := _tune_knob(job, request.flow, knob, value)) is not None:
            changes.append(change)
    for change in changes:
        job.records.event("info", "tuning", str(change), change.flow)
        log.info("Tuned", extra={"fields": {"knob": change.knob, "old": change.old, "new": change.new}})
    return changes


def _tune_knob(job: Tunable, flow: int | None, knob: str, value: float) -> TuneChange | None:
    states = [state for state in job.flows if flow in (None, state.flow)]
    configured = getattr(job.configured(), knob)
    value = _as(configured, value if value == configured else clamp(knob, value))
    before = getattr(job.tuned.apply(flow, job.configured()), knob)
    job.tuned.note(flow, knob, value, configured)
    if not job.flows:
        new = _as(before, value)
        return TuneChange(knob, flow, float(before), float(new), "with the first FLOW") if new != before else None
    old: float | None = None
    effect = ""
    for state in states:
        now = getattr(state.knobs, knob)
        new = _as(now, value)
        if new == now:
            continue
        old = now if old is None else old
        effect = _effect(knob, new, state.dispatcher.limiter.in_flight if state.dispatcher else 0)
        setattr(state.knobs, knob, new)
        if knob == "flush_interval":
            state.interval_tuned = new != configured
        if state.dispatcher is not None:
            state.dispatcher.knobs_changed()
    return TuneChange(knob, flow, float(old), float(value), effect) if old is not None else None


def clamp(knob: str, value: float) -> float:
    low, high = KNOB_RANGES[knob]
    return min(high, max(low, value))


def _as(now: float, value: float) -> float:
    return type(now)(value)


def _effect(knob: str, new: float, in_flight: int) -> str:
    if knob == "batch_size":
        return "from the next batch"
    if knob == "max_in_flight" and in_flight > new:
        return f"draining {in_flight} to {new:g}"
    return "at once"
