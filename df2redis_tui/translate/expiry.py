"""Expiry of keys while a FLOW lags behind (protocol page §4.8).

A target is a master and expires by itself: a key written after its time would vanish at once, although the source
may still have persisted or prolonged it in a record that is yet to come. So such a key gets a later time first, and
its true one when the FLOW has caught up. The source sends a DEL for every key it expires itself.
"""

from __future__ import annotations

from typing import Final

REMEMBERED_MOST: Final = 1_000_000
SOON_MS: Final = 1_000  # nearer than this, and OVERDUE_MS behind it, the source's own DEL is awaited
OVERDUE_MS: Final = 2_000


class DeferredExpiry:
    """True expiry times (unix ms) of keys that carry a later one on the target. One per FLOW.

    `count` keys are remembered; while it is 0 a hot loop may skip every call. Beyond `limit` keys the true
    time is used at once and counted in `overflowed`.
    """

    def __init__(self, limit: int = REMEMBERED_MOST) -> None:
        self.overflowed = 0
        self._limit = limit
        self.count = 0
        self._true: dict[int, dict[bytes, int]] = {}

    def true_time(self, db: int, key: bytes) -> int | None:
        """The remembered true expiry of a key."""
        return self._true.get(db, {}).get(key)

    def effective(self, db: int, key: bytes, expire_ms: int, now_ms: int, grace_ms: int) -> int:
        """The time to write now: `expire_ms` when far enough, else `now_ms + grace_ms` with the true one remembered."""
        held = now_ms + grace_ms
        if expire_ms > held:
            if self.count:
                self.cancel(db, key)
            return expire_ms
        keys = self._true.get(db)
        if keys is None or key not in keys:
            if self.count >= self._limit:
                self.overflowed += 1
                return expire_ms
            keys = self._true.setdefault(db, {})
            self.count += 1
        keys[key] = expire_ms
        return held

    def cancel(self, db: int, key: bytes) -> None:
        """The key was removed, overwritten without its TTL, or persisted."""
        keys = self._true.get(db)
        if keys is not None and keys.pop(key, None) is not None:
            self.count -= 1

    def rename(self, db: int, key: bytes, new: bytes) -> None:
        """The key took its TTL along to a new name, whose own TTL is gone."""
        self.move(db, key, db, new)

    def move(self, db: int, key: bytes, new_db: int, new: bytes) -> None:
        """The key took its TTL along into another database or name."""
        expire_ms = self.true_time(db, key)
        self.cancel(db, key)
        self.cancel(new_db, new)
        if expire_ms is not None:
            self._true.setdefault(new_db, {})[new] = expire_ms
            self.count += 1

    def clear(self, db: int | None = None) -> None:
        """FLUSHDB of one database, FLUSHALL (None) of all."""
        for number in list(self._true) if db is None else [db]:
            self.count -= len(self._true.pop(number, {}))

    def remembered(self) -> list[tuple[int, bytes, int]]:
        """All (db, key, true expiry)."""
        return [(db, key, ms) for db, keys in self._true.items() for key, ms in keys.items()]

    def due(self, now_ms: int) -> list[tuple[int, bytes, int]]:
        """For a FLOW that is caught up: (db, key, true expiry) to be written now; they are forgotten here."""
        if not self.count:
            return []
        ready: list[tuple[int, bytes, int]] = []
        for db, keys in self._true.items():
            ready += [(db, key, ms) for key, ms in keys.items() if ms > now_ms + SOON_MS or ms < now_ms - OVERDUE_MS]
        for db, key, _ in ready:
            del self._true[db][key]
        self.count -= len(ready)
        return ready
