"""What every page shares: drawing, scrolling, copying."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.containers import Container

from df2redis_tui.tui.widgets.painted import Painted
from df2redis_tui.tui.widgets.record_log import RecordLog
from df2redis_tui.tui.widgets.text_page import TextPage

if TYPE_CHECKING:
    from df2redis_tui.tui.application import ReplicationApp

Scrollable = RecordLog | TextPage


class Page(Container):
    """One of the pages between the status line and the tuning bar; only one is displayed at a time."""

    page: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__(id=f"page-{self.page}", classes="body")
        self._painted: list[Painted] = []
        self._ready = False  # whether its widgets exist

    @property
    def ui(self) -> ReplicationApp:
        return cast("ReplicationApp", self.app)

    def on_mount(self) -> None:
        self._ready = True

    def prepare(self) -> None:
        """Arrange the widgets for what there is to show now."""

    def redraw(self) -> None:
        """Called for every new snapshot while this page is displayed."""
        if not self._ready:
            return
        self.prepare()
        for widget in self.painted:
            if widget.display:
                widget.repaint()

    def on_resize(self) -> None:
        self.redraw()

    @property
    def painted(self) -> list[Painted]:
        """Everything on this page that is drawn; `forget` after mounting something."""
        if not self._painted:
            self._painted = list(self.query(Painted))
        return self._painted

    def forget(self) -> None:
        self._painted = []

    def scroller(self) -> Scrollable | None:
        """What the arrow keys move."""
        return next((w for w in self.query(Painted) if isinstance(w, Scrollable) and w.display), None)

    def record_log(self) -> RecordLog | None:
        """The list that filters apply to."""
        return None

    def move(self, where: str) -> None:
        """`where` is up, down, page-up, page-down, first or last."""
        target = self.scroller()
        if target is None:
            return
        match where:
            case "up":
                target.scroll(-1)
            case "down":
                target.scroll(1)
            case "page-up":
                target.page(-1)
            case "page-down":
                target.page(1)
            case "first":
                target.first()
            case _:
                target.follow()

    def copy_text(self) -> str:
        """What the copy key copies."""
        target = self.scroller()
        if isinstance(target, RecordLog):
            return target.selected_words()
        return target.text() if target is not None else ""
