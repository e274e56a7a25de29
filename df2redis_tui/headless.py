"""The front end without screens: a live status on a terminal, status lines or NDJSON without one, a report at the end.

Never imports textual, so that `--no-ui` starts fast and runs where Textual can't.
"""

from __future__ import annotations

import os
import sys
import time

from rich.console import Console
from rich.live import Live

from df2redis_tui.replication.handle import EngineHandle
from df2redis_tui.settings import Settings
from df2redis_tui.telemetry.closing import close_run
from df2redis_tui.telemetry.glyphs import Glyphs, choose
from df2redis_tui.telemetry.json_lines import JsonLines
from df2redis_tui.telemetry.live import live_text
from df2redis_tui.watching import STEP, Output, Signals, StatusLines, Turns, follow, silence


def run(engine: EngineHandle, settings: Settings) -> int:
    """Start the engine, show where it stands until it ends, print the report; returns the exit code."""
    terminal = sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    json_lines = settings.log_format == "json"
    glyphs = choose(settings.glyphs)
    out = Output(sys.stdout)
    signals = Signals(engine, (lambda text: None) if json_lines else out.line)
    lines = StatusLines(out.line, glyphs)
    as_json = JsonLines()
    with signals.installed():
        engine.start()
        if json_lines:
            follow(engine, signals, settings.status_interval, lambda snap: out.line(as_json(snap)))
        else:
            if terminal:
                _live(engine, settings, signals, out, glyphs)
            follow(engine, signals, settings.status_interval, lines)
        snap = engine.snapshot()
        if json_lines:
            out.line(as_json(snap))
        elif not terminal:
            lines(snap)
        return close_run(snap, settings, None if json_lines else out.line, signals.stopped_by, color=terminal)


def _live(engine: EngineHandle, settings: Settings, signals: Signals, out: Output, glyphs: Glyphs) -> None:
    """A block of lines redrawn in place; returns when the engine ends or the terminal goes away."""
    system = {"16": "standard", "256": "256", "truecolor": "truecolor"}.get(settings.color, "auto")
    console = Console(
        highlight=False,
        markup=False,
        color_system=system,  # type: ignore[arg-type]
        no_color=True if settings.color == "none" else None,
    )
    due = 0.0
    turns = Turns()
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            signals.say = live.console.print
            while not engine.wait(STEP):
                signals.act()
                signals.suspension.act(live.stop, live.start)
                if signals.detached or not os.isatty(1):
                    break
                if time.monotonic() >= due:
                    due = time.monotonic() + max(settings.refresh, 0.25)
                    snap = engine.snapshot()
                    for turn in turns(snap):
                        live.console.print(turn)
                    text = live_text(snap, console.width, max(1, console.height - 3), glyphs)
                    live.update(text, refresh=True)
    except (OSError, ValueError):
        signals.hangup()
    if not engine.done:
        signals.hangup()
    signals.say = out.line
    if signals.detached:
        out.abandon()
        silence(sys.stderr)
