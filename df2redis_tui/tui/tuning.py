"""Live tuning: steps, coalescing of repeated keys, undo, reset, exact values."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass

from df2redis_tui.replication.handle import KNOB_RANGES, EngineHandle, TuneChange, TuneRequest
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Knobs
from df2redis_tui.telemetry.view import KNOB_LABEL, knob_text, knobs_of

log = logging.getLogger(__name__)

MANTISSAS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
FLUSH_STEPS = (0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
NO_LIMIT_FROM = 5_000_000  # entries/s: a step above this takes the rate limit away
KNOBS = tuple(KNOB_RANGES)
Values = dict[str, float]


def ladder(value: float, up: bool) -> int:
    """The next round number above or below `value`: 1..10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100 ..."""
    rounds = sorted({int(m * 10**e) for e in range(9) for m in MANTISSAS} | set(range(1, 11)))
    if up:
        return next((r for r in rounds if r > value), rounds[-1])
    return next((r for r in reversed(rounds) if r < value), rounds[0])


def step(knobs: Knobs, knob: str, up: bool, rate_now: float = 0.0) -> Values:
    """The knobs one key press changes, with their new values; empty where there is no step left."""
    if knob == "flush_interval":
        steps = [s for s in FLUSH_STEPS if (s > knobs.flush_interval if up else s < knobs.flush_interval)]
        return {knob: steps[0] if up else steps[-1]} if steps else {}
    if knob == "channel":
        factor = 2.0 if up else 0.5
        return {
            "channel_entries": clamp("channel_entries", max(1000, knobs.channel_entries * factor)),
            "channel_bytes": clamp("channel_bytes", knobs.channel_bytes * factor),
        }
    if knob == "rate_limit":
        return _rate_step(knobs.rate_limit, up, rate_now)
    value = clamp(knob, ladder(getattr(knobs, knob), up))
    return {} if value == getattr(knobs, knob) else {knob: value}


def _rate_step(limit: float, up: bool, rate_now: float) -> Values:
    if not limit:  # the first step down starts at what flows now
        return {} if up else {"rate_limit": ladder(max(100.0, rate_now) + 1, False)}
    value = ladder(limit, up)
    return {"rate_limit": 0 if up and value > NO_LIMIT_FROM else value}


def clamp(knob: str, value: float) -> float:
    """Into the knob's range; whole numbers for everything but the flush interval."""
    low, high = KNOB_RANGES[knob]
    value = min(high, max(low, value))
    return value if knob == "flush_interval" else int(value)


_UNITS = {"k": 1e3, "m": 1e6, "g": 1e9, "kib": 1024, "mib": 1024**2, "gib": 1024**3, "kb": 1e3, "mb": 1e6, "gb": 1e9}


def parse_value(knob: str, text: str) -> float:
    """What an operator types: 2500, 2,500, 2.5k, 64MiB, 50ms, 1.5s, on, off, none. Raises ValueError with a reason."""
    word = text.strip().lower().replace(",", "").replace("_", "")
    if knob == "adaptive_flush":
        if word in ("on", "yes", "true", "1"):
            return 1
        if word in ("off", "no", "false", "0"):
            return 0
        raise ValueError("on or off")
    if knob == "rate_limit" and word in ("none", "off"):
        return 0
    units: dict[str, float] = {"ms": 0.001, "s": 1, "": 1} if knob == "flush_interval" else {**_UNITS, "b": 1, "": 1}
    number = word.rstrip("abcdefghijklmnopqrstuvwxyz/ ")
    unit = word[len(number) :].removesuffix("/s").strip() if knob != "flush_interval" else word[len(number) :].strip()
    try:
        value = float(number) * units[unit]
    except (ValueError, KeyError):
        raise ValueError(f"{text.strip()!r} is not a value for this") from None
    low, high = KNOB_RANGES[knob]
    if not low <= value <= high:
        raise ValueError(f"out of range: {range_text(knob)}")
    return value if knob == "flush_interval" else int(value)


def range_text(knob: str) -> str:
    """1 … 1,000,000"""
    if knob == "adaptive_flush":
        return "on or off"
    low, high = KNOB_RANGES[knob]
    lowest = "0 (none)" if knob == "rate_limit" else knob_text(knob, low)
    return f"{lowest} … {knob_text(knob, high)}"


def change_text(change: TuneChange) -> str:
    """batch size 2,000 → 2,500 (all FLOWs, from the next batch)"""
    where = "all FLOWs" if change.flow is None else f"FLOW {change.flow}"
    old, new = knob_text(change.knob, change.old), knob_text(change.knob, change.new)
    return f"{KNOB_LABEL.get(change.knob, change.knob)} {old} → {new} ({where}, {change.takes_effect})"


