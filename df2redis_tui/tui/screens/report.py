"""The report: also while it runs, and the last page when the run has ended."""

from __future__ import annotations

from textual.app import ComposeResult

from df2redis_tui.telemetry.format import Line, Span
from df2redis_tui.telemetry.view_pages import BLANK, report_lines
from df2redis_tui.tui.screens.page import Page
from df2redis_tui.tui.widgets.text_page import TextPage


class ReportPage(Page):
    page = "report"

    def compose(self) -> ComposeResult:
        yield TextPage(self._lines)

    def _lines(self, width: int) -> list[Line]:
        state = self.ui.state
        rows = 0 if self.ui.settings.low_bandwidth or self.size.height < 26 else max(6, min(14, self.size.height - 28))
        out = report_lines(state.snap, list(state.history.total), width, self.ui.glyphs, rows)
        if self.ui.engine.done:
            out += [BLANK, (Span(f"   {self.ui.key_of('quit')} leaves", "strong"),)]
        return out
