"""A page of lines that scrolls."""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len
from textual import events

from df2redis_tui.telemetry.format import Line, Span, clip, line_text
from df2redis_tui.tui.widgets.painted import Painted


class TextPage(Painted):
    """`source(width)` gives every line; what doesn't fit is reached by scrolling."""

    def __init__(self, source: Callable[[int], list[Line]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._source = source
        self._top = 0
        self._rows = 1

    def lines(self, width: int, height: int) -> list[Line]:
        every = self._source(width)
        self._rows = height
        self._top = max(0, min(self._top, len(every) - height))
        shown = every[self._top : self._top + height]
        below = len(every) - self._top - height
        if below > 0:
            note = Span(f" {self.glyphs.down} {below + 1} more ", "pill")
            shown[-1] = (*clip((), width - cell_len(note.text) - 1), note, Span(" "))
        return shown

    def text(self) -> str:
        """The whole page as plain text."""
        return "\n".join(line_text(line).rstrip() for line in self._source(max(40, self.content_size.width)))

    def scroll(self, by: int) -> None:
        self._top = max(0, self._top + by)
        self.repaint()

    def page(self, by: int) -> None:
        self.scroll(by * max(1, self._rows - 2))

    def first(self) -> None:
        self.scroll(-1_000_000)

    def follow(self) -> None:
        self.scroll(1_000_000)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll(-3)
