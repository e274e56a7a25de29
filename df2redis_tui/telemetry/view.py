"""Everything else a front end shows: target nodes, flushes, events, knobs; lines of spans made from the snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from df2redis_tui.telemetry import format as fmt
from df2redis_tui.telemetry.format import Line, Span
from df2redis_tui.telemetry.glyphs import UNICODE, Glyphs
from df2redis_tui.telemetry.snapshot import BatchRecord, EngineSnapshot, EventRecord, Knobs, NodeSnapshot

SLOW_MS = 100.0  # a flush is called slow from here on

KNOB_LABEL = {
    "batch_size": "batch size",
    "max_in_flight": "in flight",
    "flush_interval": "flush interval",
    "adaptive_flush": "adaptive flush",
    "channel_entries": "channel entries",
    "channel_bytes": "channel bytes",
    "rate_limit": "rate limit",
}

LEVEL_ROLE = {"info": "dim", "warning": "warn", "error": "crit"}


def knob_text(knob: str, value: float) -> str:
    """A knob's value with its unit: 2,000; 50 ms; 64.0 MB; on; none."""
    if knob == "flush_interval":
        return fmt.span(value)
    if knob == "adaptive_flush":
        return "on" if value else "off"
    if knob == "channel_bytes":
        return fmt.size(value)
    if knob == "rate_limit":
        return fmt.rate(value) if value else "none"
    return fmt.count(value)


@dataclass(frozen=True, slots=True)
class NodeView:
    name: str
    glyph: str
    role: str
    word: str
    share: float  # 0..1 of all nodes' rate
    ops: str
    latency: str
    in_flight: str
    entries: str
    slots: str
    memory: str
    memory_fill: float | None
    version: str
    detail: str
    errors: str


def node_views(nodes: Sequence[NodeSnapshot], glyphs: Glyphs = UNICODE) -> tuple[NodeView, ...]:
    """In the order of the snapshot; shares are of the rate of all nodes together."""
    total = sum(n.entries_per_s for n in nodes)
    return tuple(_node(n, total, glyphs) for n in nodes)


def _node(node: NodeSnapshot, total: float, glyphs: Glyphs) -> NodeView:
    memory = fmt.size(node.used_memory)
    fill = None
    if node.max_memory and node.used_memory is not None:
        memory = f"{memory} of {fmt.size(node.max_memory)}"
        fill = round(node.used_memory / node.max_memory, 3)
    full = fill is not None and fill > 0.9
    role = "crit" if not node.connected else "warn" if full or node.detail else "ok"
    return NodeView(
        name=fmt.clean(node.name),
        glyph={"ok": glyphs.healthy, "warn": glyphs.warning, "crit": glyphs.critical}[role],
        role=role,
        word="down" if not node.connected else "memory" if full else "silent" if node.detail else "up",
        share=round(node.entries_per_s / total, 2) if total > 0 else 0.0,
        ops=fmt.rate(node.entries_per_s),
        latency=fmt.millis(node.latency_ms),
        in_flight=fmt.count(node.in_flight),
        entries=fmt.si(node.entries),
        slots=fmt.count(node.slots),
        memory=memory,
        memory_fill=fill,
        version=fmt.clean(f"{node.version} {node.role}".strip()),
        detail=glyphs.plain(fmt.clean(node.detail)),
        errors=fmt.count(node.errors),
    )


