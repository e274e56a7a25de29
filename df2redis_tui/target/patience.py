"""How long a target may refuse what only an operator can change, before the run ends."""

from __future__ import annotations

import time

from df2redis_tui.errors import TargetError
from df2redis_tui.target.replies import DEMOTED, STUCK

STUCK_PATIENCE = 60.0  # seconds the target may answer OOM, READONLY or the like before the run ends (nothing is lost)


class Patience:
    """Of one writer."""

    def __init__(self) -> None:
        self._since = 0.0

    def renew(self) -> None:
        """The target takes writes, or it is another server, or another life of it."""
        self._since = 0.0

    def refused(self, code: str, reason: str, nodes: list[str]) -> None:
        """An error with this code came. Raises TargetError when that has lasted too long."""
        if code not in STUCK:
            return
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since <= STUCK_PATIENCE:
            return
        for_long = f"for {STUCK_PATIENCE:g} s: {reason}"
        if code in DEMOTED:
            text = f"target {', '.join(nodes)} is a replica and takes no writes, {for_long}"
            advice = "point --target at the master, or make this one the master"
        else:
            text, advice = f"target keeps refusing writes {for_long}", "fix it"
        raise TargetError(f"{text}: {advice}, then run the same command again")
