"""The status line's facts: how far, how fast, is it healthy, what holds it back. The same for a terminal and a log."""

from __future__ import annotations

from dataclasses import dataclass

from df2redis_tui.telemetry import format as fmt
from df2redis_tui.telemetry.format import Line, Span
from df2redis_tui.telemetry.glyphs import UNICODE, Glyphs
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Health, Phase, Verdict

HEALTH_ROLE = {Health.HEALTHY: "ok", Health.WARNING: "warn", Health.CRITICAL: "crit"}

PHASE_ROLE = {
    Phase.CONNECTING: "phase-wait",
    Phase.HANDSHAKE: "phase-wait",
    Phase.FULL_SYNC: "phase-full",
    Phase.BARRIER: "phase-full",
    Phase.STABLE_SYNC: "phase-stable",
    Phase.PAUSED: "phase-paused",
    Phase.RECONNECTING: "phase-paused",
    Phase.DRAINING: "phase-wait",
    Phase.DONE: "phase-stable",
    Phase.FAILED: "phase-failed",
}

_ENDED_HEALTH = {
    Verdict.COMPLETE: Health.HEALTHY,
    Verdict.UNCONFIRMED: Health.CRITICAL,
    Verdict.FAILED: Health.CRITICAL,
}

_SYNCING = (Phase.FULL_SYNC, Phase.BARRIER)


@dataclass(frozen=True, slots=True)
class StatusView:
    """Text of every field; "" where a field has nothing to say in this phase."""

    phase: Phase
    phase_glyph: str
    phase_word: str
    phase_role: str
    percent: str
    progress: float | None  # 0..1, in steps of 1/1000
    keys: str  # "12.4 M of ~20.1 M keys"
    lag: str  # "lag 0.2 s · 1,204 rec"
    ops: str
    octets: str
    eta: str  # "ETA 41 s", "ETA --" while it isn't known
    health_glyph: str
    health_word: str
    health_role: str
    health_reason: str
    verdict: str
    reason: str  # of a state which isn't running
    ready: str
    source: str
    target: str
    uptime: str
    failure: str
    errors: str  # "3 errors · 2 dead letters", "" when none


def status_view(snap: EngineSnapshot, glyphs: Glyphs = UNICODE) -> StatusView:
    """What the status line says about `snap`."""
    full = snap.phase in _SYNCING or (snap.phase is Phase.PAUSED and snap.progress is not None)
    stable = snap.lag_seconds is not None or snap.lag_records is not None or snap.phase is Phase.STABLE_SYNC
    keys = ""
    if full:
        copied = fmt.si(snap.totals.keys_copied)
        keys = f"{copied:>6} of ~{fmt.si(snap.source.keys)} keys" if snap.source.keys else f"{copied:>6} keys"
    lag = ""
    if stable and not full:
        records = f" · {fmt.count(snap.lag_records)} rec" if snap.lag_records is not None else ""
        lag = f"lag {fmt.lag(snap.lag_seconds):>6}{records}"
    ended = snap.exit_code is not None
    health = _ENDED_HEALTH.get(snap.outcome.verdict, Health.WARNING) if ended else snap.health
    ready = ""
    if snap.ready_to_cut_over:
        ready = f"READY TO CUT OVER: lag 0 for {_coarse(snap.caught_up_for or 0)}"
    return StatusView(
        phase=snap.phase,
        phase_glyph=glyphs.phase(snap.phase),
        phase_word=snap.phase.value.upper(),
        phase_role=PHASE_ROLE[snap.phase],
        percent=fmt.percent(snap.progress) if full and snap.progress is not None else "",
        progress=round(snap.progress, 3) if full and snap.progress is not None else None,
        keys=keys,
        lag=glyphs.plain(lag),
        ops=f"{fmt.si(snap.totals.entries_per_s):>6} op/s",
        octets=f"{fmt.size_rate(snap.totals.bytes_in_per_s):>9}",
        eta=f"ETA {fmt.duration(snap.eta)}" if full and snap.phase is not Phase.PAUSED else "",
        health_glyph=glyphs.health(health),
        health_word=snap.outcome.verdict.value if ended else health.value,
        health_role=HEALTH_ROLE[health],
        health_reason="" if ended else glyphs.plain(fmt.clean(snap.health_reason)),
        verdict=glyphs.plain(fmt.clean(snap.outcome.text if ended else snap.bottleneck)),
        reason="" if ended else glyphs.plain(fmt.clean(snap.reason)),
        ready=ready,
        source=_source(snap),
        target=_target(snap),
        uptime=f"up {_coarse(snap.elapsed)}",
        failure=fmt.clean(snap.failure),
        errors=_errors(snap, glyphs),
    )


def _coarse(seconds: float) -> str:
    """A running time whose text changes at most every ten seconds (a ticking clock costs bytes on an idle screen)."""
    if seconds < 60:
        return f"{int(seconds // 10) * 10} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} m"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} m"