def node_lines(views: Sequence[NodeView], width: int, rows: int, glyphs: Glyphs = UNICODE) -> tuple[Line, ...]:
    """Nodes beside each other in at most `rows` lines; the last says how many have no room."""
    if not views or rows < 1:
        return ()
    name = min(32, max(len(v.name) for v in views))
    bare = 2 + name + 1 + 5 + 1 + 8 + 1 + 6 + 2  # without a gauge
    per_row, gauge = max(1, min(len(views), (width - 1) // (bare + 9))), 8
    if per_row * rows < len(views):
        per_row, gauge = max(1, min(len(views), (width - 1) // bare)), 0
    if gauge:
        gauge = min(24, (width - 1) // per_row - bare - 1)
    shown = list(views[: per_row * rows])
    more = len(views) - len(shown)
    lines = []
    for start in range(0, len(shown), per_row):
        line: list[Span] = [Span(" ")]
        for v in shown[start : start + per_row]:
            line.append(Span(f"{v.glyph} ", v.role))
            line.append(Span(fmt.fit(v.name, name, glyphs) + " ", "value" if v.role == "ok" else v.role))
            if gauge:
                line += [*fmt.bar_spans(v.share, gauge, "bar-node", glyphs), Span(" ")]
            line.append(Span(f"{fmt.percent(v.share):>5} {v.ops:>8} {v.latency:>6}  ", "value"))
        lines.append(fmt.clip(tuple(line), width))
    if more:
        note = Span(f" +{more} ", "accent")
        lines[-1] = (*fmt.clip(lines[-1], width - len(note.text)), note)
    return tuple(lines)


def totals_line(snap: EngineSnapshot, width: int) -> Line:
    """What has gone through all FLOWs together, most important first."""
    t = snap.totals
    figures = (
        (0, "entries", fmt.si(t.entries), 6, "value"),
        (3, "commands", fmt.si(t.commands), 6, "value"),
        (1, "read", fmt.size(t.bytes_in), 7, "value"),
        (2, "written", fmt.size(t.bytes_out), 7, "value"),
        (5, "batches", fmt.si(t.batches), 6, "value"),
        (4, "retries", fmt.si(t.retries), 5, "warn" if t.retries else "value"),
        (6, "redirects", fmt.si(t.redirects), 5, "value"),
        (7, "memory", fmt.size(snap.rss_bytes), 7, "value"),
    )
    pieces: list[tuple[int, Line]] = [(0, (Span(" Totals", "heading"),))]
    pieces += [
        (n, (Span(f"{label} ", "label"), Span(f"{text:>{cells}}", role))) for n, label, text, cells, role in figures
    ]
    return fmt.arrange(pieces, width, "  ")


def batch_line(record: BatchRecord, width: int, glyphs: Glyphs = UNICODE) -> Line:
    """One flush: time, FLOW, number, entries, bytes, nodes, ms, result."""
    slow = record.ms >= SLOW_MS
    role = "crit" if record.failed else "value"
    nodes = f"{record.nodes} node{'s' if record.nodes != 1 else ' '}"
    mark = glyphs.critical if record.failed else glyphs.warning if slow else " "
    head = (
        Span(f" {fmt.clock(record.at, millis=width >= 96)} ", "dim"),
        Span(f" F{record.flow:<3}", "accent"),
        Span(f"#{fmt.count(record.batch):<9}", role),
        Span(f"{fmt.count(record.entries):>9}", role),
        Span(" entries  " if width >= 96 else " ent  ", "label"),
        Span(f"{fmt.size(record.bytes):>7}  ", role),
        *((Span(f"{nodes:>9}  ", "value"),) if width >= 96 else ()),
        Span(f"{fmt.millis(record.ms):>7} ", "warn" if slow else role),
        Span(f"{mark} ", "crit" if record.failed else "warn"),
    )
    used = fmt.line_width(head)
    result = fmt.fit(glyphs.plain(fmt.clean(record.result)), max(0, width - used), glyphs)
    return fmt.clip(
        (*head, Span(result, "crit" if record.failed else "ok" if record.result == "ok" else "warn")), width
    )


def batch_words(record: BatchRecord) -> str:
    """The same facts in one plain line."""
    return (
        f"{fmt.clock(record.at, millis=True)} flow={record.flow} batch={record.batch} entries={record.entries} "
        f"bytes={record.bytes} nodes={record.nodes} ms={record.ms:.1f} result={fmt.clean(record.result)}"
    )


def event_line(event: EventRecord, width: int, glyphs: Glyphs = UNICODE) -> Line:
    """One event: time, level, kind, FLOW, text."""
    role = LEVEL_ROLE.get(event.level, "value")
    mark = {"error": glyphs.critical, "warning": glyphs.warning}.get(event.level, glyphs.dot)
    flow = f"F{event.flow}" if event.flow is not None else ""
    head = (
        Span(f" {fmt.clock(event.at)} ", "dim"),
        Span(f" {mark} ", role),
        Span(f"{fmt.fit(fmt.clean(event.kind), 13, glyphs)}", role),
        Span(f"{flow:<5}", "accent"),
    )
    text = glyphs.plain(fmt.clean(event.text))
    return fmt.clip((*head, Span(fmt.fit(text, max(0, width - fmt.line_width(head)), glyphs), "value")), width)


def event_words(event: EventRecord) -> str:
    """The same facts in one plain line."""
    flow = f" flow={event.flow}" if event.flow is not None else ""
    return f"{fmt.clock(event.at)} {event.level} {fmt.clean(event.kind)}{flow} {fmt.clean(event.text)}"


def knobs_of(snap: EngineSnapshot, flow: int | None) -> Knobs:
    """The knobs in force for one FLOW, or the engine's."""
    if flow is not None:
        for f in snap.flows:
            if f.flow == flow:
                return f.knobs
    return snap.knobs


def knob_changed(snap: EngineSnapshot, knob: str, flow: int | None) -> bool:
    """Whether a knob differs from what the configuration said."""
    return bool(getattr(knobs_of(snap, flow), knob) != getattr(snap.configured, knob))


def tune_line(snap: EngineSnapshot, scope: int | None, width: int, note: str = "", glyphs: Glyphs = UNICODE) -> Line:
    """Every knob in force for `scope`, those changed since the start standing out; `note` is the last change."""
    knobs = knobs_of(snap, scope)
    short = {
        "batch_size": "batch",
        "max_in_flight": "in flight",
        "flush_interval": "flush",
        "rate_limit": "rate",
        "channel_entries": "channel",
        "adaptive_flush": "adaptive",
    }
    order = {
        "batch_size": 1,
        "max_in_flight": 2,
        "flush_interval": 3,
        "channel_entries": 5,
        "rate_limit": 4,
        "adaptive_flush": 6,
    }
    where = "all FLOWs" if scope is None else f"FLOW {scope} only"
    pieces: list[tuple[int, Line]] = [(0, (Span(f" {where} ", "scope-all" if scope is None else "scope-one"),))]
    for knob, label in short.items():
        value = getattr(knobs, knob)
        text = fmt.si(value) if knob == "channel_entries" else knob_text(knob, value)
        changed = value != getattr(snap.configured, knob)
        pieces.append((order[knob], (Span(f"{label} ", "label"), Span(text, "changed" if changed else "value"))))
    room = width
    tail: Line = ()
    if note:
        text = fmt.fit(glyphs.plain(note), min(len(note), max(20, width // 2)), glyphs).rstrip()
        tail = (Span(f"  {text} ", "accent"),)
    return fmt.arrange(pieces, room, "  ", tail)
