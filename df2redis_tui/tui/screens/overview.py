"""The page an operator lives on: every FLOW, the target's nodes, the newest flushes."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal

from df2redis_tui.telemetry.view import batch_line, batch_words, event_line, event_words, node_lines, node_views
from df2redis_tui.telemetry.view_flow import PANEL_ROWS, flow_words
from df2redis_tui.tui.screens.page import Page
from df2redis_tui.tui.widgets.flows import FlowGrid, FlowPanel, FlowTable, NodeList, RateChart, TotalsLine, view_of
from df2redis_tui.tui.widgets.record_log import RecordLog

MOST_PANELS = 8
LEAST_WIDTH, GOOD_WIDTH = 32, 44  # of a panel


def panel_columns(flows: int, width: int, rows: int) -> int:
    """Columns of panels for `rows` screen rows: panels as wide as fits, but no wider than needed; 0 when none fit."""
    best = 0
    for columns in range(1, min(flows, width // LEAST_WIDTH) + 1):
        if -(-flows // columns) * PANEL_ROWS <= rows and (best == 0 or width // columns >= GOOD_WIDTH):
            best = columns
    return best


class OverviewPage(Page):
    page = "overview"

    def __init__(self) -> None:
        super().__init__()
        self._columns = 1
        self._in_view = 0  # the FLOW last scrolled to
        self._placed: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        history = self.ui.state.history
        yield FlowGrid()
        yield FlowTable()
        yield TotalsLine()
        yield NodeList()
        yield RateChart()
        with Horizontal(id="logs"):
            yield RecordLog("Batches", lambda: history.batches, batch_line, batch_words, id="mini-batches")
            yield RecordLog("Events", lambda: history.events, event_line, event_words, id="mini-events")

    def prepare(self) -> None:
        """Panels or a table, in how many columns, and what else there is room for."""
        state, size = self.ui.state, self.size
        flows = tuple(f.flow for f in state.snap.flows)
        key = (flows, size, state.table, len(state.snap.nodes), self.ui.settings.low_bandwidth)
        if key == self._placed or not size.width:
            return
        self._placed = key
        tall = self.app.size.height >= 30
        nodes = node_lines(node_views(state.snap.nodes), size.width, 4 if tall else 2)
        node_rows = max(1, len(nodes)) + (1 if tall else 0)
        most = size.height - 1 - node_rows - (4 if size.height < 30 else 8)
        columns = panel_columns(len(flows), size.width, most)
        table = state.table
        if table is None:
            table = columns == 0 or len(flows) > MOST_PANELS
        if not table and columns == 0:
            columns = max(1, min(len(flows), size.width // LEAST_WIDTH))
        state.tabled, self._columns = table, max(1, columns)
        used = self._place_flows(flows, table, columns, most)
        left = size.height - 1 - used - node_rows
        chart = self.query_one(RateChart)
        chart_rows = min(12, left // 3) if left >= 18 and not self.ui.settings.low_bandwidth else 0
        chart.styles.height = max(1, chart_rows)
        chart.set_class(chart_rows > 0, "-shown")
        self.query_one(NodeList).styles.height = node_rows
        self.query_one("#logs").set_class(size.width >= 150, "-two")

    def _place_flows(self, flows: tuple[int, ...], table: bool, columns: int, most: int) -> int:
        """Show panels or the table; returns the rows used."""
        grid, rows = self.query_one(FlowGrid), self.query_one(FlowTable)
        grid.set_class(not table, "-shown")
        rows.set_class(table, "-shown")
        if table:
            height = min(len(flows) + 1, max(2, most))
            rows.styles.height = height
            return height
        known = {p.flow for p in grid.query(FlowPanel)}
        if known != set(flows):
            for panel in grid.query(FlowPanel):
                if panel.flow not in flows:
                    panel.remove()
            grid.mount_all(FlowPanel(n) for n in flows if n not in known)
            self.call_after_refresh(self.forget)
            self.call_after_refresh(self.redraw)
        height = -(-len(flows) // columns) * PANEL_ROWS if columns else 0
        height = min(height, max(PANEL_ROWS, most))
        grid.styles.grid_size_columns = max(1, columns)
        grid.styles.height = height
        return height

    def redraw(self) -> None:
        super().redraw()
        state = self.ui.state
        if not state.tabled and state.selected != self._in_view:
            self._in_view = state.selected
            for panel in self.query(FlowPanel):
                if panel.flow == state.selected:
                    panel.scroll_visible(animate=False)

    def move(self, where: str) -> None:
        """Arrow keys select FLOWs; pages and ends belong to the list of flushes."""
        steps = 1 if self.ui.state.tabled else self._columns
        if where in ("up", "down"):
            self.ui.state.move(steps if where == "down" else -steps)
            self.ui.redraw()
        else:
            super().move(where)

    def copy_text(self) -> str:
        flow = self.ui.state.flow()
        return flow_words(view_of(self.ui.state, flow, self.ui.glyphs)) if flow else ""
