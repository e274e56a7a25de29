"""The end of a run, the same for every front end: the exit code, the printed report, the summary file."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
import sys
from collections.abc import Callable

from df2redis_tui.errors import EXIT_INTERRUPTED, EXIT_UNCONFIRMED, Df2RedisError
from df2redis_tui.masking import masked
from df2redis_tui.settings import Settings
from df2redis_tui.telemetry.format import plural
from df2redis_tui.telemetry.logs import log_losses
from df2redis_tui.telemetry.report import Report
from df2redis_tui.telemetry.snapshot import EngineSnapshot
from df2redis_tui.telemetry.verdict import left_behind

log = logging.getLogger(__name__)


def exit_code(snap: EngineSnapshot, stopped_by: int | None) -> int:
    """The engine's own code; 128 + the signal's number where a signal asked for the end before the copy was whole."""
    if snap.exit_code is None:
        return EXIT_UNCONFIRMED
    if stopped_by is not None and snap.exit_code == EXIT_INTERRUPTED:
        return 128 + stopped_by
    return snap.exit_code


def close_run(
    snap: EngineSnapshot,
    settings: Settings,
    say: Callable[[str], None] | None,
    stopped_by: int | None = None,
    *,
    color: bool = False,
) -> int:
    """Print the report by `say`, write `settings.summary`; returns the exit code, which is the copy's: files that could
    not be written are warned of."""
    code = exit_code(snap, stopped_by)
    if snap.exit_code is None:
        snap = dataclasses.replace(snap, outcome=left_behind(snap.outcome.confirmed))
    report = Report.of(snap, code)
    if say is not None:
        say(report.as_text(min(120, max(60, shutil.get_terminal_size().columns)), color))
    log.info("the run has ended: %s, exit code %d", report.headline(), code)
    if settings.summary is not None:
        try:
            report.write_summary(settings.summary)
        except Df2RedisError as error:
            log.error(str(error))
            warn(str(error))
    lost = log_losses()
    if lost:
        warn(f"{plural(lost, 'line')} of the log could not be written")
    return code


def warn(text: str) -> None:
    """Say it on stderr, if that is still there."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"df2redis-tui: warning: {masked(text)}\n")
        sys.stderr.flush()
