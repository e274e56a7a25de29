"""Expiry of keys (protocol page §4.8).

A target is a master and expires by itself, and every FLOW is at least milliseconds behind: a key that the source
prolongs or persists just before its time would be gone on the target. So a key whose time comes soon gets a later one,
and its true one when the run ends. The source sends a DEL for every key it expires itself.
"""

from __future__ import annotations

from typing import Final

REMEMBERED_MOST: Final = 1_000_000  # of keys that would vanish at once
AHEAD_MOST: Final = 100_000  # of those that have time yet
AHEAD_MS: Final = 65_000  # which is "soon": later changes of such keys are likely to come near their time
HOLD_MS: Final = 1_000  # how much later a key may end on the target when its FLOW is caught up
OVERDUE_MS: Final = 2_000  # so far behind its time the source's own DEL is no longer awaited


class DeferredExpiry:
    """True expiry times (unix ms) of keys that carry a later one on the target. One per FLOW.

    `count` keys are remembered; while it is 0 a hot loop may skip every call. Beyond `limit` keys (`ahead` where their
    time has not come yet) the true time is used at once and counted in `overflowed`.
    """

    def __init__(self, limit: int = REMEMBERED_MOST, ahead: int = AHEAD_MOST) -> None:
        self.overflowed = 0
        self._limit = limit
        self._ahead = ahead
        self.count = 0
        self._true: dict[int, dict[bytes, int]] = {}

    def true_time(self, db: int, key: bytes) -> int | None:
        """The remembered true expiry of a key."""
        return self._true.get(db, {}).get(key)

    def effective(self, db: int, key: bytes, expire_ms: int, now_ms: int, grace_ms: int) -> int:
        """The time to write now: `expire_ms` when it is far, else a later one, at least `now_ms + grace_ms`, with the
        true one remembered."""
        soonest = now_ms + grace_ms
        if expire_ms > soonest and expire_ms > now_ms + AHEAD_MS:
            if self.count:
                self.cancel(db, key)
            return expire_ms
        keys = self._true.get(db)
        if keys is None or key not in keys:
            if self.count >= (self._limit if expire_ms <= soonest else self._ahead):
                self.overflowed += 1
                return expire_ms
            keys = self._true.setdefault(db, {})
            self.count += 1
        keys[key] = expire_ms
        return max(soonest, expire_ms + HOLD_MS)

    def cancel(self, db: int, key: bytes) -> None:
        """The key was removed, overwritten without its TTL, or persisted."""
        keys = self._true.get(db)
        if keys is not None and keys.pop(key, None) is not None:
            self.count -= 1

    def rename(self, db: int, key: bytes, new: bytes) -> None:
        """The key took its TTL along to a new name, whose own TTL is gone."""
        expire_ms = self.true_time(db, key)
        self.cancel(db, key)
        self.cancel(db, new)
        if expire_ms is not None:
            self._true.setdefault(db, {})[new] = expire_ms
            self.count += 1

    def clear(self, db: int | None = None) -> None:
        """FLUSHDB of one database, FLUSHALL (None) of all."""
        for number in list(self._true) if db is None else [db]:
            self.count -= len(self._true.pop(number, {}))

    def remembered(self) -> list[tuple[int, bytes, int]]:
        """All (db, key, true expiry)."""
        return [(db, key, ms) for db, keys in self._true.items() for key, ms in keys.items()]

    def shorter_than(self, until_ms: int) -> list[tuple[int, bytes, int]]:
        """(db, key, true expiry) of what, held as for a FLOW that is caught up, would end before `until_ms`."""
        return [held for held in self.remembered() if held[2] + HOLD_MS < until_ms] if until_ms else []

    def due(self, now_ms: int) -> list[tuple[int, bytes, int]]:
        """For a FLOW that is caught up: (db, key, true expiry) to be written now. Those and what has ended are
        forgotten here."""
        soon, overdue = now_ms + AHEAD_MS, now_ms - OVERDUE_MS
        far: list[tuple[int, bytes, int]] = []
        for db, keys in self._true.items():
            ended = [key for key, ms in keys.items() if ms < overdue]
            far += [(db, key, ms) for key, ms in keys.items() if ms > soon]
            for key in ended:
                del keys[key]
            self.count -= len(ended)
        for db, key, _ in far:
            self.cancel(db, key)
        return far
