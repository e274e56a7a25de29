"""Ctrl-Z: the source is let go before the process stops, and followed again afterwards."""

from __future__ import annotations

import signal

import pytest

from df2redis_tui.suspending import Suspension

from .drive import driving
from .fake_engine import FakeEngine


class Stopping(Suspension):
    """Notes what the source sees where the process would stop."""

    def __init__(self, engine: FakeEngine) -> None:
        super().__init__(engine)
        self.attached_when_stopped: list[bool] = []
        self.fake = engine

    def stop(self) -> None:
        self.attached_when_stopped.append(self.fake.attached)


def test_the_handler_of_the_signal_only_sets_a_flag() -> None:
    engine = FakeEngine()
    suspension = Stopping(engine)
    with suspension.installed():
        signal.raise_signal(signal.SIGTSTP)
    assert suspension.asked
    assert engine.attached
    assert suspension.attached_when_stopped == []


def test_the_terminal_is_given_back_between_source_and_stop() -> None:
    engine = FakeEngine()
    suspension = Stopping(engine)
    suspension.act()
    assert suspension.attached_when_stopped == []
    suspension.ask()
    seen: list[object] = []
    suspension.act(
        lambda: seen.append(("left", engine.attached)), lambda: seen.append(("back", suspension.attached_when_stopped))
    )
    assert seen == [("left", False), ("back", [False])]
    assert engine.attached
    assert not suspension.asked


@pytest.mark.asyncio
async def test_the_key_asks_for_it() -> None:
    async with driving() as d:
        assert not d.app.suspension.asked
        await d.pilot.press("ctrl+z")
        assert d.app.suspension.asked
