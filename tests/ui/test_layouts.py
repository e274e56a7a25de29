"""Every size, any number of FLOWs, every phase: nothing is cut, nothing overlaps, nothing fails."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from df2redis_tui.telemetry.format import line_text
from df2redis_tui.telemetry.snapshot import Phase
from df2redis_tui.tui.screens.overview import LEAST_WIDTH, panel_columns
from df2redis_tui.tui.widgets.painted import Painted

from .drive import Driver, driving
from .fake_engine import FakeEngine

pytestmark = pytest.mark.asyncio


def in_order(d: Driver) -> None:
    """Every widget's lines have the widget's width, and no two widgets share a cell."""
    taken: set[tuple[int, int]] = set()
    for widget in d.app.frame.query(Painted):
        if not widget.is_on_screen or not widget.display or not widget.size:
            continue
        for line in widget._lines:
            assert cell_len(line_text(line)) == widget.size.width, (widget, line_text(line))
        region = widget.region
        cells = {(x, y) for y in range(region.y, region.bottom) for x in range(region.x, region.right)}
        assert not cells & taken, widget
        taken |= cells
        assert region.right <= d.app.size.width
        assert region.bottom <= d.app.size.height


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (100, 30), (120, 40), (200, 60)])
async def test_any_number_of_flows_fits(size: tuple[int, int]) -> None:
    engine = FakeEngine(0, moving=False, start_at=90, nodes=1)
    async with driving(engine, size) as d:
        for flows, nodes in ((0, 1), (1, 1), (3, 3), (8, 6), (9, 12), (64, 30), (4, 3)):
            engine.flows, engine.nodes = flows, nodes
            await d.look()
            await d.pilot.pause()
            in_order(d)
            for key in ("t", "t") if flows else ():
                await d.press(key)
                in_order(d)


@pytest.mark.parametrize("phase", list(Phase))
async def test_every_phase_on_every_page(phase: Phase) -> None:
    engine = FakeEngine(5, moving=False, start_at=90, script=((phase, 1e9),))
    async with driving(engine, (80, 24)) as d:
        assert phase.value.upper() in d.text("StatusLine")
        for page in ("batches", "errors", "target", "report", "flow", "help", "overview"):
            await d.app.run_action_id(page)
            await d.look()
            in_order(d)


async def test_a_resize_keeps_everything_in_order() -> None:
    async with driving(size=(120, 40)) as d:
        for size in ((80, 24), (200, 60), (50, 10), (61, 19), (120, 40)):
            await d.pilot.resize_terminal(*size)
            await d.settle(0.1)
            if size == (50, 10):
                message = d.app.frame.query_one("#too-small")
                assert message.display
                assert not d.app.frame.query_one("#all").display
            else:
                in_order(d)


async def test_the_selection_stays_visible_in_a_long_table() -> None:
    async with driving(FakeEngine(64, moving=False, start_at=90), (80, 24)) as d:
        await d.press(*["down"] * 40)
        assert "▸40 stable" in d.text("FlowTable")
        await d.press(*["up"] * 40)
        assert "▸ 0 stable" in d.text("FlowTable")


async def test_panels_are_as_wide_as_they_need_to_be() -> None:
    assert panel_columns(8, 120, 24) == 3
    assert panel_columns(4, 120, 24) == 2
    assert panel_columns(8, 200, 40) == 4
    assert panel_columns(8, 80, 14) == 0
    assert all(80 // panel_columns(n, 80, 100) >= LEAST_WIDTH for n in range(1, 9))


async def test_text_of_servers_cannot_break_the_screen() -> None:
    engine = FakeEngine(2, moving=False, start_at=90)
    engine.changes["failure"] = "oops\x1b[2J\n日本語 \ud800"
    engine.changes["bottleneck"] = "\x07target\tbound"
    engine.changes["reason"] = "[bold]no markup[/bold]"
    async with driving(engine) as d:
        in_order(d)
        text = d.text("StatusLine")
        assert "\x1b" not in text
        assert "日本語" in text
        for page in ("errors", "report", "target"):
            await d.app.run_action_id(page)
            in_order(d)
