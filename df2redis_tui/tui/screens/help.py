"""Every action with its keys, from the table of actions."""

from __future__ import annotations

from textwrap import wrap

from textual.app import ComposeResult

from df2redis_tui.telemetry.chart import heading
from df2redis_tui.telemetry.format import Line, Span, fit
from df2redis_tui.telemetry.view_pages import BLANK, columns
from df2redis_tui.tui.actions import ACTIONS, BATCHES, ENGINE, SCREENS, TUNING, VIEW, Action
from df2redis_tui.tui.screens.page import Page
from df2redis_tui.tui.widgets.text_page import TextPage

_KEYS = 17  # cells of the column of keys


class HelpPage(Page):
    page = "help"

    def compose(self) -> ComposeResult:
        yield TextPage(self._lines)

    def _lines(self, width: int) -> list[Line]:
        half = width // 2 if width >= 100 else width
        left = [*self._group(TUNING, half), BLANK, *self._group(ENGINE, half), BLANK, *self._group(SCREENS, half)]
        right = [*self._group(VIEW, half), BLANK, *self._group(BATCHES, half), BLANK, *self._marks(half)]
        return columns(left, right, width)

    def _group(self, group: str, width: int) -> list[Line]:
        return [
            heading(group, width, self.ui.glyphs),
            *(line for action in ACTIONS if action.group == group for line in self._rows(action, width)),
        ]

    def _rows(self, action: Action, width: int) -> list[Line]:
        why = self.ui.why_not(action.id, anywhere=True)
        keys = self.ui.keys_of(action.id) or "no key"
        text = action.help + (f" ({why})" if why else "")
        role = "dim" if why else "value"
        first, *more = wrap(self.ui.glyphs.plain(text), max(20, width - _KEYS - 3)) or [""]
        return [
            (
                Span(f"  {fit(keys, _KEYS - 2, self.ui.glyphs)} ", "key-off" if why or keys == "no key" else "key"),
                Span(first, role),
            ),
            *((Span(" " * (_KEYS + 1)), Span(line, role)) for line in more),
        ]

    def _marks(self, width: int) -> list[Line]:
        g = self.ui.glyphs
        rows = (
            (g.healthy, "ok", "healthy", "channel <50 %, limiter <70 %, batch <5 s"),
            (g.warning, "warn", "warning", "from there to the limits below"),
            (g.critical, "crit", "critical", "channel >80 %, limiter >90 %, batch >10 s"),
        )
        out = [heading("Marks", width, g)]
        for mark, role, word, text in rows:
            for index, part in enumerate(wrap(g.plain(text), max(20, width - _KEYS - 3))):
                head = Span(f"  {mark} {word:<{_KEYS - 3}}", role) if index == 0 else Span(" " * (_KEYS + 1))
                out.append((head, Span(part, "value")))
        return out
