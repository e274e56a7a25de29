"""The log of flushes."""

from __future__ import annotations

from textual.app import ComposeResult

from df2redis_tui.telemetry.view import batch_line, batch_words
from df2redis_tui.tui.screens.page import Page
from df2redis_tui.tui.widgets.record_log import RecordLog


class BatchesPage(Page):
    page = "batches"

    def compose(self) -> ComposeResult:
        history = self.ui.state.history
        yield RecordLog("Batches", lambda: history.batches, batch_line, batch_words, id="batch-log")

    def record_log(self) -> RecordLog:
        return self.query_one(RecordLog)
