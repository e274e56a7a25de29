"""The front end without screens: a live status on a terminal, status lines or NDJSON without one, a report at the end.

Never imports textual, so that `--no-ui` starts fast and runs where Textual can't.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import IO

from rich.console import Console
from rich.live import Live

from df2redis_tui.replication.handle import EngineHandle
from df2redis_tui.settings import Settings
from df2redis_tui.telemetry.closing import close_run
from df2redis_tui.telemetry.glyphs import Glyphs, choose
from df2redis_tui.telemetry.live import live_text
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Phase
from df2redis_tui.telemetry.view_status import plain_status, status_view

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30.0
STEP = 0.1  # seconds between two looks at the flags a signal handler sets


class Stdout:
    """Standard output that may die (a closed pipe, a terminal gone): then it is silent, and the replication goes on."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream

    @property
    def alive(self) -> bool:
        return self._stream is not None

    def line(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except UnicodeEncodeError:
            self._stream.write(text.encode("ascii", "replace").decode() + "\n")
        except (OSError, ValueError):
            self.abandon()

    def abandon(self) -> None:
        """Give the stream up; its descriptor points to /dev/null from now on, so that nobody else trips over it."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        log.warning("standard output is gone, the replication goes on")
        silence(stream)


def silence(stream: IO[str]) -> None:
    """Point a stream's descriptor to /dev/null."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class Signals:
    """SIGINT and SIGTERM ask for an orderly end, a second one for the end now; SIGHUP gives up the terminal only.

    The handlers only set flags and call the engine's facade, which returns at once.
    """

    def __init__(self, engine: EngineHandle, terminal: bool, say: Callable[[str], None]) -> None:
        self.engine = engine
        self.terminal = terminal
        self.say = say
        self.stopped_by: int | None = None
        self.detached = False
        self.notices: list[str] = []

    def stop(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.stopped_by is None:
            self.stopped_by = number
            self.engine.request_stop(DRAIN_SECONDS)
            self.notices.append(f"{name}: draining, at most {DRAIN_SECONDS:.0f} s; once more ends it now")
        else:
            self.engine.request_stop(0)
            self.notices.append(f"{name}: ending now")

    def hangup(self, number: int, frame: FrameType | None) -> None:
        if not self.detached:
            self.detached = True
            self.notices.append("SIGHUP: the terminal is gone" if self.terminal else "SIGHUP: ignored")

    def speak(self) -> None:
        """Say what has happened since, outside the handlers."""
        while self.notices:
            text = self.notices.pop(0)
            log.warning(text)
            self.say(text)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handlers in force inside; only the main thread may have them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        wanted: dict[int, Callable[[int, FrameType | None], None]] = {
            signal.SIGINT: self.stop,
            signal.SIGTERM: self.stop,
        }
        if hasattr(signal, "SIGHUP"):
            wanted[signal.SIGHUP] = self.hangup
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(engine: EngineHandle, settings: Settings) -> int:
    """Start the engine, show where it stands until it ends, print the report; returns the exit code."""
    terminal = sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    json_lines = settings.log_format == "json"
    glyphs = choose(settings.glyphs)
    out = Stdout(sys.stdout)
    signals = Signals(engine, terminal, (lambda text: None) if json_lines else out.line)
    with signals.installed():
        engine.start()
        if json_lines:
            _follow(engine, signals, settings.status_interval, lambda snap: out.line(json.dumps(snap.as_json())))
        elif terminal:
            _live(engine, settings, signals, out, glyphs)
        if not json_lines and not engine.done:
            last = [""]
            _follow(engine, signals, settings.status_interval, lambda snap: _status(snap, out, glyphs, last))
        signals.speak()
        snap = engine.snapshot()
        if json_lines:
            out.line(json.dumps(snap.as_json()))
        elif not terminal:
            _status(snap, out, glyphs, [""])
        return close_run(snap, settings, None if json_lines else out.line, signals.stopped_by)


def _status(snap: EngineSnapshot, out: Stdout, glyphs: Glyphs, last: list[str]) -> None:
    """A status line; a session where nothing changes is told about once a minute only."""
    text = plain_status(status_view(snap, glyphs), glyphs)
    if text != last[0] or int(snap.at) % 60 == 0:
        last[0] = text
        out.line(f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.localtime(snap.at))} {text}")


def _follow(engine: EngineHandle, signals: Signals, interval: float, show: Callable[[EngineSnapshot], None]) -> None:
    """Call `show` every `interval` seconds, and at once on a new phase, until the engine ends."""
    due = 0.0
    phase: Phase | None = None
    while not engine.wait(STEP):
        signals.speak()
        snap = engine.snapshot()
        if snap.phase is not phase or time.monotonic() >= due:
            phase = snap.phase
            due = time.monotonic() + interval
            show(snap)


def _live(engine: EngineHandle, settings: Settings, signals: Signals, out: Stdout, glyphs: Glyphs) -> None:
    """A block of lines redrawn in place; returns when the engine ends or the terminal goes away."""
    color = {"none": None, "16": "standard", "256": "256", "truecolor": "truecolor"}.get(settings.color, "auto")
    console = Console(highlight=False, markup=False, color_system=color, no_color=True if color is None else None)  # type: ignore[arg-type]
    due = 0.0
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            signals.say = live.console.print
            while not engine.wait(STEP):
                signals.speak()
                if signals.detached or not os.isatty(1):
                    break
                if time.monotonic() >= due:
                    due = time.monotonic() + max(settings.refresh, 0.25)
                    text = live_text(engine.snapshot(), console.width, max(1, console.height - 3), glyphs)
                    live.update(text, refresh=True)
    except (OSError, ValueError):
        signals.detached = True
    signals.say = out.line
    if signals.detached or not os.isatty(1):
        out.abandon()
        silence(sys.stderr)
        log.warning("the terminal is gone, the replication goes on without it (pid %d, SIGTERM ends it)", os.getpid())
