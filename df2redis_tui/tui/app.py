"""The entrance of the full-screen front end: run the application over an engine and see the run to its end."""

from __future__ import annotations

import logging
import os
import sys

from df2redis_tui.replication.handle import EngineHandle
from df2redis_tui.settings import Settings
from df2redis_tui.telemetry.closing import close_run
from df2redis_tui.tui.terminal import TerminalGuard
from df2redis_tui.watching import Output

log = logging.getLogger(__name__)

SWITCH_INTERVAL = 0.001  # seconds; halves the time a key waits behind a busy engine thread


def run(engine: EngineHandle, settings: Settings) -> int:
    """Start the engine behind the application; returns the exit code of the run.

    A terminal that goes away, or a display that fails, leaves the replication running: it is followed without a screen.
    Raises ConfigError for keys that can't be, before anything is started.
    """
    if settings.color == "none":
        os.environ["NO_COLOR"] = "1"
    from df2redis_tui.tui.application import ReplicationApp

    app = ReplicationApp(engine, settings)
    guard = TerminalGuard(engine, settings)
    sys.setswitchinterval(SWITCH_INTERVAL)
    out = Output(sys.stdout)
    with guard.installed(app):
        app.run(mouse=settings.mouse)
    if app.start_error is not None:
        raise app.start_error
    with guard.signals.installed():
        if guard.signals.detached:
            guard.abandon()
            return guard.go_on()
        if app.crash is not None:
            name = type(app.crash).__name__
            out.line(f"df2redis-tui: the display failed ({name}, see the log); the replication goes on without it")
            return guard.go_on(out.line)
        if not engine.done and not app.stopping:
            return guard.go_on(out.line)
        engine.wait(5.0)
        return close_run(engine.snapshot(), settings, out.line, guard.signals.stopped_by, color=not app.no_color)
