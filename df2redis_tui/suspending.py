"""Ctrl-Z: the source is let go before this process is stopped, and followed again when it goes on.

A stopped process reads nothing: with FLOWs open, the source's own clients would wait for it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from df2redis_tui.replication.handle import EngineHandle

log = logging.getLogger(__name__)

DETACH_SECONDS = 5.0


class Suspension:
    """The handler of SIGTSTP sets `asked`; a front end's loop calls `act`, outside the handler."""

    def __init__(self, engine: EngineHandle) -> None:
        self.engine = engine
        self.asked = False

    def ask(self, number: int = signal.SIGTSTP, frame: FrameType | None = None) -> None:
        self.asked = True

    def install(self) -> None:
        """Only in the main thread."""
        signal.signal(signal.SIGTSTP, self.ask)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        before = signal.getsignal(signal.SIGTSTP)
        self.install()
        try:
            yield
        finally:
            signal.signal(signal.SIGTSTP, before)

    def act(self, leave: Callable[[], object] = lambda: None, come_back: Callable[[], object] = lambda: None) -> None:
        """Where it was asked for: let the source go, `leave` the terminal, stop; then the same the other way round."""
        if not self.asked:
            return
        self.asked = False
        self.let_go()
        leave()
        self.stop()
        come_back()
        self.go_on()

    def let_go(self) -> None:
        if not self.engine.detach_source(DETACH_SECONDS):
            log.warning("the source's connections are not closed yet, and this process is being stopped")

    def stop(self, *, group: bool = False) -> None:
        """Stop this process as its terminal's job control would have, with its `group` where Ctrl-Z came as a key: a
        wrapper that went on would keep the terminal. Returns when it goes on, or at once where there is no job
        control."""
        before = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        if group:
            os.killpg(os.getpgrp(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, before)

    def go_on(self) -> None:
        self.asked = False
        self.engine.attach_source()
