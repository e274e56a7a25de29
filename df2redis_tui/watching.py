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
from df2redis_tui.telemetry.closing import exit_code
from df2redis_tui.telemetry.glyphs import ASCII, UNICODE, Glyphs
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Phase
from df2redis_tui.telemetry.view_status import plain_status, status_view
from df2redis_tui.watchdog import Watchdog

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30.0
GRACE = 5.0  # seconds behind a deadline for the end to come; then the process is ended from outside of what hangs
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
ASK_STATE = (signal.SIGUSR1, signal.SIGUSR2)
IGNORED = (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF)
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
    """SIGINT, SIGTERM and SIGQUIT ask for an orderly end, a second one for the end now; SIGHUP gives up the terminal
    only; SIGUSR1 and SIGUSR2 write the state to the log. Others that would end the process are said and ignored.

    The handlers only note what came: one may interrupt this thread while it holds a lock that logging or the engine
    needs. Whoever loops calls `act`. `hung_up` is called in the handler, so it must take no lock. `restore` is called
    when the process is ended because its end does not come.
    """

    def __init__(
        self,
        engine: EngineHandle,
        say: Callable[[str], None],
        hung_up: Callable[[], None] | None = None,
        restore: Callable[[], None] = lambda: None,
    ) -> None:
        self.engine = engine
        self.say = say
        self.suspension = Suspension(engine)
        self.detached = False
        self._hung_up = hung_up
        self._restore = restore
        self._came: list[tuple[int, float]] = []  # and when (monotonic)
        self._asked: list[float] = []  # when something else asked for the end
        self._acted = 0  # upon so many of them
        self._stops = 0

    @property
    def stopped_by(self) -> int | None:
        """The first signal that asked for the end."""
        return next((number for number, _ in self._came if number in STOPS), None)

    def ends_by(self) -> float | None:
        """When the process must have ended (monotonic); None = nobody has asked for that."""
        stops = sorted([at for number, at in self._came if number in STOPS] + self._asked)
        if not stops:
            return None
        return min([stops[0] + DRAIN_SECONDS, *stops[1:2]]) + GRACE

    def asked_to_stop(self) -> None:
        """As a signal would, a key has asked for the end."""
        self._asked.append(time.monotonic())

    def act(self) -> None:
        """Do what the signals since the last call ask for, and say so."""
        while self._acted < len(self._came):
            number = self._came[self._acted][0]
            self._acted += 1
            name = signal.Signals(number).name
            if number == signal.SIGHUP:
                self.hangup()
            elif number in STOPS:
                self._stop(name)
            elif number in ASK_STATE:
                log_state(self.engine.snapshot())
            else:
                log.warning("%s came, it means nothing here and is ignored", name)

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
        self._came.append((number, time.monotonic()))
        if number == signal.SIGHUP and self._hung_up is not None:
            self._hung_up()

    def _overdue(self) -> tuple[int, str]:
        """The end does not come: what the process ends with, and why. Complete is only what the engine said is."""
        code = exit_code(self.engine.snapshot(), self.stopped_by)
        with contextlib.suppress(Exception):
            self._restore()
        what = "the run has ended, but not this program" if self.engine.done else "something in it hangs"
        return code, f"df2redis-tui: not ended in time ({what}): ended by force with exit code {code}"

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handlers in force inside; only the main thread can have them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handled = (*STOPS, signal.SIGHUP, *ASK_STATE, *IGNORED)
        before = {number: signal.signal(number, self._note) for number in handled}
        watchdog = Watchdog(self.ends_by, self._overdue)
        watchdog.start()
        try:
            with self.suspension.installed():
                yield
        finally:
            watchdog.call_off()
            for number, handler in before.items():
                signal.signal(number, handler)


def log_state(snap: EngineSnapshot) -> None:
    """How things stand, one line for the run and one for each FLOW."""
    log.info("State: %s", plain_status(status_view(snap, ASCII), ASCII))
    for flow in snap.flows:
        fields = {
            "flow": flow.flow,
            "phase": flow.phase.value,
            "health": flow.health.value,
            "channel": flow.channel_fill,
            "in_flight": flow.in_flight,
            "confirmed_lsn": flow.lsn_confirmed,
            "lag_records": flow.lag_records,
            "reader_stalled": flow.reader_stalled,
        }
        log.info("State", extra={"fields": fields})


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
