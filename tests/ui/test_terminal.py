"""The application in a real pseudo-terminal: keys, signals, a terminal that stops reading, one that goes away."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from .pseudo_terminal import Terminal

ROOT = Path(__file__).parents[2]
LEFT_ALTERNATE_SCREEN = "\x1b[?1049l"


class FakeRun(Terminal):
    """The application over the fake engine."""

    def __init__(self, tmp_path: Path, engine: dict[str, Any], settings: dict[str, Any], **options: Any) -> None:
        self.beats_file = tmp_path / "beats"
        log = tmp_path / "replicate.log"
        everything = {
            "engine": {"flows": 4, **engine},
            "settings": {"glyphs": "unicode", "status_interval": 0.5, **settings},
            "log": str(log),
            "beats": str(self.beats_file),
            **options,
        }
        super().__init__([sys.executable, "-m", "tests.ui.program", "tui", json.dumps(everything)], ROOT, log)

    def beats(self) -> int:
        """How often the engine's loop has turned, as written by a thread of the program."""
        lines = self.beats_file.read_text().splitlines()
        return int(lines[-1].split()[1])


@contextmanager
def terminal(
    tmp_path: Path, engine: dict[str, Any] | None = None, settings: dict[str, Any] | None = None, **options: Any
) -> Iterator[FakeRun]:
    it = FakeRun(tmp_path, engine or {}, settings or {}, **options)
    try:
        yield it
    finally:
        it.end()


def started(it: FakeRun) -> None:
    it.see("quit")
    assert "STABLE" in it.seen or "FULL" in it.seen
    it.read(0.5)


def test_quit_drains_and_leaves_a_report_and_a_restored_terminal(tmp_path: Path) -> None:
    with terminal(tmp_path) as it:
        started(it)
        it.key("q")
        assert it.wait() == 0
        assert it.restored()
        after = it.seen.rsplit(LEFT_ALTERNATE_SCREEN, 1)[1]
        assert "in the full sync" in after
        assert "stops=[30.0]" in it.log.read_text()


def test_quit_twice_ends_it_now(tmp_path: Path) -> None:
    with terminal(tmp_path, {"stop_takes": 60}) as it:
        started(it)
        it.key("q")
        it.see("Draining")
        began = time.monotonic()
        it.key("q")
        it.wait()
        assert time.monotonic() - began < 5
        assert it.restored()
        assert "stops=[30.0, 0]" in it.log.read_text()


@pytest.mark.parametrize("how", ["q", "SIGTERM", "three SIGTERM"])
def test_an_engine_that_never_ends_does_not_keep_the_terminal(tmp_path: Path, how: str) -> None:
    with terminal(tmp_path, {"deaf": True}, deadlines=[1.0, 1.0]) as it:
        started(it)
        if how == "q":
            it.key("q")
        else:
            for _ in range(3 if how.startswith("three") else 1):
                it.process.send_signal(signal.SIGTERM)
        assert it.wait(20) == 7
        assert it.restored()
        assert "ended by force with exit code 7" in it.log.read_text()


def test_quit_before_everything_is_there_says_so(tmp_path: Path) -> None:
    with terminal(tmp_path, {"end": ["done", 6, ""]}) as it:
        started(it)
        it.key("q")
        assert it.wait() == 6
        after = it.seen.rsplit(LEFT_ALTERNATE_SCREEN, 1)[1]
        assert "interrupted: 14,001 of ~30,203 keys" in after
        assert "everything was copied" not in after


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_drains_and_restores_the_terminal(tmp_path: Path, number: int, code: int) -> None:
    with terminal(tmp_path, {"end": ["done", 6, ""]}) as it:
        started(it)
        it.process.send_signal(number)
        assert it.wait() == code
        assert it.restored()
        assert "stops=[30.0]" in it.log.read_text()


def test_a_second_signal_ends_it_now(tmp_path: Path) -> None:
    with terminal(tmp_path, {"stop_takes": 60, "end": ["done", 7, ""]}) as it:
        started(it)
        it.process.send_signal(signal.SIGTERM)
        it.see("Draining")
        it.process.send_signal(signal.SIGTERM)
        assert it.wait(10) == 7
        assert "stops=[30.0, 0]" in it.log.read_text()


