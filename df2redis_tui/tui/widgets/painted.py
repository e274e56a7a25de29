"""A widget that draws lines of spans and repaints only the cells which changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self, cast

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from df2redis_tui.telemetry.format import Line, Span, clip, line_text
from df2redis_tui.telemetry.glyphs import Glyphs

if TYPE_CHECKING:
    from df2redis_tui.tui.application import ReplicationApp

# Unchanged cells between two changed ones that are cheaper to send again than to jump over.
_GAP = 6


class Painted(Widget):
    """Subclasses say what their lines are; `repaint` compares them with those on the screen."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = []
        self._drawn: object = None  # what the lines were made from
        self._strips: dict[int, Strip] = {}
        self._styles: dict[str, Style] = {}

    @property
    def ui(self) -> ReplicationApp:
        return cast("ReplicationApp", self.app)

    @property
    def glyphs(self) -> Glyphs:
        return self.ui.glyphs

    def lines(self, width: int, height: int) -> list[Line]:
        """At most `height` lines; each is clipped to `width`."""
        raise NotImplementedError

    def depends(self) -> object:
        """Everything the lines are made from, to be compared; None has the lines made each time."""
        return None

    def repaint(self) -> None:
        """Draw again what has changed since the last time."""
        width, height = self.content_size
        if not width or not height:
            return
        depends = self.depends()
        drawn = None if depends is None else (depends, width, height, self.glyphs.name)
        if drawn is not None and drawn == self._drawn:
            return
        self._drawn = drawn
        new = [clip(line, width) for line in self.lines(width, height)[:height]]
        if self.glyphs.name == "ascii":
            only = self.glyphs.only
            new = [clip(tuple(Span(only(text), role) for text, role in line), width) for line in new]
        old, self._lines = self._lines, new
        if len(old) != len(new):
            self.refresh()
            return
        regions = []
        for y, (before, after) in enumerate(zip(old, new, strict=True)):
            if before != after:
                self._strips.pop(y, None)
                regions += [Region(start, y, end - start, 1) for start, end in changed_runs(before, after, width)]
        if regions:
            self.refresh(*regions)

    def on_resize(self) -> None:
        self._lines = []
        self._drawn = None
        self.repaint()

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        if not regions:  # anything may be different: the size, the theme, the lines
            self._strips.clear()
            self._styles.clear()
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Rows are kept until they change; without border and padding Textual's own cache has nothing to add."""
        return [self._row(y).crop(crop.x, crop.right) for y in range(crop.y, crop.bottom)]

    def _row(self, y: int) -> Strip:
        strip = self._strips.get(y)
        if strip is None:
            strip = self._strips[y] = self.render_line(y)
        return strip

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        style = self._style
        if y >= len(self._lines):
            return Strip([Segment(" " * width, style(""))], width)
        return Strip([Segment(text, style(role)) for text, role in self._lines[y]], width)

    def _style(self, role: str) -> Style:
        """A role's style over this widget's own, as the application's filters (NO_COLOR, ANSI) leave it."""
        style = self._styles.get(role)
        if style is None:
            own = self.ui.role_style(role)
            segments = [Segment("x", self.rich_style if own is None else self.rich_style + own)]
            for line_filter in self.get_line_filters():
                segments = line_filter.apply(segments, self.background_colors[1])
            style = self._styles[role] = segments[0].style or Style.null()
        return style


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
