"""Everything that went wrong or changed: retries, error replies, dead letters, reconnects, tuning."""

from __future__ import annotations

from textual.app import ComposeResult

from df2redis_tui.telemetry import format as fmt
from df2redis_tui.telemetry.chart import heading
from df2redis_tui.telemetry.format import Line, Span
from df2redis_tui.telemetry.view import event_line, event_words
from df2redis_tui.tui.screens.page import Page
from df2redis_tui.tui.widgets.painted import Painted
from df2redis_tui.tui.widgets.record_log import RecordLog


class Counts(Painted):
    """How often each kind of trouble came."""

    def lines(self, width: int, height: int) -> list[Line]:
        snap = self.ui.state.snap
        totals = snap.totals
        figures = (
            ("retries", totals.retries, "warn"),
            ("redirects", totals.redirects, "value"),
            ("error replies", totals.errors, "crit"),
            ("dead letters", totals.dead_letters, "crit"),
        )
        row: list[Span] = [Span(" ")]
        for label, number, role in figures:
            row += [Span(f"  {label} ", "label"), Span(f"{fmt.count(number):<9}", role if number else "ok")]
        where = f"   dead letters are in {snap.dead_letter_file}" if totals.dead_letters else "   no dead letters"
        return [
            heading("Errors", width, self.glyphs),
            tuple(row),
            (Span(where, "dim"), Span(f" {self.glyphs.dot} the log is {snap.log_file}", "dim")),
        ]


class ErrorsPage(Page):
    page = "errors"
    DEFAULT_CSS = "Counts { height: 4; }"

    def compose(self) -> ComposeResult:
        history = self.ui.state.history
        yield Counts()
        yield RecordLog(
            "Events", lambda: history.events, event_line, event_words, empty="nothing has happened", id="event-log"
        )

    def record_log(self) -> RecordLog:
        return self.query_one(RecordLog)
