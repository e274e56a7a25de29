"""File descriptors: as many as this process may have, and whether they are enough for a run."""

from __future__ import annotations

import contextlib
import logging
import resource

from df2redis_tui.errors import ConfigError

log = logging.getLogger(__name__)

WANTED = 65_536  # more than any run needs
BESIDE = 32  # log, state files, questions to both ends, metrics, the display


def raise_limit() -> None:
    """Raise the soft limit of this process as far as its hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS has a further limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        log.info("File descriptors", extra={"fields": {"before": soft, "now": limit()}})


def limit() -> int | None:
    """How many this process may have open at once, None for any number."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def needed(flows: int, masters: int) -> int:
    """What a run certainly opens: for each FLOW one to the source and one to each master; for each master two more."""
    return flows * (1 + masters) + 2 * masters + BESIDE


def check(flows: int, masters: int, *, spill: bool) -> str:
    """Raises ConfigError when this process may not have what a run needs. Returns why it may come to lack some, or "":
    a FLOW that reads keys again opens one more, and two for its spool."""
    need, have = needed(flows, masters), limit()
    if have is None:
        return ""
    most = need + flows * (3 if spill else 1)
    what = f"{flows:,} FLOWs of the source and {masters:,} target server{'' if masters == 1 else 's'}"
    how = f"this process may have {have:,}: raise the hard limit (ulimit -Hn, LimitNOFILE)"
    if need > have:
        error = ConfigError(f"{what} need {need:,} file descriptors, and {how}")
        error.advice = ""  # the line says it
        raise error
    return f"{what} may need {most:,} file descriptors, and {how}" if most > have else ""
