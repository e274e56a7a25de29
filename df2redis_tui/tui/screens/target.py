"""Both ends: versions, nodes, memory, what the target can do."""

from __future__ import annotations

from textual.app import ComposeResult

from df2redis_tui.telemetry.view_pages import target_lines
from df2redis_tui.tui.screens.page import Page
from df2redis_tui.tui.widgets.text_page import TextPage


class TargetPage(Page):
    page = "target"

    def compose(self) -> ComposeResult:
        yield TextPage(lambda width: target_lines(self.ui.state.snap, width, self.ui.glyphs))
