"""One FLOW as an operator sees it: gauges with figure, severity and word; drawn as a panel or as a row of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from df2redis_tui.telemetry import format as fmt
from df2redis_tui.telemetry.format import Line, Span
from df2redis_tui.telemetry.glyphs import UNICODE, Glyphs
from df2redis_tui.telemetry.health import BATCH_WAIT, CHANNEL, LIMITER
from df2redis_tui.telemetry.health import grade as health_of
from df2redis_tui.telemetry.snapshot import FlowSnapshot, Health, Phase
from df2redis_tui.telemetry.view_status import HEALTH_ROLE

SHORT_PHASE = {
    Phase.CONNECTING: "connect",
    Phase.HANDSHAKE: "hello",
    Phase.FULL_SYNC: "full",
    Phase.BARRIER: "barrier",
    Phase.STABLE_SYNC: "stable",
    Phase.PAUSED: "paused",
    Phase.RECONNECTING: "reconn",
    Phase.DRAINING: "drain",
    Phase.DONE: "done",
    Phase.FAILED: "failed",
}

PANEL_ROWS = 7


def grade(value: float, limits: tuple[float, float]) -> str:
    """The role of a figure by the bounds of its health: ok, warn or crit."""
    return HEALTH_ROLE[health_of(value, limits)]


@dataclass(frozen=True, slots=True)
class FlowView:
    flow: int
    phase: str
    short_phase: str
    phase_glyph: str
    stable: bool
    glyph: str
    word: str
    role: str
    reason: str  # what makes it unhealthy, or why it isn't running
    channel: float
    channel_role: str
    channel_percent: str
    channel_entries: str
    channel_bytes: str
    limiter: float
    limiter_role: str
    limiter_text: str  # "12/50"
    in_flight_bytes: str
    batch: float
    batch_role: str
    batch_text: str  # "1,204/2,000"
    wait: str
    wait_role: str
    ops: str
    octets: str
    history: tuple[int, ...]  # of the rate: heights 0..8 on a scale common to all FLOWs, newest last
    lsn: str
    lsn_behind: str  # records the confirmed position is behind the received one
    lag: str
    lag_records: str
    delivered: str
    delivered_bytes: str
    latency: str  # "4 / 18 ms"
    errors: int
    retries: int
    redirects: int
    stalled: str  # "socket not read for 12 s"
    tuned: bool  # its knobs differ from the engine's


def flow_view(
    flow: FlowSnapshot,
    glyphs: Glyphs = UNICODE,
    *,
    rates: Sequence[float] = (),
    top: float = 1.0,
    common: object = None,
) -> FlowView:
    """`rates` is the history of entries/s, `top` the top of its scale, `common` the engine's knobs."""
    knobs = flow.knobs
    channel = round(flow.channel_fill, 3)
    limiter = round(flow.limiter_fill, 3)
    batch = round(min(1.0, flow.open_batch_entries / max(1, knobs.batch_size)), 3)
    lsn = flow.lsn_received
    behind = lsn - flow.lsn_confirmed if lsn is not None and flow.lsn_confirmed is not None else None
    latency = fmt.NOTHING
    if flow.latency_p50_ms is not None:
        latency = f"{fmt.millis(flow.latency_p50_ms)} / {fmt.millis(flow.latency_p99_ms)}"
    return FlowView(
        flow=flow.flow,
        phase=flow.phase.value,
        short_phase=SHORT_PHASE[flow.phase],
        phase_glyph=glyphs.phase(flow.phase),
        stable=lsn is not None,
        glyph=glyphs.health(flow.health),
        word="ok" if flow.health is Health.HEALTHY else flow.health.value,
        role=HEALTH_ROLE[flow.health],
        reason=glyphs.plain(fmt.clean(flow.reason or flow.health_reason)),
        channel=channel,
        channel_role=grade(channel, CHANNEL),
        channel_percent=fmt.percent(channel),
        channel_entries=fmt.si(flow.channel_entries),
        channel_bytes=fmt.size(flow.channel_bytes),
        limiter=limiter,
        limiter_role=grade(limiter, LIMITER),
        limiter_text=f"{flow.in_flight}/{knobs.max_in_flight}",
        in_flight_bytes=fmt.size(flow.in_flight_bytes),
        batch=batch,
        batch_role=grade(flow.open_batch_wait, BATCH_WAIT),
        batch_text=_of(flow.open_batch_entries, knobs.batch_size),
        wait=fmt.span(flow.open_batch_wait),
        wait_role=grade(flow.open_batch_wait, BATCH_WAIT),
        ops=fmt.rate(flow.entries_per_s),
        octets=fmt.size_rate(flow.bytes_in_per_s),
        history=tuple(min(8, int(r / top * 8) + 1) if r > 0 else 0 for r in rates),
        lsn=fmt.count(lsn) if lsn is None or lsn < 1_000_000_000 else fmt.si(lsn),
        lsn_behind=fmt.count(behind),
        lag=fmt.lag(flow.lag_seconds),
        lag_records=fmt.si(flow.lag_records),
        delivered=fmt.si(flow.entries),
        delivered_bytes=fmt.size(flow.bytes_in),
        latency=latency,
        errors=flow.errors,
        retries=flow.retries,
        redirects=flow.redirects,
        stalled=f"socket not read for {fmt.span(flow.reader_stalled)}" if flow.reader_stalled >= 1 else "",
        tuned=common is not None and knobs != common,
    )


