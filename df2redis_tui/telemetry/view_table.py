"""FLOWs as rows: which columns fit a width, how each is drawn and sorted."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from df2redis_tui.telemetry import format as fmt
from df2redis_tui.telemetry.format import Line, Span
from df2redis_tui.telemetry.glyphs import UNICODE, Glyphs
from df2redis_tui.telemetry.snapshot import FlowSnapshot, Health
from df2redis_tui.telemetry.view_flow import FlowView, history_text, trouble_text

_SEVERITY = {Health.HEALTHY: 0, Health.WARNING: 1, Health.CRITICAL: 2}


@dataclass(frozen=True, slots=True)
class Column:
    """`least` is the terminal width from which the column is there; `stretch` its share of what is left over."""

    id: str
    title: str
    width: int
    draw: Callable[[FlowView, int, Glyphs], Line]
    key: Callable[[FlowSnapshot], Any]
    least: int = 0
    right: bool = False
    stretch: int = 0


def _plain(pick: Callable[[FlowView], str], role: Callable[[FlowView], str] | str = "value") -> Any:
    def draw(view: FlowView, width: int, glyphs: Glyphs) -> Line:
        return (Span(f"{pick(view):>{width}}", role if isinstance(role, str) else role(view)),)

    return draw


def _channel(view: FlowView, width: int, glyphs: Glyphs) -> Line:
    percent = f"{view.channel_percent:>6}"
    return (
        *fmt.bar_spans(view.channel, width - 6, f"bar-{view.channel_role}", glyphs),
        Span(percent, "value" if view.channel_role == "ok" else view.channel_role),
    )


def _limiter(view: FlowView, width: int, glyphs: Glyphs) -> Line:
    role = "value" if view.limiter_role == "ok" else view.limiter_role
    if width < 14:
        return (Span(f"{view.limiter_text:>{width}}", role),)
    return (
        *fmt.bar_spans(view.limiter, width - 9, f"bar-{view.limiter_role}", glyphs),
        Span(f"{view.limiter_text:>9}", role),
    )


def _batch(view: FlowView, width: int, glyphs: Glyphs) -> Line:
    return (Span(f"{view.batch_text:>{width}}", "value"),)


def _history(view: FlowView, width: int, glyphs: Glyphs) -> Line:
    return (Span(history_text(view.history, width, glyphs), "spark"),)


def _state(view: FlowView, width: int, glyphs: Glyphs) -> Line:
    words = " ".join(p for p in (view.reason or view.word, view.stalled, trouble_text(view, glyphs)) if p)
    if len(words) > width - 2:
        words = re.split(r" (?:≥|>=|>) ", view.reason or view.word)[0]
    return (Span(f"{view.glyph} ", view.role), Span(fmt.fit(words, max(0, width - 2), glyphs), view.role))


def _none_last(value: float | None) -> float:
    return -1.0 if value is None else value


COLUMNS: tuple[Column, ...] = (
    Column("flow", "F", 2, _plain(lambda v: str(v.flow), "title"), lambda f: f.flow, right=True),
    Column("phase", "phase", 7, lambda v, w, g: (Span(fmt.fit(v.short_phase, w, g), "dim"),), lambda f: f.phase.value),
    Column("channel", "channel", 12, _channel, lambda f: f.channel_fill, stretch=3),
    Column("entries", "entries", 7, _plain(lambda v: v.channel_entries), lambda f: f.channel_entries, 140, True),
    Column("bytes", "bytes", 7, _plain(lambda v: v.channel_bytes), lambda f: f.channel_bytes, 120, True),
    Column("limiter", "limiter", 7, _limiter, lambda f: f.limiter_fill, right=True, stretch=2),
    Column("batch", "batch", 11, _batch, lambda f: f.open_batch_entries, right=True),
    Column(
        "wait",
        "wait",
        6,
        _plain(lambda v: v.wait, lambda v: "value" if v.wait_role == "ok" else v.wait_role),
        lambda f: f.open_batch_wait,
        0,
        True,
    ),
    Column("rate", "op/s", 6, _plain(lambda v: v.ops.removesuffix("/s")), lambda f: f.entries_per_s, 0, True),
    Column("history", "history", 10, _history, lambda f: f.entries_per_s, 110, stretch=2),
    Column("octets", "MB/s", 9, _plain(lambda v: v.octets), lambda f: f.bytes_in_per_s, 150, True),
    Column("delivered", "entries", 7, _plain(lambda v: v.delivered), lambda f: f.entries, 130, True),
    Column("latency", "p50 / p99", 16, _plain(lambda v: v.latency), lambda f: _none_last(f.latency_p99_ms), 170, True),
    Column("lsn", "lsn", 11, _plain(lambda v: v.lsn), lambda f: _none_last(f.lsn_received), 135, True),
    Column("lag", "lag", 6, _plain(lambda v: v.lag), lambda f: _none_last(f.lag_seconds), 0, True),
    Column("state", "state", 14, _state, lambda f: (_SEVERITY[f.health], f.errors), stretch=4),
)

SORTABLE = ("flow", "channel", "limiter", "batch", "wait", "rate", "lag", "state")


def visible_columns(width: int) -> tuple[tuple[Column, int], ...]:
    """(column, cells) which together fill `width`, with one blank between two columns and one at each end."""
    columns = [c for c in COLUMNS if c.least <= width]
    left = width - 2 - sum(c.width for c in columns) - (len(columns) - 1)
    shares = sum(c.stretch for c in columns)
    widths = {c.id: c.width + (max(0, left) * c.stretch // shares if shares else 0) for c in columns}
    widths["state"] += max(0, left) - sum(widths[c.id] - c.width for c in columns)
    return tuple((c, widths[c.id]) for c in columns)


def header_line(
    columns: Sequence[tuple[Column, int]],
    width: int,
    sort: str = "flow",
    descending: bool = False,
    glyphs: Glyphs = UNICODE,
) -> Line:
    """Column titles; the sorted one carries an arrow."""
    line: list[Span] = [Span(" ", "header")]
    for column, cells in columns:
        title = column.title
        sorted_by = column.id == sort
        if sorted_by and len(title) < cells:
            title += glyphs.down if descending else glyphs.up
        text = f"{title:>{cells}}" if column.right else f"{title:<{cells}}"
        line.append(Span(text[:cells], "header-sorted" if sorted_by else "header"))
        line.append(Span(" ", "header"))
    return fmt.clip(tuple(line), width, "header")


def row_line(
    view: FlowView,
    columns: Sequence[tuple[Column, int]],
    width: int,
    glyphs: Glyphs = UNICODE,
    *,
    selected: bool = False,
) -> Line:
    """One FLOW; the selected one has a cursor before it and its number stands out."""
    line: list[Span] = [Span(glyphs.cursor if selected else " ", "cursor")]
    for index, (column, cells) in enumerate(columns):
        if index:
            line.append(Span(" "))
        line.extend(column.draw(view, cells, glyphs))
    return fmt.clip(tuple(line), width)


def sorted_flows(flows: Sequence[FlowSnapshot], sort: str, descending: bool) -> list[FlowSnapshot]:
    """By one column, then by number; stable, so that equal rows don't swap."""
    column = next(c for c in COLUMNS if c.id == sort)
    by_number = sorted(flows, key=lambda f: f.flow)
    return sorted(by_number, key=column.key, reverse=descending)
