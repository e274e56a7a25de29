"""Watching an engine without a screen: the output that may die, the signals, the loop until the end.

Used by the headless front end, and by the application when its terminal has gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import IO

from df2redis_tui.masking import masked
from df2redis_tui.replication.handle import EngineHandle
from df2redis_tui.suspending import Suspension
from df2redis_tui.telemetry.glyphs import UNICODE, Glyphs
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Phase
from df2redis_tui.telemetry.view_status import plain_status, status_view

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30.0
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STEP = 0.1  # seconds between two looks at the flags a signal handler sets
QUIET_SECONDS = 60.0  # an unchanged status is told about this often


class Output:
    """Standard output that may die (a closed pipe, a terminal gone): then it is silent, and the replication goes on."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream

    def line(self, text: str) -> None:
        if self._stream is None:
            return
        text = masked(text)
        try:
            try:
                self._stream.write(text + "\n")
            except UnicodeEncodeError:
                self._stream.write(text.encode("ascii", "replace").decode() + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self.abandon()

    def abandon(self) -> None:
        """Give the stream up; its descriptor points to /dev/null from now on, so that nobody else trips over it."""
        stream, self._stream = self._stream, None
        if stream is not None:
            log.warning("standard output is gone, the replication goes on")
            silence(stream)


def silence(stream: IO[str] | None) -> None:
    """Point a stream's descriptor to /dev/null."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, stream.fileno())  # type: ignore[union-attr]
        os.close(null)


class Signals:
    """SIGINT and SIGTERM ask for an orderly end, a second one for the end now; SIGHUP gives up the terminal only.

    The handlers only note what came: one may interrupt this thread while it holds a lock that logging or the engine
    needs. Whoever loops calls `act`. `hung_up` is called in the handler, so it must take no lock.
    """

    def __init__(
        self, engine: EngineHandle, say: Callable[[str], None], hung_up: Callable[[], None] | None = None
    ) -> None:
        self.engine = engine
        self.say = say
        self.suspension = Suspension(engine)
        self.detached = False
        self._hung_up = hung_up
        self._came: list[int] = []
        self._acted = 0  # upon so many of them
        self._stops = 0

    @property
    def stopped_by(self) -> int | None:
        """The first signal that asked for the end."""
        return next((number for number in self._came if number != signal.SIGHUP), None)

    def act(self) -> None:
        """Do what the signals since the last call ask for, and say so."""
        while self._acted < len(self._came):
            number = self._came[self._acted]
            self._acted += 1
            if number == signal.SIGHUP:
                self.hangup()
            else:
                self._stop(signal.Signals(number).name)

    def hangup(self) -> None:
        """The terminal has gone."""
        if not self.detached:
            self.detached = True
            self._tell(f"the terminal is gone, the replication goes on without it (pid {os.getpid()}, SIGTERM ends it)")

    def _stop(self, name: str) -> None:
        self._stops += 1
        if self._stops == 1:
            self.engine.request_stop(DRAIN_SECONDS)
            self._tell(f"{name}: draining, at most {DRAIN_SECONDS:.0f} s; once more ends it now")
        else:
            self.engine.request_stop(0)
            self._tell(f"{name}: ending now")

    def _tell(self, text: str) -> None:
        log.warning(text)
        self.say(text)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append(number)
        if number == signal.SIGHUP and self._hung_up is not None:
            self._hung_up()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handlers in force inside; only the main thread can have them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in HANDLED}
        try:
            with self.suspension.installed():
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def follow(engine: EngineHandle, signals: Signals, interval: float, show: Callable[[EngineSnapshot], None]) -> None:
    """Call `show` every `interval` seconds, and at once on a new phase, until the engine ends."""
    due = 0.0
    phase: Phase | None = None
    while not engine.wait(STEP):
        signals.act()
        signals.suspension.act()
        snap = engine.snapshot()
        if snap.phase is not phase or time.monotonic() >= due:
            phase = snap.phase
            due = time.monotonic() + interval
            show(snap)
    signals.act()


class Turns:
    """Where a run begins: what is wrong with source or target, that it resumes, or why it can't, each once."""

    def __init__(self) -> None:
        self._seen = 0

    def __call__(self, snap: EngineSnapshot) -> list[str]:
        new = [event for event in snap.events if event.seq > self._seen]
        self._seen = max((event.seq for event in new), default=self._seen)
        return [event.text for event in new if event.kind in ("source", "target", "resume")]


class StatusLines:
    """A status line with its time; one that says nothing new comes once a minute only."""

    def __init__(self, say: Callable[[str], None], glyphs: Glyphs = UNICODE, *, stamped: bool = True) -> None:
        self._say = say
        self._glyphs = glyphs
        self._stamped = stamped
        self._last = ""
        self._told = 0.0
        self._turns = Turns()

    def __call__(self, snap: EngineSnapshot) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S ", time.localtime(snap.at)) if self._stamped else ""
        for turn in self._turns(snap):
            self._say(stamp + turn)
        text = plain_status(status_view(snap, self._glyphs), self._glyphs)
        if text == self._last and time.monotonic() - self._told < QUIET_SECONDS:
            return
        self._last, self._told = text, time.monotonic()
        self._say(stamp + text)