def _of(filled: int, of: int) -> str:
    """At most 11 cells: 1,204/2,000, or 19.9k/20.0k"""
    text = f"{filled:,}/{of:,}"
    return text if len(text) <= 11 else f"{fmt.si(filled)}/{fmt.si(of)}".replace(" ", "")


def history_text(history: Sequence[int], width: int, glyphs: Glyphs) -> str:
    """Heights 0..8 as characters, newest at the right."""
    steps = len(glyphs.spark)
    return "".join(
        " " if h == 0 else glyphs.spark[min(steps - 1, (h - 1) * steps // 8)] for h in history[-width:]
    ).rjust(width)


def panel_lines(view: FlowView, width: int, glyphs: Glyphs = UNICODE, *, selected: bool = False) -> tuple[Line, ...]:
    """A framed panel of `PANEL_ROWS` rows and `width` (at least 30) columns."""
    inner = width - 4
    figures = 13 if inner < 40 else 21
    gauge = max(4, inner - 8 - figures - 1)
    wide = figures > 13

    def gauge_row(label: str, ratio: float, role: str, text: str, text_role: str = "value") -> Line:
        return (
            Span(f"{label:<8}", "label"),
            *fmt.bar_spans(ratio, gauge, f"bar-{role}", glyphs),
            Span(f"{text:>{figures + 1}}", text_role),
        )

    channel = f"{view.channel_percent:>5}"
    channel += f" {view.channel_entries:>7}" + (f" {view.channel_bytes:>7}" if wide else "")
    limiter = f"{view.limiter_text:>13}" + (f" {view.in_flight_bytes:>7}" if wide else "")
    batch = f"{view.batch_text:>13}" + (f" {view.wait:>7}" if wide else "")
    flow_rate = f"{view.ops:>13}"
    if wide:
        flow_rate = f"{view.ops} {view.octets:>10}"
    rows = (
        gauge_row("channel", view.channel, view.channel_role, channel, _figure_role(view.channel_role)),
        gauge_row("limiter", view.limiter, view.limiter_role, limiter, _figure_role(view.limiter_role)),
        gauge_row("batch", view.batch, "batch", batch, _figure_role(view.wait_role)),
        (
            Span(f"{'rate':<8}", "label"),
            Span(history_text(view.history, gauge, glyphs), "spark"),
            Span(f"{flow_rate:>{figures + 1}}", "value"),
        ),
        _position(view, inner, show_wait=not wide),
    )
    return (
        _top_border(view, width, glyphs, selected),
        *(_framed(row, inner, view, glyphs, selected) for row in rows),
        _bottom_border(view, width, glyphs, selected),
    )


def _figure_role(role: str) -> str:
    return "value" if role == "ok" else role


def _position(view: FlowView, inner: int, show_wait: bool) -> Line:
    """LSN and lag in stable sync, what has been delivered before."""
    if view.stable:
        pieces: list[tuple[int, Line]] = [
            (1, (Span("lsn ", "label"), Span(f"{view.lsn:>11}", "value"))),
            (0, (Span("lag ", "label"), Span(f"{view.lag:>6}", "value"))),
        ]
        if not show_wait:
            pieces.append((3, (Span("latency ", "label"), Span(f"{view.latency}", "value"))))
    else:
        pieces = [
            (0, (Span("delivered ", "label"), Span(f"{view.delivered:>6}", "value"))),
            (1, (Span(f"{view.delivered_bytes:>7}", "value"),)),
        ]
    if show_wait:
        pieces.append((2, (Span("wait ", "label"), Span(f"{view.wait:>6}", _figure_role(view.wait_role)))))
    return fmt.arrange(pieces, inner, "  ")


def _border(view: FlowView, selected: bool) -> str:
    return "border-focus" if selected else "border" if view.role == "ok" else f"border-{view.role}"


def _edge(glyphs: Glyphs, selected: bool) -> tuple[str, str, str]:
    if selected:
        return glyphs.heavy_corners, glyphs.heavy_horizontal, glyphs.heavy_vertical
    return glyphs.corners, glyphs.horizontal, glyphs.vertical


def _framed(row: Line, inner: int, view: FlowView, glyphs: Glyphs, selected: bool) -> Line:
    side = _edge(glyphs, selected)[2]
    role = _border(view, selected)
    return (Span(f"{side} ", role), *fmt.clip(row, inner), Span(f" {side}", role))


def _top_border(view: FlowView, width: int, glyphs: Glyphs, selected: bool) -> Line:
    corners, horizontal, _ = _edge(glyphs, selected)
    role = _border(view, selected)
    title = f" FLOW {view.flow} "
    tuned = "tuned " if view.tuned and width >= 44 else ""
    state = f" {view.glyph} {view.word} "
    phase = f" {view.short_phase if width < 44 else view.phase} "
    fill = width - 4 - len(title) - len(tuned) - len(phase) - len(state)
    if fill < 0:  # the health matters more
        phase, fill = "", fill + len(phase)
    return (
        Span(corners[0] + horizontal, role),
        Span(title, "title"),
        Span(tuned, "accent"),
        Span(horizontal * max(0, fill), role),
        Span(phase, "dim"),
        Span(state, view.role),
        Span(horizontal + corners[1], role),
    )


def _bottom_border(view: FlowView, width: int, glyphs: Glyphs, selected: bool) -> Line:
    corners, horizontal, _ = _edge(glyphs, selected)
    role = _border(view, selected)
    room = width - 4
    trouble = trouble_text(view, glyphs)
    right = f" {trouble} " if trouble and len(trouble) + 2 < room else ""
    left = f" {fmt.fit(view.stalled or view.reason, room - len(right) - 3, glyphs).rstrip()} "
    left = left if left.strip() else ""
    return (
        Span(corners[2] + horizontal, role),
        Span(left, view.role if view.role != "ok" else "dim"),
        Span(horizontal * max(0, room - cell_len(left) - len(right)), role),
        Span(right, "crit" if view.errors else "warn"),
        Span(horizontal + corners[3], role),
    )


def trouble_text(view: FlowView, glyphs: Glyphs) -> str:
    """3 errors · 12 retries, "" when there were none."""
    parts = [
        f"{fmt.si(n)} {one if n == 1 else many}"
        for n, one, many in (
            (view.errors, "error", "errors"),
            (view.retries, "retry", "retries"),
            (view.redirects, "redirect", "redirects"),
        )
        if n
    ]
    return f" {glyphs.dot} ".join(parts[:2])


def flow_words(view: FlowView) -> str:
    """The facts of a FLOW in one plain line, for a log or a copy."""
    where = f"lsn {view.lsn} lag {view.lag}" if view.stable else f"delivered {view.delivered}"
    return (
        f"FLOW {view.flow} {view.phase}: channel {view.channel_percent} ({view.channel_entries} entries, "
        f"{view.channel_bytes}), limiter {view.limiter_text}, batch {view.batch_text} waiting {view.wait}, "
        f"{view.ops}, {where}, errors {view.errors}, {view.word}" + (f" ({view.reason})" if view.reason else "")
    )
