"""Whole pages as lines: the target, one FLOW in detail, the report."""

from __future__ import annotations

from collections.abc import Sequence

from df2redis_tui.telemetry import format as fmt
from df2redis_tui.telemetry.chart import chart_lines, heading
from df2redis_tui.telemetry.format import Line, Span
from df2redis_tui.telemetry.glyphs import Glyphs
from df2redis_tui.telemetry.health import CHANNEL, LIMITER
from df2redis_tui.telemetry.report import Report
from df2redis_tui.telemetry.snapshot import EngineSnapshot, FlowSnapshot, Phase, Verdict
from df2redis_tui.telemetry.view import KNOB_LABEL, knob_changed, knob_text, node_views
from df2redis_tui.telemetry.view_flow import flow_view, grade, trouble_text

BLANK: Line = (Span(" "),)

_VERDICT_ROLE = {
    Verdict.COMPLETE: "ok",
    Verdict.FAILED: "crit",
    Verdict.UNCONFIRMED: "crit",
    Verdict.RUNNING: "strong",
}


def fact(label: str, text: str, role: str = "value", cells: int = 18) -> Line:
    """A label and its text, in a fixed column."""
    return (Span(f"   {label:<{cells}}", "label"), Span(text, role))


def beside(left: Sequence[Line], right: Sequence[Line], width: int) -> list[Line]:
    """Two blocks in two columns of half the width."""
    half = width // 2
    rows = max(len(left), len(right))
    pad: Line = ()
    return [
        (
            *fmt.clip(left[i] if i < len(left) else pad, half),
            *fmt.clip(right[i] if i < len(right) else pad, width - half),
        )
        for i in range(rows)
    ]


def columns(left: Sequence[Line], right: Sequence[Line], width: int) -> list[Line]:
    """Beside each other where there is room, else one after the other."""
    return beside(left, right, width) if width >= 100 else [*left, BLANK, *right]


def target_lines(snap: EngineSnapshot, width: int, glyphs: Glyphs) -> list[Line]:
    """Who the target is, its nodes, what it can do."""
    half = width // 2 if width >= 100 else width
    t, s = snap.target, snap.source
    left = [
        heading("Source", half, glyphs),
        fact("address", fmt.clean(s.address)),
        fact("version", fmt.clean(f"Dragonfly {s.version.removeprefix('df-')}")),
        fact("FLOWs", str(s.flows)),
        fact("keys at the start", f"~{fmt.count(s.keys)}" if s.keys is not None else fmt.NOTHING),
        fact("master id", fmt.clean(s.master_id)),
        fact("link", glyphs.plain(fmt.clean(s.link)), "ok" if s.connected else "crit"),
    ]
    right = [
        heading("Target", half, glyphs),
        fact("address", fmt.clean(t.address)),
        fact("version", fmt.clean(f"{t.product} {t.version}")),
        fact("kind", f"cluster, {fmt.plural(len(snap.nodes), 'node')}" if t.cluster else "standalone"),
        fact("held before", fmt.count(t.existing_keys) + " keys" if t.existing_keys is not None else fmt.NOTHING),
        fact("modules", fmt.clean(", ".join(t.modules)) or "none"),
        fact("link", glyphs.plain(fmt.clean(t.link)), "ok" if t.link == "connected" else "value"),
    ]
    out = [*columns(left, right, width), BLANK, heading("Nodes", width, glyphs)]
    out += _nodes(snap, width, glyphs)
    out += [BLANK, heading("What it can do", width, glyphs)]
    wide = max([len(what) for what, _ in t.capabilities], default=10) + 2
    for what, answer in t.capabilities:
        word = fmt.clean(answer)
        role = "warn" if word.startswith("no") else "ok" if word.startswith("yes") else "value"
        mark = glyphs.warning if role == "warn" else glyphs.healthy if role == "ok" else glyphs.dot
        out.append(
            (Span(f"   {mark} ", role), Span(f"{fmt.clean(what):<{wide}}", "label"), Span(glyphs.plain(word), "value"))
        )
    return out


