"""The last resort: ends the process when it was asked to end and something in it hangs.

It is a thread that needs nothing of what may hang: no loop, no lock of others, no handler that has to be called.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable

log = logging.getLogger(__name__)

STEP = 0.25  # seconds between two looks at the clock
LAST_WORDS = 2.0  # seconds for them: the disk or the terminal may be what hangs


class Watchdog:
    """Calls `end`, which returns (exit code, what to say), once the time that `due` gives (monotonic) is over."""

    def __init__(self, due: Callable[[], float | None], end: Callable[[], tuple[int, str]]) -> None:
        self._due = due
        self._end = end
        self._called_off = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def call_off(self) -> None:
        """The end came by itself."""
        self._called_off.set()

    def _watch(self) -> None:
        while not self._called_off.wait(STEP):
            due = self._due()
            if due is not None and time.monotonic() > due:
                code = 1
                try:
                    code, text = self._end()
                    _say(text)
                finally:
                    os._exit(code)


def end_within(seconds: float, code: int) -> None:
    """The program is through: whatever still hangs (a thread that waits for a disk) keeps the process no longer, and no
    signal changes the exit code any more."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    due = time.monotonic() + seconds
    Watchdog(lambda: due, lambda: (code, "df2redis-tui: some of this program hangs, it ends without it")).start()


def stacks() -> str:
    """Where every thread is, for the log."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    found = []
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident():
            found.append(f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame)).rstrip()}")
    return "\n".join(found)


def _say(text: str) -> None:
    def speak() -> None:
        with contextlib.suppress(Exception):
            log.error("%s", text)
            log.error("stacks", extra={"fields": {"stacks": stacks()}})
        with contextlib.suppress(Exception):
            os.write(2, f"{text}\n".encode())
        with contextlib.suppress(Exception):
            from df2redis_tui.telemetry.logs import stop_logging

            stop_logging()

    speaking = threading.Thread(target=speak, name="last words", daemon=True)
    speaking.start()
    speaking.join(LAST_WORDS)
