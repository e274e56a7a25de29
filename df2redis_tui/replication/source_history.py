"""Where the source said it was, and when: how long ago it had records that have not been read yet."""

from __future__ import annotations

import time
from collections import deque

MOST = 10_000  # positions; at two a second, more than an hour


class SourceHistory:
    """Of one FLOW."""

    def __init__(self) -> None:
        self._told: deque[tuple[float, int]] = deque(maxlen=MOST)  # (monotonic, next LSN)

    def note(self, lsn: int) -> None:
        """The source's next LSN just now."""
        if not self._told or self._told[-1][1] < lsn:
            self._told.append((time.monotonic(), lsn))

    def behind_for(self, received: int) -> float:
        """Seconds (about) for which it has had a record that is not among the `received` ones, 0 when it has none."""
        while self._told and self._told[0][1] <= received:
            self._told.popleft()
        return time.monotonic() - self._told[0][0] if self._told else 0.0