def _nodes(snap: EngineSnapshot, width: int, glyphs: Glyphs) -> list[Line]:
    """A table of the nodes; version, entries and errors need 100 columns."""
    views = node_views(snap.nodes, glyphs)
    name = min(40 if width >= 100 else 24, max([len(v.name) for v in views], default=10))
    wide = width >= 100

    def row(
        node: str, version: str, share: str, ops: str, ms: str, entries: str, slots: str, memory: str, errors: str
    ) -> str:
        some = f"{fmt.fit(version, 20, glyphs)} " if wide else ""
        more = f"{entries:>9}" if wide else ""
        return f"{fmt.fit(node, name, glyphs)} {some}{share:>6} {ops:>9} {ms:>7}{more} {slots:>7}  {memory:<18}" + (
            f" {errors:>6}" if wide else ""
        )

    titles = row("node", "version", "share", "op/s", "ms", "entries", "slots", "memory", "errors")
    out: list[Line] = [(Span(f"     {titles}", "header"),)]
    for v in views:
        figures = row(v.name, v.version, fmt.percent(v.share), v.ops, v.latency, v.entries, v.slots, v.memory, v.errors)
        out.append((Span(f"   {v.glyph} ", v.role), Span(figures, "value")))
        if v.detail:
            out.append((Span(f"     {v.detail}", "dim"),))
    return out


def detail_lines(
    snap: EngineSnapshot, flow: FlowSnapshot, rates: Sequence[float], width: int, glyphs: Glyphs, chart_rows: int = 6
) -> list[Line]:
    """Everything about one FLOW."""
    v = flow_view(flow, glyphs, common=snap.knobs)
    k = flow.knobs
    half = width // 2 if width >= 100 else width
    state = f"{v.glyph} {v.word}" + (f": {v.reason}" if v.reason else "")
    title = heading(f"FLOW {flow.flow}", width, glyphs, f"{v.phase_glyph} {v.phase} {glyphs.dot} {state}", v.role)
    gauge = max(6, min(30, half - 52))

    def gauge_fact(label: str, ratio: float, role: str, text: str) -> Line:
        return (
            Span(f"   {label:<12}", "label"),
            *fmt.bar_spans(ratio, gauge, f"bar-{role}", glyphs),
            Span(f" {text}", "value" if role in ("ok", "batch") else role),
        )

    channel = grade(v.channel, CHANNEL)
    left = [
        heading("Pipeline", half, glyphs),
        gauge_fact(
            "channel", v.channel, channel, f"{v.channel_percent:>5}  {v.channel_entries} entries, {v.channel_bytes}"
        ),
        gauge_fact(
            "limiter",
            v.limiter,
            grade(v.limiter, LIMITER),
            f"{fmt.percent(v.limiter):>5}  {v.limiter_text} batches, {v.in_flight_bytes}",
        ),
        gauge_fact("open batch", v.batch, "batch", f"{fmt.percent(v.batch):>5}  {v.batch_text}, waiting {v.wait}"),
        fact("socket", v.stalled or "is read", "crit" if v.stalled else "value", 12),
        fact("trouble", trouble_text(v, glyphs) or "none", "crit" if flow.errors else "value", 12),
        fact("spooled", fmt.size(flow.spool_bytes), cells=12) if flow.spool_bytes else fact("state", state, v.role, 12),
    ]
    right = [
        heading("Position", half, glyphs),
        fact("received", f"{fmt.count(flow.lsn_received):>16}  next LSN"),
        fact("confirmed", f"{fmt.count(flow.lsn_confirmed):>16}  {v.lsn_behind} behind"),
        fact("acknowledged", f"{fmt.count(flow.lsn_acked):>16}"),
        fact("source says", f"{fmt.count(flow.lsn_source):>16}"),
        fact("lag", f"{v.lag:>16}  {fmt.count(flow.lag_records)} records"),
        fact("latency", f"{v.latency:>16}  p50 / p99"),
    ]
    flowed = [
        heading("Delivered", half, glyphs),
        fact("entries", f"{fmt.count(flow.entries):>18}  {v.ops}"),
        fact("commands", f"{fmt.count(flow.commands):>18}"),
        fact("read", f"{fmt.size(flow.bytes_in):>18}  {v.octets}"),
        fact("written", f"{fmt.size(flow.bytes_out):>18}"),
        fact("batches", f"{fmt.count(flow.batches):>18}"),
        *(fact("in flight at", f"{fmt.clean(node)}  {number}") for node, number in flow.node_in_flight[:4]),
    ]
    knobs = [heading("Knobs", half, glyphs)]
    for knob, label in KNOB_LABEL.items():
        changed = knob_changed(snap, knob, flow.flow)
        text = f"{knob_text(knob, getattr(k, knob)):>14}"
        if changed:
            text += f"  configured {knob_text(knob, getattr(snap.configured, knob))}"
        knobs.append(fact(label, text, "changed" if changed else "value"))
    out = [title]
    if chart_rows > 2:
        out += [*chart_lines(rates, width, chart_rows, glyphs, title="Entries per second"), BLANK]
    return [*out, *columns(left, right, width), BLANK, *columns(flowed, knobs, width)]


