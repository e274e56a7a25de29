"""A few pictures of the application that must not change by accident. `pytest --snapshot-update` takes them anew."""

from __future__ import annotations

from typing import Any

import pytest

from df2redis_tui.telemetry.snapshot import Phase

from .drive import make_app
from .fake_engine import FakeEngine

SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x60": (200, 60)}


def engine(**changes: Any) -> FakeEngine:
    return FakeEngine(**{"flows": 8, "moving": False, "start_at": 90, **changes})


@pytest.mark.parametrize("size", SIZES)
def test_overview(snap_compare: Any, size: str) -> None:
    assert snap_compare(make_app(engine()), terminal_size=SIZES[size])


@pytest.mark.parametrize("size", SIZES)
def test_overview_light_in_a_full_sync(snap_compare: Any, size: str) -> None:
    full = engine(flows=16, script=((Phase.FULL_SYNC, 1e9),), loaded=(0, 2, 5))
    assert snap_compare(make_app(full, theme="light"), terminal_size=SIZES[size])


def test_overview_ascii(snap_compare: Any) -> None:
    assert snap_compare(make_app(engine(), glyphs="ascii"), terminal_size=SIZES["120x40"])


def test_overview_without_colors(snap_compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(make_app(engine(), theme=None), terminal_size=SIZES["120x40"])


def test_overview_blue_and_orange(snap_compare: Any) -> None:
    assert snap_compare(make_app(engine(flows=4), theme="blue-orange"), terminal_size=SIZES["120x40"])


@pytest.mark.parametrize("key", ["2", "3", "4", "5", "enter", "question_mark"])
def test_pages(snap_compare: Any, key: str) -> None:
    assert snap_compare(make_app(engine()), terminal_size=SIZES["120x40"], press=[key])


def test_paused_and_frozen(snap_compare: Any) -> None:
    assert snap_compare(make_app(engine()), terminal_size=SIZES["80x24"], press=["p", "space"])


def test_too_small(snap_compare: Any) -> None:
    assert snap_compare(make_app(engine()), terminal_size=(52, 14))
