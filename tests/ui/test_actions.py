"""Every action of the table, by its key."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from df2redis_tui.telemetry.snapshot import Phase
from df2redis_tui.tui.actions import ACTIONS, BY_ID, disabled_reason, key_table
from df2redis_tui.tui.handlers import HANDLERS
from df2redis_tui.tui.screens.prompt import DrainDialog, FilterPrompt, ValuePrompt
from df2redis_tui.tui.state import RecordFilter
from df2redis_tui.tui.widgets.record_log import RecordLog

from .drive import driving
from .fake_engine import FakeEngine
from .fake_snapshot import KNOBS, make_snapshot

pytestmark = pytest.mark.asyncio


async def test_every_action_has_a_handler_and_a_key() -> None:
    assert set(HANDLERS) == set(BY_ID)
    keys = [key for action in ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("key", "knob", "value"),
    [
        ("plus", "batch_size", 2500),
        ("minus", "batch_size", 1500),
        ("right_square_bracket", "max_in_flight", 60),
        ("left_square_bracket", "max_in_flight", 40),
        ("greater_than_sign", "flush_interval", 0.1),
        ("less_than_sign", "flush_interval", 0.02),
        ("right_curly_bracket", "channel_entries", 4_000_000),
        ("left_curly_bracket", "channel_bytes", 32 * 1024**2),
        ("left_parenthesis", "rate_limit", 30_000),
        ("a", "adaptive_flush", False),
    ],
)
async def test_a_tuning_key_changes_its_knob(key: str, knob: str, value: float) -> None:
    async with driving() as d:
        await d.press(key)
        await d.settle()
        assert getattr(d.engine.knobs, knob) == value
        assert "→" in d.text("TuneBar")


async def test_the_rate_limit_is_raised_and_taken_away() -> None:
    async with driving() as d:
        await d.press("left_parenthesis")
        await d.settle()
        limit = d.engine.knobs.rate_limit
        await d.press("right_parenthesis")
        await d.settle()
        assert d.engine.knobs.rate_limit > limit


async def test_repeated_keys_become_one_change_and_one_undo() -> None:
    async with driving() as d:
        await d.press("plus", "plus", "plus")
        assert "2,000 → 4,000" in d.text("TuneBar")
        await d.settle()
        assert [r.batch_size for r in d.engine.requests] == [4000]
        await d.press("u")
        assert d.engine.knobs.batch_size == 2000


async def test_a_change_says_when_it_takes_effect() -> None:
    async with driving(size=(160, 40)) as d:
        await d.press("plus")
        await d.settle()
        assert "batch size 2,000 → 2,500 (all FLOWs, from the next batch)" in d.text("TuneBar")


async def test_one_flow_is_tuned_alone_and_undone_alone() -> None:
    async with driving() as d:
        await d.press("right", "s", "plus")
        await d.settle()
        assert d.engine.knobs.batch_size == 2000
        assert d.engine.flow_knobs[1].batch_size == 2500
        assert "FLOW 1 only" in d.text("TuneBar")
        await d.press("u")
        assert d.engine.flow_knobs[1].batch_size == 2000


async def test_undoing_a_change_of_all_gives_each_flow_its_own_value_back() -> None:
    async with driving() as d:
        await d.press("right", "s", "plus")
        await d.settle()
        await d.press("s", "plus", "plus")
        await d.settle()
        assert d.engine.flow_knobs[1].batch_size == 3000
        await d.press("u")
        assert d.engine.knobs.batch_size == 2000
        assert d.engine.flow_knobs[1].batch_size == 2500


async def test_reset_goes_back_to_the_configuration() -> None:
    async with driving() as d:
        await d.press("plus", "right_square_bracket", "a")
        await d.settle()
        await d.press("0")
        assert d.engine.knobs == KNOBS


async def test_an_exact_value_is_checked_against_its_range() -> None:
    async with driving() as d:
        await d.press("equals_sign")
        assert isinstance(d.app.screen, ValuePrompt)
        await d.settle()
        assert "1 … 1,000,000" in d.text()
        await d.press(*"2000001", "enter")
        assert "out of range" in d.text()
        await d.press(*["backspace"] * 7, *"2750", "enter")
        assert d.engine.knobs.batch_size == 2750


async def test_the_prompt_chooses_another_knob_and_can_be_left() -> None:
    async with driving() as d:
        await d.press("equals_sign", "down", *"64", "enter")
        assert d.engine.knobs.max_in_flight == 64
        await d.press("equals_sign", "escape")
        assert d.app.screen is d.app.frame
        assert d.engine.knobs.max_in_flight == 64


async def test_pause_and_resume_with_a_banner() -> None:
    async with driving() as d:
        await d.press("p")
        assert d.engine.paused
        assert "ENGINE PAUSED by operator" in d.text("Banner")
        assert "PAUSED" in d.text("StatusLine")
        await d.press("p")
        assert not d.engine.paused
        await d.pilot.pause()
        assert "ENGINE PAUSED" not in d.text("Banner")


async def test_freezing_the_view_is_not_pausing_the_engine() -> None:
    async with driving() as d:
        await d.press("space")
        assert "VIEW FROZEN" in d.text("Banner")
        assert not d.engine.paused
        before, status = d.text("FlowPanel"), d.text("StatusLine")
        d.engine.start_at = 99
        await d.look()
        assert d.text("FlowPanel") == before
        assert d.text("StatusLine") != status
        await d.press("space")
        assert d.text("FlowPanel") != before


@pytest.mark.parametrize(
    ("key", "page", "words"),
    [
        ("2", "batches", "#9,133"),
        ("b", "batches", "#9,133"),
        ("3", "errors", "WRONGTYPE"),
        ("e", "errors", "dead letters 1"),
        ("4", "target", "hash field TTL"),
        ("5", "report", "20,100,000"),
        ("r", "report", "Copied"),
        ("enter", "flow", "acknowledged"),
        ("question_mark", "help", "batch size: larger"),
        ("f1", "help", "undo the last change"),
    ],
)
async def test_a_key_opens_its_page_and_escape_goes_back(key: str, page: str, words: str) -> None:
    async with driving() as d:
        await d.press(key)
        await d.settle(0.1)
        assert d.app.screen_name == page
        assert words in d.text()
        await d.press("escape")
        assert d.app.screen_name == "overview"
        await d.press(key, "1")
        assert d.app.screen_name == "overview"


async def test_arrows_select_flows() -> None:
    async with driving() as d:
        await d.press("right", "right")
        assert d.app.state.selected == 2
        await d.press("left")
        assert d.app.state.selected == 1
        await d.press("down")
        assert d.app.state.selected == 4  # three columns at this width
        await d.press("k", "tab", "shift+tab", "j")
        assert d.app.state.selected == 4


async def test_the_flow_page_goes_to_its_neighbours() -> None:
    async with driving() as d:
        await d.press("enter", "right")
        await d.settle(0.1)
        assert "FLOW 1" in d.text("#flow-detail")


async def test_the_table_is_sorted_by_a_key() -> None:
    async with driving() as d:
        await d.press("o")
        assert "sorting needs the table" in d.messages()
        await d.press("t")
        assert d.app.state.tabled
        await d.press("o")
        assert d.app.state.sort == "channel"
        rows = d.text("FlowTable").splitlines()
        assert rows[1].split()[0] == "2"
        await d.press("O")
        assert d.text("FlowTable").splitlines()[-1].split()[0] == "2"


async def test_the_batch_log_follows_and_counts_what_is_new() -> None:
    async with driving() as d:
        await d.press("2")
        log = d.app.frame.query_one("#batch-log", RecordLog)
        assert "following" in d.text("#batch-log")
        await d.press("up", "up")
        assert "2 new" in d.text("#batch-log")
        d.engine.start_at = 91
        await d.look()
        assert "14 new" in d.text("#batch-log")
        await d.press("end")
        assert log.cursor is None
        assert "following" in d.text("#batch-log")
        await d.press("pageup", "pagedown", "home")
        assert log.cursor == d.app.state.history.batches[0].seq
        await d.press("G")
        assert log.cursor is None


async def test_the_batch_log_is_filtered() -> None:
    async with driving() as d:
        await d.press("2", "f")
        rows = d.text("#batch-log").splitlines()[1:]
        assert rows
        assert all(" F0 " in row for row in rows)
        await d.press("f")
        assert all(" F1 " in row for row in d.text("#batch-log").splitlines()[1:])
        await d.press("z", "x")
        assert all("OOM" in row for row in d.text("#batch-log").splitlines()[1:])
        await d.press("z", "l")
        assert all("▲" in row or "■" in row for row in d.text("#batch-log").splitlines()[1:])
        await d.press("z", "slash")
        assert isinstance(d.app.screen, FilterPrompt)
        await d.press(*"redirected", "enter")
        rows = d.text("#batch-log").splitlines()
        assert "/redirected/" in rows[0]
        assert len(rows) > 2
        assert all("redirected" in row for row in rows[1:])


async def test_a_filter_can_be_inverted_and_a_wrong_one_is_told() -> None:
    async with driving() as d:
        await d.press("2", "slash", "left_parenthesis", "enter")
        await d.settle(0.1)
        assert "not a regular expression" in d.text()
        await d.press("backspace", "exclamation_mark", *"entries", "enter")
        assert "no match for /!entries/" in d.text("#batch-log")


@pytest.mark.parametrize(
    ("page", "log", "shown", "hidden"),
    [("2", "#batch-log", "F2 .* entries", "flow="), ("2", "#batch-log", "1 node|3 nodes", "result="),
     ("3", "#event-log", "F2 .*READONLY", "warning retry flow=2")],
)  # fmt: skip
async def test_a_filter_looks_for_what_is_on_the_screen(page: str, log: str, shown: str, hidden: str) -> None:
    async with driving() as d:
        await d.press(page)
        found = d.app.frame.query_one(log, RecordLog)
        found.set_filter(RecordFilter(text=shown))
        await d.pilot.pause()
        rows = d.text(log).splitlines()[1:]
        assert rows
        assert all(re.search(shown, row) for row in rows)
        found.set_filter(RecordFilter(text=hidden))
        await d.pilot.pause()
        assert "no match for" in d.text(log)


async def test_a_filter_finds_the_end_of_a_line_that_is_cut() -> None:
    async with driving(size=(80, 24)) as d:
        await d.press("3")
        log = d.app.frame.query_one("#event-log", RecordLog)
        log.set_filter(RecordFilter(text="attempt 1$"))
        await d.pilot.pause()
        assert "READONLY" in d.text("#event-log")


async def test_a_filter_follows_the_size_of_the_screen() -> None:
    async with driving(size=(80, 24)) as d:
        await d.press("2")
        log = d.app.frame.query_one("#batch-log", RecordLog)
        log.set_filter(RecordFilter(text="3 nodes"))
        await d.pilot.pause()
        assert "no match for" in d.text("#batch-log")
        await d.pilot.resize_terminal(120, 40)
        await d.settle(0.2)
        assert "3 nodes" in d.text("#batch-log").splitlines()[1]


async def test_a_filter_key_elsewhere_says_where_it_belongs() -> None:
    async with driving() as d:
        await d.press("x")
        assert "it belongs to the screen batches" in d.messages()


async def test_themes_and_characters_are_switched_live() -> None:
    async with driving() as d:
        names = d.app.theme_names
        for _ in names:
            await d.press("T")
            await d.settle(0.05)
        assert d.app.theme == "dark"
        await d.press("c", "c")
        await d.settle(0.1)
        assert d.app.glyphs.name == "ascii"
        assert d.text("FlowPanel").isascii()


async def test_copying_goes_to_the_terminal() -> None:
    async with driving() as d:
        await d.press("right", "y")
        assert d.app.clipboard.startswith("FLOW 1 stable sync: channel")
        await d.press("2", "y")
        assert "result=" in d.app.clipboard
        await d.press("4", "y")
        assert "hash field TTL" in d.app.clipboard
        assert base64.b64encode(d.app.clipboard.encode())


async def test_a_screenshot_goes_to_the_chosen_directory(tmp_path: Path) -> None:
    async with driving(screenshot_dir=tmp_path / "pictures") as d:
        await d.press("S")
        (picture,) = (tmp_path / "pictures").glob("df2redis-tui_*.svg")
        assert "STABLE" in picture.read_text().replace("&#160;", " ")
        assert str(tmp_path) in d.messages()


async def test_a_screenshot_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with driving(screenshot_dir=tmp_path / "file") as d:
        await d.press("S")
        assert "can't be written" in d.messages()


async def test_the_palette_finds_actions_and_themes() -> None:
    async with driving() as d:
        await d.press("ctrl+p")
        await d.settle(0.3)
        await d.press(*"larger batches")
        await d.settle(0.5)
        await d.press("enter")
        await d.settle(0.6)
        assert d.engine.knobs.batch_size == 2500
        await d.press("colon")
        await d.settle(0.3)
        await d.press(*"theme: light")
        await d.settle(0.5)
        await d.press("enter")
        await d.settle(0.3)
        assert d.app.theme == "light"


async def test_quit_drains_and_a_second_press_ends_it_now() -> None:
    engine = FakeEngine(moving=False, start_at=90, stop_takes=60)
    async with driving(engine) as d:
        await d.press("q")
        assert isinstance(d.app.screen, DrainDialog)
        await d.settle(0.1)
        assert "once more leaves now" in d.text()
        assert engine.stops == [30.0]
        await d.press("q")
        assert engine.stops == [30.0, 0]


async def test_quit_leaves_at_once_when_the_run_has_ended() -> None:
    engine = FakeEngine(moving=False, start_at=90)
    async with driving(engine) as d:
        engine.finish()
        await d.look()
        await d.app.run_ended()
        await d.settle(0.1)
        assert d.app.screen_name == "report"
        assert "leaves" in d.text()
        await d.press("q")
        assert engine.stops == []
        assert d.app._exit


async def test_the_end_shows_what_failed_and_what_to_do() -> None:
    engine = FakeEngine(moving=False, start_at=90, end=(Phase.FAILED, 4, "target answered OOM · FLOW 3 batch #41"))
    async with driving(engine) as d:
        engine.finish()
        d.app.sample()
        await d.app.run_ended()
        await d.settle(0.1)
        text = d.text()
        assert "target answered OOM" in text
        assert "run the same command again to resume" in text


async def test_read_only_mode_refuses_every_action_that_changes_the_engine() -> None:
    engine = FakeEngine(moving=False, start_at=90)
    async with driving(engine, read_only=True) as d:
        assert "READ-ONLY" in d.text("StatusLine")
        for action in ACTIONS:
            if action.mutates:
                await d.app.run_action_id(action.id)
                assert d.app.screen is d.app.frame
        await d.settle()
        assert engine.requests == []
        assert not engine.paused
        assert "read-only mode" in d.messages()


async def test_every_action_that_reaches_the_engine_is_marked() -> None:
    """Do everything that isn't marked as changing the engine: the engine must not notice."""
    engine = FakeEngine(moving=False, start_at=90)
    async with driving(engine) as d:
        for action in ACTIONS:
            if not action.mutates and action.id not in ("quit", "screenshot"):
                await d.app.run_action_id(action.id)
                await d.settle(0.05)
                while d.app.screen is not d.app.frame:
                    d.app.pop_screen()
        assert engine.requests == []
        assert not engine.paused
        assert engine.stops == []


async def test_an_action_that_is_not_possible_says_why() -> None:
    ended = make_snapshot(60, phase=Phase.DONE, exit_code=0)
    assert disabled_reason(BY_ID["pause"], ended, "overview", False) == "the run has ended"
    empty = make_snapshot(0, phase=Phase.CONNECTING, flows=0)
    assert disabled_reason(BY_ID["flow"], empty, "overview", False) == "there is no FLOW yet"


async def test_a_click_on_a_key_does_what_the_key_does() -> None:
    async with driving() as d:
        bar = d.text("KeyBar")
        await d.pilot.click("KeyBar", offset=(bar.index("batches") + 1, 0))
        await d.settle(0.1)
        assert d.app.screen_name == "batches"


async def test_clicks_select_and_open_flows() -> None:
    async with driving() as d:
        await d.pilot.click("#flow-4")
        assert d.app.state.selected == 4
        await d.pilot.click("#flow-4", times=2)
        await d.settle(0.1)
        assert d.app.screen_name == "flow"


async def test_the_readme_table_names_every_action() -> None:
    table = key_table()
    assert all(f"`{action.id}`" in table for action in ACTIONS)
