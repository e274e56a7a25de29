"""FLOWs: a panel each, or rows of a table; the target's nodes; the chart of the rate."""

from __future__ import annotations

from itertools import islice
from typing import Any

from textual import events
from textual.containers import Container

from df2redis_tui.telemetry.chart import chart_lines, heading
from df2redis_tui.telemetry.format import Line
from df2redis_tui.telemetry.view import node_lines, node_views, totals_line
from df2redis_tui.telemetry.view_flow import flow_view, panel_lines
from df2redis_tui.telemetry.view_table import header_line, row_line, visible_columns
from df2redis_tui.tui.state import UiState
from df2redis_tui.tui.widgets.painted import Painted

HISTORY_CELLS = 60


def rates_of(state: UiState, flow: int, plain: bool) -> tuple[float, ...]:
    """The newest rates of a FLOW, as many as are drawn; none with `plain`."""
    rates = state.history.rates(flow)
    return () if plain else tuple(islice(reversed(rates), HISTORY_CELLS))[::-1]


def view_of(state: UiState, flow: Any, glyphs: Any, plain: bool = False) -> Any:
    """The view model of one FLOW with its history; `plain` leaves the history out."""
    return flow_view(
        flow, glyphs, rates=rates_of(state, flow.flow, plain), top=state.history.top, common=state.snap.knobs
    )


class FlowPanel(Painted):
    """One FLOW."""

    def __init__(self, flow: int) -> None:
        super().__init__(id=f"flow-{flow}")
        self.flow = flow

    def depends(self) -> object:
        state = self.ui.state
        flow = next((f for f in state.snap.flows if f.flow == self.flow), None)
        rates = rates_of(state, self.flow, self.ui.settings.low_bandwidth)
        return flow, rates, state.history.top, state.snap.knobs, state.selected == self.flow

    def lines(self, width: int, height: int) -> list[Line]:
        state = self.ui.state
        flow = next((f for f in state.snap.flows if f.flow == self.flow), None)
        if flow is None:
            return []
        view = view_of(state, flow, self.glyphs, self.ui.settings.low_bandwidth)
        return list(panel_lines(view, width, self.glyphs, selected=state.selected == self.flow))

    async def on_click(self, event: events.Click) -> None:
        self.ui.state.selected = self.flow
        self.ui.redraw()
        if event.chain > 1:
            await self.ui.run_action_id("flow")


class FlowGrid(Container):
    """The panels; as many columns as the screen says."""


class FlowTable(Painted):
    """One row per FLOW, sorted; scrolls when there are more than rows."""

    def __init__(self) -> None:
        super().__init__()
        self._first = 0
        self._rows: list[int] = []

    def depends(self) -> object:
        state = self.ui.state
        rates = [rates_of(state, f.flow, self.ui.settings.low_bandwidth) for f in state.snap.flows]
        return state.snap.flows, rates, state.history.top, state.selected, state.sort, state.descending

    def lines(self, width: int, height: int) -> list[Line]:
        state = self.ui.state
        columns = visible_columns(width)
        flows = state.ordered()
        room = height - 1
        numbers = [f.flow for f in flows]
        at = numbers.index(state.selected) if state.selected in numbers else 0
        self._first = max(min(self._first, at), at - room + 1, 0)
        self._first = max(0, min(self._first, len(flows) - room))
        shown = flows[self._first : self._first + room]
        self._rows = [f.flow for f in shown]
        plain = self.ui.settings.low_bandwidth
        return [
            header_line(columns, width, state.sort, state.descending, self.glyphs),
            *(
                row_line(
                    view_of(state, f, self.glyphs, plain),
                    columns,
                    width,
                    self.glyphs,
                    selected=f.flow == state.selected,
                )
                for f in shown
            ),
        ]

    async def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            await self.ui.run_action_id("sort")
        elif event.y - 1 < len(self._rows):
            self.ui.state.selected = self._rows[event.y - 1]
            self.ui.redraw()
            if event.chain > 1:
                await self.ui.run_action_id("flow")

    def on_mouse_scroll_down(self) -> None:
        self.ui.state.move(1)
        self.ui.redraw()

    def on_mouse_scroll_up(self) -> None:
        self.ui.state.move(-1)
        self.ui.redraw()


class TotalsLine(Painted):
    """What has gone through all FLOWs together."""

    def depends(self) -> object:
        return self.ui.state.snap.totals, self.ui.state.snap.rss_bytes // 100_000

    def lines(self, width: int, height: int) -> list[Line]:
        return [totals_line(self.ui.state.snap, width)]


class NodeList(Painted):
    """The target's servers with their share of the work."""

    def depends(self) -> object:
        return self.ui.state.snap.nodes, self.ui.state.snap.target

    def lines(self, width: int, height: int) -> list[Line]:
        snap = self.ui.state.snap
        out: list[Line] = []
        rows = height
        if self.app.size.height >= 30 and height > 1:
            target = snap.target
            cells = sum(n.slots or 0 for n in snap.nodes)
            what = f"{target.product} {target.version}".strip()
            right = f"{what} cluster, {cells:,} slots" if target.cluster else what
            out.append(heading("Target", width, self.glyphs, right))
            rows -= 1
        return out + list(node_lines(node_views(snap.nodes, self.glyphs), width, rows, self.glyphs))


class RateChart(Painted):
    """The rate of all FLOWs over the last minutes."""

    def depends(self) -> object:
        return tuple(self.ui.state.history.total)

    def lines(self, width: int, height: int) -> list[Line]:
        state = self.ui.state
        return chart_lines(list(state.history.total), width, height, self.glyphs, title="Entries per second")
