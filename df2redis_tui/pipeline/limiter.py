"""The limiter bounds the batches in flight; its limit can change while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio

IN_FLIGHT_BYTES = 8 * 1024**2  # per FLOW: a few huge batches must not fill memory, whatever the count allows


class Limiter:
    """Batches in flight of one FLOW: a slot is taken when a batch is sent and given back at its last reply."""

    def __init__(self, limit: int, on_release: Callable[[], None]) -> None:
        self._tokens = anyio.CapacityLimiter(limit)
        self._on_release = on_release
        self.bytes = 0

    @property
    def limit(self) -> int:
        return int(self._tokens.total_tokens)

    @limit.setter
    def limit(self, value: int) -> None:
        self._tokens.total_tokens = value
        self._on_release()

    @property
    def in_flight(self) -> int:
        return int(self._tokens.borrowed_tokens)

    def try_acquire(self, borrower: object, size: int) -> bool:
        """Take a slot if there is one and the bytes in flight allow (a lone batch always may go)."""
        if self.bytes and self.bytes + size > IN_FLIGHT_BYTES:
            return False
        try:
            self._tokens.acquire_on_behalf_of_nowait(borrower)
        except anyio.WouldBlock:
            return False
        self.bytes += size
        return True

    def release(self, borrower: object, size: int) -> None:
        self._tokens.release_on_behalf_of(borrower)
        self.bytes -= size
        self._on_release()


class RateLimit:
    """Entries per second over the whole engine; 0 = none. A token bucket that may go into debt by one batch."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._ready_at = 0.0
        self._changed = anyio.Event()

    def change(self, per_second: int) -> None:
        """A new rate; debts of the old one are forgotten, and who waits under it asks again."""
        self.per_second = per_second
        self._ready_at = 0.0
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def passed(self, entries: int, waiting: Callable[[], None]) -> None:
        """Account for `entries` and wait until they may be sent; `waiting` is called when that is not now."""
        while True:
            changed = self._changed
            wait = self.take(entries, time.monotonic())
            if wait <= 0:
                return
            waiting()
            with anyio.move_on_after(wait):
                await changed.wait()
            if not changed.is_set():
                return

    def take(self, entries: int, now: float) -> float:
        """Account for `entries`; returns the seconds to wait before sending them."""
        if self.per_second <= 0:
            return 0.0
        start = max(now, self._ready_at)
        self._ready_at = start + entries / self.per_second
        return start - now
