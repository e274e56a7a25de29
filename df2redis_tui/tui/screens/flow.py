"""Everything about one FLOW."""

from __future__ import annotations

from textual.app import ComposeResult

from df2redis_tui.telemetry.format import Line, Span
from df2redis_tui.telemetry.snapshot import BatchRecord
from df2redis_tui.telemetry.view import batch_line, batch_words
from df2redis_tui.telemetry.view_pages import detail_lines
from df2redis_tui.tui.screens.page import Page
from df2redis_tui.tui.widgets.record_log import RecordLog
from df2redis_tui.tui.widgets.text_page import TextPage


class FlowPage(Page):
    """Left and right go to the neighbours."""

    page = "flow"
    DEFAULT_CSS = """
    FlowPage TextPage { height: 1fr; }
    FlowPage RecordLog { height: 7; display: none; }
    FlowPage RecordLog.-shown { display: block; }
    """

    def compose(self) -> ComposeResult:
        yield TextPage(self._lines, id="flow-detail")
        yield RecordLog("Batches of this FLOW", self._batches, batch_line, batch_words, id="flow-batches")

    def _batches(self) -> list[BatchRecord]:
        state = self.ui.state
        return [b for b in state.history.batches if b.flow == state.selected]

    def prepare(self) -> None:
        log = self.query_one(RecordLog)
        spare = self.size.height - 28
        log.set_class(spare >= 4, "-shown")
        log.styles.height = max(1, spare)

    def selected_changed(self) -> None:
        """Another FLOW: its list starts anew."""
        log = self.query_one(RecordLog)
        log.set_filter(log.filter)

    def _lines(self, width: int) -> list[Line]:
        state = self.ui.state
        flow = state.flow()
        if flow is None:
            return [(Span("   there is no FLOW yet", "dim"),)]
        rows = 0 if self.ui.settings.low_bandwidth else 8 if self.size.height >= 30 else 4
        return detail_lines(state.snap, flow, list(state.history.rates(flow.flow)), width, self.ui.glyphs, rows)
