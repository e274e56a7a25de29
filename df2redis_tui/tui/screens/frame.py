"""The one screen: status line, banner, the page in between, tuning bar, keys. Or the message that it is too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Static

from df2redis_tui.tui.screens.batches import BatchesPage
from df2redis_tui.tui.screens.errors import ErrorsPage
from df2redis_tui.tui.screens.flow import FlowPage
from df2redis_tui.tui.screens.help import HelpPage
from df2redis_tui.tui.screens.overview import OverviewPage
from df2redis_tui.tui.screens.page import Page
from df2redis_tui.tui.screens.report import ReportPage
from df2redis_tui.tui.screens.target import TargetPage
from df2redis_tui.tui.widgets.bars import Banner, KeyBar, StatusLine, TuneBar
from df2redis_tui.tui.widgets.painted import Painted
from df2redis_tui.tui.wire import FineCompositor

if TYPE_CHECKING:
    from df2redis_tui.tui.application import ReplicationApp

LEAST = (60, 18)
PAGES: dict[str, type[Page]] = {
    p.page: p for p in (OverviewPage, BatchesPage, FlowPage, ErrorsPage, TargetPage, ReportPage, HelpPage)
}


class Frame(Screen[None], inherit_bindings=False):
    """Pages are made when they are first wanted, and kept."""

    ready = False  # whether its widgets exist

    def __init__(self) -> None:
        super().__init__()
        self._compositor = FineCompositor()

    @property
    def ui(self) -> ReplicationApp:
        return cast("ReplicationApp", self.app)

    def compose(self) -> ComposeResult:
        with Container(id="all"):
            yield StatusLine()
            yield Banner()
            yield OverviewPage()
            yield TuneBar()
            yield KeyBar()
        yield Static(id="too-small", markup=False)

    def on_mount(self) -> None:
        self.page: Page = self.query_one(OverviewPage)
        self._all = self.query_one("#all")
        self._banner = self.query_one(Banner)
        self._bars: list[Painted] = [self.query_one(StatusLine), self.query_one(TuneBar), self.query_one(KeyBar)]
        self._banner_rows = 0
        self.ready = True
        self._fit()

    def on_resize(self) -> None:
        self._fit()
        self.call_after_refresh(self.redraw)

    def _fit(self) -> None:
        width, height = self.app.size
        enough = width >= LEAST[0] and height >= LEAST[1]
        self.query_one("#all").display = enough
        message = self.query_one("#too-small", Static)
        message.display = not enough
        message.update(f"need {LEAST[0]}x{LEAST[1]}, have {width}x{height}")

    async def go(self, name: str) -> None:
        """Display another page."""
        if self.page.page == name:
            return
        self.page.display = False
        pages = self.query(PAGES[name])
        if pages:
            self.page = pages.first()
            self.page.display = True
        else:
            self.page = PAGES[name]()
            await self._all.mount(self.page, after=self.query_one(Banner))
        self.call_after_refresh(self.redraw)

    def redraw(self) -> None:
        """Draw what has changed."""
        if not self._all.display:
            return
        rows = self._banner.wanted()
        if rows != self._banner_rows:
            self._banner_rows = rows
            self._banner.set_class(rows > 0, "-shown")
            self._banner.styles.height = max(1, rows)
        for bar in self._bars:
            bar.repaint()
        if rows:
            self._banner.repaint()
        self.page.redraw()
