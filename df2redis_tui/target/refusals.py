"""How often the masters of a cluster refused a command for the time being (MOVED, TRYAGAIN, CLUSTERDOWN, OOM ...).

Of pipelined commands, one that is refused may be overtaken by a later one that is not. Where the replies were lost, a
guard tells of the later one only, and nothing but the servers' own counts (INFO errorstats) tells that there may be an
earlier one that was not applied.
"""

from __future__ import annotations

import hashlib
from collections import deque

from df2redis_tui.target.connection import parse_info
from df2redis_tui.target.replies import NOT_YET

KEPT_MOST = 100


def count_of(server_info: object, error_stats: object) -> str:
    """What to compare later; "" when this server does not count (older than Redis 6.2): then nothing equals it."""
    run = parse_info(server_info).get("run_id", "")
    if not run or not isinstance(error_stats, bytes) or b"# Errorstats" not in error_stats:
        return ""
    counted = parse_info(error_stats)
    if any(name.startswith("errorstat_ERRORSTATS") for name in counted):
        return ""  # it has stopped counting: too many kinds
    of_kinds = (counted.get(f"errorstat_{code}", "count=0").removeprefix("count=") for code in sorted(NOT_YET))
    return f"{run}:{','.join(of_kinds)}"


def digest(counts: dict[str, str]) -> str:
    """Counts of all masters in short; "" when one of them does not count."""
    if not counts or not all(counts.values()):
        return ""
    text = "\n".join(f"{node} {count}" for node, count in sorted(counts.items()))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


class Baseline:
    """The newest count that was read before anything of a FLOW behind a position was sent."""

    def __init__(self) -> None:
        self._sent = 0
        self._counts: deque[tuple[int, str]] = deque()  # (LSN behind what was sent when it was read, digest)

    def posted(self, next_lsn: int) -> None:
        """Everything below this LSN has been sent."""
        self._sent = max(self._sent, next_lsn)

    def read(self, count: str) -> None:
        """The servers' count is `count` now."""
        if len(self._counts) < KEPT_MOST:
            self._counts.append((self._sent, count))

    def at(self, lsn: int) -> str:
        """The count before anything from `lsn` on was sent; "" when none is known."""
        return next((count for sent, count in reversed(self._counts) if sent <= lsn), "")

    def confirmed(self, lsn: int) -> None:
        """Nobody will ask for what is below `lsn`."""
        while len(self._counts) > 1 and self._counts[1][0] <= lsn:
            self._counts.popleft()

    def clear(self) -> None:
        self._sent = 0
        self._counts.clear()
