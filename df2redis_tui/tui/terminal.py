"""The terminal under the application: signals, a terminal that goes away, one that stops reading.

Textual's loop stands still while a terminal doesn't read (its writer's queue is short), so nothing here depends on that
loop: a guarding thread acts on signals, and ends the process when the loop can't.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from df2redis_tui.replication.handle import EngineHandle
from df2redis_tui.settings import Settings
from df2redis_tui.telemetry.closing import close_run
from df2redis_tui.watching import Signals, StatusLines, follow, silence

if TYPE_CHECKING:
    from df2redis_tui.tui.application import ReplicationApp

log = logging.getLogger(__name__)

WATCH_SECONDS = 5.0  # between two looks at whether the terminal is still there
LEAVE_SECONDS = 4.0  # the loop has this long to end the application before the guard does without it

# Leave the alternate screen, show the cursor, end mouse, paste and focus reports and the Kitty keyboard.
RESTORE = (
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1004l\x1b[?2004l\x1b[<u\x1b[?7h\x1b[?1049l\x1b[?25h"
)


def terminal_alive() -> bool:
    """Whether standard input is a terminal that somebody holds; a hung-up one answers no request."""
    try:
        termios.tcgetattr(0)
    except (termios.error, OSError, ValueError):
        return False
    return True


class TerminalGuard:
    """Watches over one application: `installed` around its run."""

    def __init__(self, engine: EngineHandle, settings: Settings) -> None:
        self.engine = engine
        self.settings = settings
        self.app: ReplicationApp | None = None
        self.signals = Signals(engine, lambda text: None, self._silence_screen, self.restore)
        self._null = os.open(os.devnull, os.O_RDWR)
        self._left = threading.Event()  # the application's run has returned
        self._attributes: list[Any] | None = None

    @contextlib.contextmanager
    def installed(self, app: ReplicationApp) -> Iterator[None]:
        """Signal handlers, the watch over the terminal, and the guard, while the application runs."""
        self.app = app
        app.signals = self.signals
        with contextlib.suppress(termios.error, OSError):
            self._attributes = termios.tcgetattr(0)
        awake, wake = os.pipe()
        for end in (awake, wake):
            os.set_blocking(end, False)
        guarding = threading.Thread(target=self._guard, args=(awake,), name="terminal-guard", daemon=True)
        guarding.start()
        with self.signals.installed():
            before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
            try:
                yield
            finally:
                signal.set_wakeup_fd(before)
                self._left.set()
                os.close(wake)  # ends the guard's wait
                guarding.join()
                os.close(awake)

    def _silence_screen(self) -> None:
        """Called in the signal handler: the next write would fail, and a display that can't write blocks on its own.

        The kernel sends SIGCONT behind SIGHUP, upon which the display writes.
        """
        for descriptor in (1, 2):
            os.dup2(self._null, descriptor)

    def _guard(self, awake: int) -> None:
        """Act on signals; notice a terminal that has gone, and an application that can't leave."""
        looked = time.monotonic()
        leaving: float | None = None
        while True:
            if select.select([awake], [], [], 0.5)[0]:
                os.read(awake, 64)
            if self._left.is_set():
                return
            self.signals.act()
            now = time.monotonic()
            if now - looked >= WATCH_SECONDS and not self.signals.detached:
                looked = now
                if not terminal_alive():
                    self.signals.hangup()
                    self._silence_screen()
            asked = self.signals.stopped_by is not None or (self.app is not None and self.app.stopping)
            if self.signals.detached or (asked and self.engine.done):
                leaving = now if leaving is None else leaving
                if now - leaving > LEAVE_SECONDS:
                    self._leave_without_it()

    def _leave_without_it(self) -> None:
        """The loop stands still (a terminal that doesn't read, a dead one): go on, and end, without it."""
        log.warning("the terminal does not take its output, going on without the display")
        code = self.go_on()
        self.restore()
        _flush_logs()
        os._exit(code)

    def go_on(self, say: Callable[[str], None] | None = None) -> int:
        """Follow the engine to its end without a display; returns the exit code."""
        interval = max(self.settings.status_interval, 10.0) if say is None else self.settings.status_interval
        follow(self.engine, self.signals, interval, StatusLines(say or log.info, stamped=say is not None))
        return close_run(self.engine.snapshot(), self.settings, say, self.signals.stopped_by)

    def abandon(self) -> None:
        """Let go of a terminal that has gone: nothing may fail or spin on it."""
        for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
            silence(stream)

    def restore(self) -> None:
        """Put the terminal back as it was found, as far as it listens."""
        with contextlib.suppress(termios.error, OSError):
            termios.tcflush(0, termios.TCIOFLUSH)  # before anything is written: it would be dropped too
        with contextlib.suppress(OSError, ValueError):
            os.set_blocking(2, False)
            os.write(2, RESTORE)
        if self._attributes is not None:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(0, termios.TCSANOW, self._attributes)
        with contextlib.suppress(OSError, ValueError):
            os.set_blocking(2, True)


def _flush_logs() -> None:
    from df2redis_tui.telemetry.logs import stop_logging

    with contextlib.suppress(Exception):
        stop_logging()