@dataclass(frozen=True, slots=True)
class _Before:
    """The values a change found: of the engine (or one FLOW), and of the FLOWs which had their own."""

    flow: int | None
    values: Values
    own: tuple[tuple[int, Values], ...]


class Tuner:
    """Collects key presses for a moment, then asks the engine once. `say` shows a text, `snapshot` is the state now."""

    def __init__(self, engine: EngineHandle, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._say = say
        self._pending: Values = {}
        self._pending_flow: int | None = None
        self._undo: list[_Before] = []
        self.last_knob = "batch_size"

    @property
    def pending(self) -> Values:
        """What has been pressed and not asked for yet."""
        return self._pending

    @property
    def can_undo(self) -> bool:
        return bool(self._undo or self._pending)

    def press(self, snap: EngineSnapshot, knob: str, up: bool, flow: int | None) -> None:
        """One key press; `apply` must follow soon."""
        if flow != self._pending_flow:
            self.apply(snap)
        self._pending_flow = flow
        knobs = _with(knobs_of(snap, flow), self._pending)
        values = step(knobs, knob, up, snap.totals.entries_per_s)
        self.last_knob = next(iter(values), knob if knob in KNOB_RANGES else "channel_entries")
        if not values:
            self._say(f"{KNOB_LABEL.get(knob, knob)}: no further step")
            return
        self._pending |= values
        self._say(self._pending_text(snap))

    def _pending_text(self, snap: EngineSnapshot) -> str:
        now = knobs_of(snap, self._pending_flow)
        return ", ".join(
            f"{KNOB_LABEL[k]} {knob_text(k, getattr(now, k))} → {knob_text(k, v)}" for k, v in self._pending.items()
        )

    def apply(self, snap: EngineSnapshot) -> list[TuneChange]:
        """Ask the engine for what has been pressed."""
        values, self._pending = self._pending, {}
        return self.set(snap, values, self._pending_flow) if values else []

    def set(self, snap: EngineSnapshot, values: Values, flow: int | None) -> list[TuneChange]:
        """Change knobs, remember how to undo it, say and log what the engine did."""
        before = _before(snap, values, flow)
        changes = self._engine.tune(TuneRequest(flow=flow, **_typed(values)))  # type: ignore[arg-type]
        if changes:
            self._undo.append(before)
            self._tell(changes)
        else:
            self._say("no change")
        return changes

    def _tell(self, changes: list[TuneChange]) -> None:
        for change in changes:
            log.info("tuned by the operator: %s", change_text(change))
        self._say(", ".join(change_text(c) for c in changes))

    def undo(self, snap: EngineSnapshot) -> list[TuneChange]:
        """Give the knobs of the last change the values they had before it, FLOW by FLOW."""
        if self._pending:
            self._pending = {}
            self._say("dropped")
            return []
        if not self._undo:
            self._say("nothing to undo")
            return []
        before = self._undo.pop()
        changes = self._engine.tune(TuneRequest(flow=before.flow, **_typed(before.values)))  # type: ignore[arg-type]
        for flow, values in before.own:
            changes += self._engine.tune(TuneRequest(flow=flow, **_typed(values)))  # type: ignore[arg-type]
        self._tell(changes)
        return changes

    def reset(self, snap: EngineSnapshot, flow: int | None) -> list[TuneChange]:
        """Every knob as the configuration says."""
        self._pending = {}
        knobs = [knobs_of(snap, flow)] if flow is not None else [snap.knobs, *(f.knobs for f in snap.flows)]
        values = {
            k: getattr(snap.configured, k)
            for k in KNOBS
            if any(getattr(each, k) != getattr(snap.configured, k) for each in knobs)
            and not (flow is not None and k == "rate_limit")
        }
        if not values:
            self._say("everything is as configured")
            return []
        return self.set(snap, values, flow)


def _with(knobs: Knobs, values: Values) -> Knobs:
    return dataclasses.replace(knobs, **_typed(values))  # type: ignore[arg-type]


def _typed(values: Values) -> dict[str, object]:
    """Knob values with the types of `Knobs`."""
    return {
        k: bool(v) if k == "adaptive_flush" else float(v) if k == "flush_interval" else int(v)
        for k, v in values.items()
    }


def _before(snap: EngineSnapshot, values: Values, flow: int | None) -> _Before:
    common = knobs_of(snap, flow)
    own: list[tuple[int, Values]] = []
    if flow is None:
        for f in snap.flows:
            differs = {k: getattr(f.knobs, k) for k in values if getattr(f.knobs, k) != getattr(common, k)}
            if differs:
                own.append((f.flow, differs))
    return _Before(flow, {k: getattr(common, k) for k in values}, tuple(own))
