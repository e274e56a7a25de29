"""Every action with its keys, from the table of actions."""

from __future__ import annotations

from textual.app import ComposeResult

from df2redis_tui.telemetry.chart import heading
from df2redis_tui.telemetry.format import Line, Span, fit
from df2redis_tui.telemetry.view_pages import BLANK, columns
from df2redis_tui.tui.actions import ACTIONS, BATCHES, ENGINE, SCREENS, TUNING, VIEW, Action
from df2redis_tui.tui.screens.page import Page
from df2redis_tui.tui.widgets.text_page import TextPage


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
            *(self._row(action, width) for action in ACTIONS if action.group == group),
        ]

    def _row(self, action: Action, width: int) -> Line:
        why = self.ui.why_not(action.id, anywhere=True)
        keys = self.ui.keys_of(action.id) or "no key"
        text = action.help + (f" ({why})" if why else "")
        return (
            Span(f"  {fit(keys, 14, self.ui.glyphs)}", "key-off" if why or keys == "no key" else "key"),
            Span(fit(self.ui.glyphs.plain(text), max(0, width - 17), self.ui.glyphs), "dim" if why else "value"),
        )

    def _marks(self, width: int) -> list[Line]:
        g = self.ui.glyphs
        rows = (
            (g.healthy, "ok", "healthy", "channel < 50 %, limiter < 70 %, open batch waits < 5 s"),
            (g.warning, "warn", "warning", f"from there; {g.critical} is next"),
            (g.critical, "crit", "critical", "channel > 80 %, limiter > 90 %, open batch waits > 10 s"),
        )
        out = [heading("Marks", width, g)]
        for mark, role, word, text in rows:
            out.append((Span(f"  {mark} {word:<11} ", role), Span(fit(text, max(0, width - 17), g), "value")))
        return out
