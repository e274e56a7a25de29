"""A chart of a rate over time in text cells, on a fixed scale that starts at zero."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from df2redis_tui.telemetry import format as fmt
from df2redis_tui.telemetry.format import Line, Span
from df2redis_tui.telemetry.glyphs import Glyphs


def condense(values: Sequence[float], width: int) -> list[float]:
    """At most `width` points: the mean of each stretch of time, so that a whole run fits."""
    if len(values) <= width:
        return list(values)
    return [
        sum(part) / len(part)
        for part in (values[i * len(values) // width : (i + 1) * len(values) // width] for i in range(width))
    ]


def chart_lines(
    values: Sequence[float], width: int, height: int, glyphs: Glyphs, *, title: str, role: str = "spark"
) -> list[Line]:
    """A title line, then `height - 1` rows with the scale at the left; the newest value is at the right."""
    rows = height - 1
    axis = 10
    room = max(4, width - axis - 2)
    points = condense(values, room)
    top = fmt.scale_top(points)
    steps = len(glyphs.spark)
    now = fmt.rate(values[-1]) if values else fmt.NOTHING
    most = fmt.rate(max(values)) if values else fmt.NOTHING
    lines = [heading(title, width, glyphs, f"now {now:>8}  highest {most:>8}")]
    for row in range(rows):
        floor = rows - 1 - row  # rows below this one
        label = fmt.rate(top) if row == 0 else fmt.rate(top / 2) if rows > 4 and floor == rows // 2 - 1 else ""
        label = "0" if floor == 0 and rows > 1 else label
        line = [Span(f" {label:>{axis - 2}} ", "dim"), Span(" " * (room - len(points)))]
        for value in points:
            units = int(value / top * rows * steps + 0.5) - floor * steps
            mark = " " if units <= 0 else glyphs.spark[min(units, steps) - 1]
            below = units > steps  # the curve's own cell is bright, what is under it isn't
            kind = "chart-body" if below else role
            if line[-1].role == kind:
                line[-1] = Span(line[-1].text + mark, kind)
            else:
                line.append(Span(mark, kind))
        lines.append((*line, Span(" ")))
    return lines


def heading(title: str, width: int, glyphs: Glyphs, right: str = "", right_role: str = "dim") -> Line:
    """A rule with a title at the left and a note at the right."""
    left = f" {title} "
    note = f" {right} " if right else ""
    fill = max(0, width - cell_len(left) - cell_len(note) - 1)
    return (Span(left, "heading"), Span(glyphs.horizontal * fill, "border"), Span(note, right_role), Span(" "))
