"""The compact live status of the headless front end: the status line and one row per FLOW, as a rich text."""

from __future__ import annotations

from rich.text import Text

from df2redis_tui.telemetry.format import Line, Span
from df2redis_tui.telemetry.glyphs import UNICODE, Glyphs
from df2redis_tui.telemetry.snapshot import EngineSnapshot
from df2redis_tui.telemetry.view_flow import flow_view
from df2redis_tui.telemetry.view_status import status_lines, status_view
from df2redis_tui.telemetry.view_table import header_line, row_line, visible_columns

# Roles as colours of the terminal's own palette; what isn't here is plain.
STYLES = {
    "ok": "green",
    "warn": "yellow",
    "crit": "bold red",
    "bar-ok": "green",
    "bar-warn": "yellow",
    "bar-crit": "red",
    "bar-batch": "blue",
    "bar-progress": "cyan",
    "track": "dim",
    "dim": "dim",
    "label": "dim",
    "header": "dim",
    "strong": "bold",
    "accent": "cyan",
    "phase-wait": "bold",
    "phase-full": "bold cyan",
    "phase-stable": "bold green",
    "phase-paused": "bold yellow",
    "phase-failed": "bold red",
    "ready": "bold green",
}


def as_text(line: Line) -> Text:
    """A line in the terminal's own colours."""
    text = Text(no_wrap=True, end="")
    for piece in line:
        text.append(piece.text, STYLES.get(piece.role, ""))
    return text


def live_text(snap: EngineSnapshot, width: int, height: int, glyphs: Glyphs = UNICODE) -> Text:
    """At most `height` lines of `width` cells."""
    lines = list(status_lines(status_view(snap, glyphs), width, glyphs))
    if snap.flows and height > 3:
        columns = visible_columns(width)
        lines.append(header_line(columns, width, glyphs=glyphs))
        room = height - len(lines)
        lines.extend(row_line(flow_view(f, glyphs), columns, width, glyphs) for f in snap.flows[:room])
    shown = [tuple(Span(glyphs.only(text), role) for text, role in line) for line in lines[:height]]
    return Text("\n").join(as_text(line) for line in shown)
