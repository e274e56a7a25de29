"""A signal handler only notes what came: it may have interrupted whoever holds a lock that it would need."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from df2redis_tui.watching import Signals

from .fake_engine import FakeEngine
from .test_terminal import started, terminal


class Told:
    def __init__(self) -> None:
        self.engine = FakeEngine(moving=False)
        self.texts: list[str] = []
        self.signals = Signals(self.engine, self.texts.append)

    def come(self, *numbers: int) -> None:
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0)  # Python runs the handler now


def test_nothing_happens_in_the_handler(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    with told.signals.installed():
        told.come(signal.SIGTERM, signal.SIGHUP)
    assert (told.engine.stops, told.texts, caplog.records) == ([], [], [])
    assert not told.signals.detached


def test_the_loop_acts_on_what_came() -> None:
    told = Told()
    with told.signals.installed():
        told.come(signal.SIGTERM)
        told.signals.act()
        told.signals.act()
        assert told.engine.stops == [30.0]
        told.come(signal.SIGTERM)
        told.signals.act()
    assert told.engine.stops == [30.0, 0]
    assert [text.partition(":")[0] for text in told.texts] == ["SIGTERM", "SIGTERM"]


def test_the_exit_code_knows_a_signal_that_nobody_had_time_to_act_on() -> None:
    told = Told()
    with told.signals.installed():
        told.come(signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    assert told.signals.stopped_by == signal.SIGINT


@pytest.mark.parametrize("signals", [1, 3])
def test_signals_under_load_leave_the_terminal_as_it_was(tmp_path: Path, signals: int) -> None:
    with terminal(tmp_path, {"busy": True, "stop_takes": 1.0}) as it:
        started(it)
        for _ in range(signals):
            it.process.send_signal(signal.SIGTERM)
        assert it.wait(30) == 0
        assert it.restored()
        for text in (it.seen, it.log.read_text()):
            assert "NoActiveApp" not in text
            assert "Traceback" not in text
        assert "stops=[30.0" in it.log.read_text()


def test_a_signal_before_the_first_picture_is_not_lost(tmp_path: Path) -> None:
    with terminal(tmp_path) as it:
        it.see("\x1b[?1049h")
        it.process.send_signal(signal.SIGTERM)
        assert it.wait(30) == 0
        assert it.restored()
