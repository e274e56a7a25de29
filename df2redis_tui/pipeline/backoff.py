"""Exponential backoff with jitter."""

from __future__ import annotations

import random


class Backoff:
    """Delays in seconds: first, doubled each time up to the longest, each ± 20 %."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self.attempt = 0

    def next(self) -> float:
        delay: float = min(self._longest, self._first * 2 ** min(self.attempt, 30))
        self.attempt += 1
        return delay * random.uniform(0.8, 1.2)

    def reset(self) -> None:
        self.attempt = 0
