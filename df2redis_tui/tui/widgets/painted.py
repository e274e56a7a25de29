"""A widget that draws lines of spans and repaints only the cells which changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from df2redis_tui.telemetry.format import Line, clip, line_text
from df2redis_tui.telemetry.glyphs import Glyphs

if TYPE_CHECKING:
    from rich.style import Style

    from df2redis_tui.tui.application import ReplicationApp

# Unchanged cells between two changed ones that are cheaper to send again than to jump over.
_GAP = 6


class Painted(Widget):
    """Subclasses say what their lines are; `repaint` compares them with those on the screen."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = []

    @property
    def ui(self) -> ReplicationApp:
        return cast("ReplicationApp", self.app)

    @property
    def glyphs(self) -> Glyphs:
        return self.ui.glyphs

    def lines(self, width: int, height: int) -> list[Line]:
        """At most `height` lines; each is clipped to `width`."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Draw again what has changed since the last time."""
        width, height = self.content_size
        if not width or not height:
            return
        new = [clip(line, width) for line in self.lines(width, height)[:height]]
        old, self._lines = self._lines, new
        if len(old) != len(new):
            self.refresh()
            return
        regions = [
            Region(start, y, end - start, 1)
            for y, (before, after) in enumerate(zip(old, new, strict=True))
            if before != after
            for start, end in changed_runs(before, after, width)
        ]
        if regions:
            self.refresh(*regions)

    def on_resize(self) -> None:
        self._lines = []
        self.repaint()

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        base = self.rich_style
        if y >= len(self._lines):
            return Strip([Segment(" " * width, base)], width)
        style = self.ui.role_style
        return Strip([Segment(text, _over(base, style(role))) for text, role in self._lines[y]], width)


def _over(base: Style, style: Style | None) -> Style:
    return base if style is None else base + style


def changed_runs(before: Line, after: Line, width: int) -> Iterator[tuple[int, int]]:
    """Columns [start, end) that differ. Lines with wide characters count as changed as a whole."""
    old_text, new_text = line_text(before), line_text(after)
    if len(old_text) != width or len(new_text) != width:
        yield 0, width
        return
    old_roles, new_roles = _roles(before), _roles(after)
    start = end = -1
    for x in range(width):
        if old_text[x] != new_text[x] or old_roles[x] != new_roles[x]:
            if start < 0:
                start = x
            elif x - end > _GAP:
                yield start, end
                start = x
            end = x + 1
    if start >= 0:
        yield start, end


def _roles(line: Line) -> list[str]:
    out: list[str] = []
    for text, role in line:
        out += [role] * len(text)
    return out
