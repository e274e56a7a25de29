"""Changed cells only: less is sent, and the screen is the same."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.strip import Strip

from df2redis_tui.telemetry.format import Span
from df2redis_tui.tui.widgets.painted import changed_runs
from df2redis_tui.tui.wire import FineUpdate

from .drive import driving
from .fake_engine import FakeEngine

WIDTH = 40
lines = st.text(alphabet="ab ", min_size=WIDTH, max_size=WIDTH).map(
    lambda text: tuple(Span(c, "ok" if i % 5 else "dim") for i, c in enumerate(text))
)


@given(lines, lines)
def test_the_runs_hold_every_changed_cell(before: tuple[Span, ...], after: tuple[Span, ...]) -> None:
    runs = list(changed_runs(before, after, WIDTH))
    inside = {x for start, end in runs for x in range(start, end)}
    assert {x for x in range(WIDTH) if before[x] != after[x]} <= inside
    assert all(0 <= start < end <= WIDTH for start, end in runs)
    assert all(one[1] < two[0] for one, two in pairwise(runs))


def test_a_changed_role_is_a_change() -> None:
    assert list(changed_runs((Span("abc", "ok"),), (Span("abc", "crit"),), 3)) == [(0, 3)]
    assert list(changed_runs((Span("abc", "ok"),), (Span("ab", "ok"), Span("c", "ok")), 3)) == []


def test_a_line_with_wide_characters_changes_as_a_whole() -> None:
    assert list(changed_runs((Span("日本"),), (Span("日米"),), 4)) == [(0, 4)]


class Screen:
    """As much of a terminal as the updates need: places, styles, text."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], tuple[str, str]] = {}

    def feed(self, text: str) -> None:
        x = y = 0
        style = ""
        for codes, place, other in re.findall(r"\x1b\[([\d;]*)m|\x1b\[([\d;]*)H|([^\x1b\n])", text):
            if other:
                self.cells[x, y] = (other, style)
                x += 1
            elif place:
                y, x = (int(n) - 1 for n in place.split(";"))
            else:
                style = codes.removeprefix("0").lstrip(";") or ""


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 18), st.integers(1, 19)), min_size=1, max_size=6))
def test_a_fine_update_draws_what_textuals_draws(wanted: list[tuple[int, int, int]]) -> None:
    red, plain = Style(color="red", bold=True), Style(bgcolor="blue")
    row = Strip([Segment("abcd", red), Segment("efgh", plain), Segment("ij", red)], 10)
    chops = [{0: row, 10: Strip([Segment("klmnopqrst", plain)], 10)} for _ in range(2)]
    spans = sorted({(y, x, min(20, x + w)) for y, x, w in wanted})
    ends = [[10, 20], [10, 20]]
    console = Console(color_system="truecolor", force_terminal=True)
    theirs, ours = Screen(), Screen()
    theirs.feed(ChopsUpdate(chops, spans, ends).render_segments(console))
    ours.feed(FineUpdate(chops, spans, ends).render_segments(console))
    for (x, y), cell in ours.cells.items():
        assert theirs.cells[x, y] == cell
    assert set(ours.cells) == {(x, y) for y, start, end in spans for x in range(start, end)}


@pytest.mark.asyncio
async def test_an_unchanged_look_draws_nothing() -> None:
    engine = FakeEngine(16, moving=False, start_at=90)
    async with driving(engine) as d:
        for _ in range(70):  # until the history is as flat as the figures
            await asyncio.sleep(0)
            engine.refresh()
            d.app.sample()
        await d.settle(0.2)
        drawn: list[object] = []
        d.app._display = lambda screen, update: drawn.append(update)  # type: ignore[method-assign]
        await d.look()
        await d.settle(0.2)
        assert drawn == []


@pytest.mark.asyncio
async def test_a_changed_figure_draws_its_row_only() -> None:
    engine = FakeEngine(8, moving=False, start_at=90)
    async with driving(engine) as d:
        panel = d.app.frame.query_one("#flow-3")
        regions: list[object] = []
        original = panel.refresh
        panel.refresh = lambda *r, **k: (regions.extend(r), original(*r, **k))[1]  # type: ignore[method-assign,assignment]
        engine.start_at = 90.5
        await d.look()
        assert regions
        assert all(region.width < panel.size.width - 2 for region in regions)  # type: ignore[attr-defined]