def test_hangup_detaches_and_the_replication_goes_on(tmp_path: Path) -> None:
    with terminal(tmp_path) as it:
        started(it)
        it.let_go()  # the kernel sends SIGHUP to the session
        time.sleep(2.0)
        before = it.beats()
        time.sleep(1.5)
        assert it.process.poll() is None
        assert it.beats() > before
        assert "the terminal is gone, the replication goes on without it" in it.log.read_text()
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(15) == 0
        text = it.log.read_text()
        assert "stops=[30.0]" in text
        assert re.search(r"stable sync · lag", text)  # the status, in the log


def test_a_detached_run_costs_next_to_nothing(tmp_path: Path) -> None:
    """A terminal that vanished without SIGHUP must not leave Textual's input thread spinning on its end of file."""
    with terminal(tmp_path) as it:
        started(it)
        it.process.send_signal(signal.SIGHUP)
        it.let_go()
        time.sleep(2.0)
        before = _cpu(it.process.pid)
        time.sleep(2.0)
        assert _cpu(it.process.pid) - before < 0.6


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_terminal_that_stops_reading_does_not_stop_the_engine(tmp_path: Path) -> None:
    """Nothing is read for 20 s: far longer than Textual's queue lasts. The engine beats on, SIGTERM still ends it."""
    with terminal(tmp_path, {"flows": 16, "every": 0.05}, {"refresh": 0.1}) as it:
        started(it)
        time.sleep(4.0)
        counts = []
        for _ in range(8):
            counts.append(it.beats())
            time.sleep(2.0)
        turns = [after - before for before, after in pairwise(counts)]
        assert min(turns) > 10, turns
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(20) == 0  # still nobody reads
        assert "stops=[30.0]" in it.log.read_text() or "the run has ended" in it.log.read_text()
        assert termios.tcgetattr(it.side)[:4] == it.attributes[:4]


def test_a_display_that_fails_leaves_the_replication_running(tmp_path: Path) -> None:
    with terminal(tmp_path, crash_after=2.0) as it:
        started(it)
        it.see("the display failed")
        assert "the display failed (RuntimeError, see the log); the replication goes on without it" in it.seen
        assert "Traceback" not in it.seen
        it.see("stable sync")
        before = it.beats()
        time.sleep(1.0)
        assert it.beats() > before
        it.process.send_signal(signal.SIGTERM)
        assert it.wait() == 0


def test_the_end_of_the_run_shows_the_report_until_a_key(tmp_path: Path) -> None:
    script = [["full sync", 1.5], ["done", 99]]
    with terminal(tmp_path, {"script": script, "start_at": 90, "loaded": ()}) as it:
        it.see("everything was copied")
        assert "everything was copied" in it.seen
        assert it.process.poll() is None
        it.key("q")
        assert it.wait() == 0


def test_a_small_terminal_is_told_what_is_needed(tmp_path: Path) -> None:
    with terminal(tmp_path) as it:
        started(it)
        it.resize(52, 14)
        it.see("need 60x18, have 52x14")
        assert "need 60x18, have 52x14" in it.seen
        it.seen = ""
        it.resize(80, 24)
        it.see("STABLE SYNC")
        assert "STABLE SYNC" in it.seen


def test_no_mouse_leaves_the_mouse_to_the_terminal(tmp_path: Path) -> None:
    with terminal(tmp_path, settings={"mouse": False}) as it:
        started(it)
        assert "\x1b[?1003h" not in it.seen
        it.key("q")
        it.wait()


def test_no_color_sends_no_colors(tmp_path: Path) -> None:
    with terminal(tmp_path, settings={"color": "none"}) as it:
        started(it)
        codes = {c for found in re.findall(r"\x1b\[([\d;]*)m", it.seen) for c in found.split(";")}
        attributes, defaults = {"", "0", "1", "2", "3", "4", "7", "9", "22", "23", "24", "27", "29"}, {"39", "49"}
        assert codes <= attributes | defaults, codes
        it.key("q")
        it.wait()