def _missing_role(report: Report) -> str:
    if report.verdict is Verdict.RUNNING:
        return "crit" if report.dead_letters else "value"
    return "ok" if report.verdict is Verdict.COMPLETE else "crit"


def report_lines(
    snap: EngineSnapshot, rates: Sequence[float], width: int, glyphs: Glyphs, chart_rows: int = 8
) -> list[Line]:
    """What has been copied, how long it took, what could not be, what to do next."""
    report = Report.of(snap)
    role = _VERDICT_ROLE.get(report.verdict, "warn")
    mark = {Verdict.COMPLETE: glyphs.done, Verdict.FAILED: glyphs.failed, Verdict.RUNNING: glyphs.running}.get(
        report.verdict, glyphs.warning
    )
    out: list[Line] = [BLANK, (Span(f"  {mark} ", role), Span(report.headline(), role)), BLANK]
    for label, text in (("why", report.failure), ("next", report.hint)):
        if text:
            out.append(fact(label, glyphs.plain(text), "crit" if label == "why" else "strong"))
    if len(out) > 3:
        out.append(BLANK)
    half = width // 2 if width >= 100 else width
    copied = [heading("Copied", half, glyphs), fact("keys", f"{fmt.count(report.keys_copied):>14}", "strong")]
    most = max((n for _, n in report.keys_by_type), default=0)
    for kind, number in report.keys_by_type:
        gauge = fmt.bar_spans(number / most if most else 0, max(6, min(24, half - 40)), "bar-node", glyphs)
        copied.append((Span(f"   {fmt.clean(kind):<18}", "label"), Span(f"{fmt.count(number):>14} ", "value"), *gauge))
    copied += [
        fact("entries", f"{fmt.count(report.entries):>14}  {fmt.rate(report.entries_per_second)} mean"),
        fact("read", f"{fmt.size(report.bytes_in):>14}  {fmt.size_rate(snap.totals.bytes_in_per_s)} now"),
        fact("written", f"{fmt.size(report.bytes_out):>14}  {fmt.size_rate(snap.totals.bytes_out_per_s)} now"),
        fact("batches", f"{fmt.count(report.batches):>14}"),
    ]
    took = [heading("Time and trouble", half, glyphs, f"{snap.phase.value} since {fmt.clock(snap.phase_since)}")]
    longest = max((s for _, s in report.phase_seconds), default=0.0)
    for name, seconds in report.phase_seconds:
        gauge = fmt.bar_spans(seconds / longest if longest else 0, max(6, min(24, half - 40)), "bar-progress", glyphs)
        took.append((Span(f"   {name:<18}", "label"), Span(f"{fmt.duration(seconds):>14} ", "value"), *gauge))
    took += [
        fact("retries", f"{fmt.count(report.retries):>14}"),
        fact("redirects", f"{fmt.count(report.redirects):>14}"),
        fact("error replies", f"{fmt.count(report.errors):>14}", "crit" if report.errors else "value"),
        fact("read again", f"{fmt.count(report.rereads):>14}"),
        fact("not copied", glyphs.plain(f"{report.not_copied:>14}"), _missing_role(report)),
        fact("memory", f"{fmt.size(snap.rss_bytes):>14}  most {fmt.size(report.peak_rss_bytes)}"),
    ]
    out += columns(copied, took, width)
    if any(rates) and chart_rows > 2:
        out += [BLANK, *chart_lines(rates, width, chart_rows, glyphs, title="Entries per second")]
    out += [BLANK, heading("Files", width, glyphs), fact("log", report.log_file)]
    if snap.spool_limit:
        out.append(fact("spool", f"{fmt.size(snap.spool_bytes)} of {fmt.size(snap.spool_limit)}"))
    if snap.checkpoint:
        out.append(fact("checkpoint", glyphs.plain(fmt.clean(snap.checkpoint))))
    out += [fact(fmt.clean(k), glyphs.plain(fmt.clean(v))) for k, v in snap.extra]
    if snap.phase is Phase.STABLE_SYNC and snap.ready_to_cut_over:
        out.append(
            fact("cut over", "lag is 0: stop the writers, wait for lag 0 again, point them to the target", "ready")
        )
    return out