def _source(snap: EngineSnapshot) -> str:
    version = snap.source.version.removeprefix("df-")
    flows = fmt.plural(snap.source.flows, "flow")
    return fmt.clean(" ".join(p for p in ("dragonfly", snap.source.address, version, flows if snap.flows else "") if p))


def _target(snap: EngineSnapshot) -> str:
    t = snap.target
    product = t.product or "redis"
    if t.cluster:
        masters = sum(n.role != "replica" for n in snap.nodes)
        product = f"{product} cluster, {masters} masters"
    address, _, more = t.address.partition(",")
    seeds = f"{address} +{more.count(',') + 1}" if more else address
    return fmt.clean(" ".join(p for p in (product, seeds, t.version) if p))


def _errors(snap: EngineSnapshot, glyphs: Glyphs) -> str:
    parts = []
    if snap.totals.errors:
        parts.append(fmt.plural(snap.totals.errors, "error"))
    if snap.totals.dead_letters:
        parts.append(fmt.plural(snap.totals.dead_letters, "dead letter"))
    return f" {glyphs.dot} ".join(parts)


def status_lines(
    view: StatusView, width: int, glyphs: Glyphs = UNICODE, *, badges: tuple[str, ...] = ()
) -> tuple[Line, Line]:
    """Two lines: the figures, then who talks to whom and what holds it back. `badges` stand at the right edge."""
    phase: Line = (Span(f" {view.phase_glyph} {view.phase_word} ", view.phase_role),)
    health: Line = (
        Span(f"{view.health_glyph} {view.health_word}", view.health_role),
        *((Span(f"  {' '.join(badges)}", "badge"),) if badges else ()),
        Span(" "),
    )
    pieces: list[tuple[int, Line]] = [(0, phase)]
    if view.percent:
        gauge = max(8, min(40, width // 6))
        filled = fmt.bar_spans(view.progress or 0.0, gauge, "bar-progress", glyphs)
        pieces.append((1, (Span(f"{view.percent:>5}", "strong"),)))
        pieces.append((6, filled))
    if view.ready:
        pieces.append((1, (Span(f" {view.ready} ", "ready"),)))
    if view.lag and not view.ready:
        pieces.append((1, (Span(view.lag, "strong"),)))
    if view.keys:
        pieces.append((5, (Span(view.keys, "value"),)))
    if view.phase not in (Phase.DONE, Phase.FAILED):
        pieces.append((2, (Span(view.ops, "value"),)))
        pieces.append((4, (Span(view.octets, "value"),)))
    if view.eta:
        pieces.append((3, (Span(f"{view.eta:<14}", "value"),)))
    first = fmt.arrange(pieces, width, "  ", health)
    return first, _second_line(view, width, glyphs)


def _second_line(view: StatusView, width: int, glyphs: Glyphs) -> Line:
    why: list[tuple[int, Line]] = []
    if view.failure:
        why.append((0, (Span(f" {view.failure}", "crit"),)))
    elif view.reason:
        why.append((0, (Span(f" {view.reason}", "warn"),)))
    if view.verdict and not view.failure and view.verdict != view.reason:
        role = "warn" if view.health_role != "ok" else "value"
        why.append((1, (Span(" " if not why else ""), Span(view.verdict, role))))
    if view.health_reason and view.health_reason not in view.verdict:
        why.append((2, (Span("" if why else " "), Span(view.health_reason, view.health_role))))
    if view.errors:
        why.append((1, (Span("" if why else " "), Span(view.errors, "crit"))))
    link: Line = (
        Span(view.source, "dim"),
        Span(f" {glyphs.arrow} ", "accent"),
        Span(view.target, "dim"),
        Span(f"  {view.uptime} ", "dim"),
    )
    used = sum(fmt.line_width(p) for _, p in why) + 3 * len(why)
    if used + fmt.line_width(link) > width:
        link = (Span(f"{view.uptime} ", "dim"),)
    return fmt.arrange(why, width, f" {glyphs.dot} ", link if used + fmt.line_width(link) <= width else ())


def plain_status(view: StatusView, glyphs: Glyphs = UNICODE) -> str:
    """One line for a log or a pipe; the same texts as `status_lines`."""
    parts = [
        view.phase_word.lower(),
        view.percent,
        view.keys,
        view.lag,
        view.ready,
        *((view.ops, view.octets) if view.phase not in (Phase.DONE, Phase.FAILED) else ()),
        view.eta,
        view.failure or view.reason,
        view.verdict if view.verdict != view.reason else "",
        view.health_word + (f" ({view.health_reason})" if view.health_reason else ""),
        view.errors,
    ]
    return f" {glyphs.dot} ".join(" ".join(p.split()) for p in parts if p)
