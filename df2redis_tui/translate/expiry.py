"""Expiry of keys (protocol page §4.8).

A target is a master and expires by itself, and every FLOW is at least milliseconds behind: what the source renews or
changes just before a key's time would find nothing there. So a key whose time comes soon is held: the target gets a
later time, `HOLD_MS` and ten times the lag behind the true one, which a target that stands still for a minute does not
reach. The source sends a DEL for every key it expires itself. Where that does not come, and when the run ends, the
true time is written.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

HOLD_MS: Final = 60_000  # how much later a key that ends soon may end on the target, at least
HOLD_MOST_MS: Final = 3_600_000  # and at most
AHEAD_MS: Final = 65_000  # which is "soon" where nothing lags
OVERDUE_MS: Final = 2_000  # so far behind its time the source's own DEL is no longer awaited
BUDGET_BYTES: Final = 12 * 1024**2  # for what all FLOWs remember; twice that in the process, as it changes
ENTRY_BYTES: Final = 140  # of a remembered key, besides its name
HASHES_MOST: Final = 10_000  # of a FLOW, that are known to have fields with a TTL

_LAGS: Final = 10  # a lag may grow while a key lives: a hold allows for so many times the present one
_BITS: Final = 16
_MASK: Final = (1 << _BITS) - 1
_ENDED: Final = _MASK  # instead of the seconds of a hold: the true time was written, and is over
_SECONDS_MOST: Final = _MASK - 1


def hold_ms(lag: float) -> int:
    """How long keys are held at this lag (seconds)."""
    return min(HOLD_MOST_MS, HOLD_MS + int(_LAGS * 1000 * lag))


class ExpiryBudget:
    """What all FLOWs of a run together may remember. Keys that have time yet get no more than half of it."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int = BUDGET_BYTES) -> None:
        self.limit = limit
        self.used = 0


class DeferredExpiry:
    """True expiry times (unix ms) of keys, and the later ones that the target got. One per FLOW.

    `count` keys are remembered; while it is 0 a hot loop may skip every call. A key for which there is no room is held
    all the same, and counted in `unremembered`: somebody has to ask the source for its true time when the run ends.
    """

    def __init__(self, budget: ExpiryBudget | None = None) -> None:
        self.count = 0
        self.unremembered = 0
        self._budget = budget or ExpiryBudget()
        # db → key → true time << 16 | seconds by which the target's is later: one small int per key
        self._keys: dict[int, dict[bytes, int]] = {}
        self._before: int | None = None
        self.with_fields: dict[tuple[int, bytes], None] = {}  # the newest hashes whose fields got a TTL

    def fields_expire(self, db: int, key: bytes) -> None:
        """Fields of this hash expire by themselves on the target, where nobody holds them."""
        self.with_fields[(db, key)] = None
        if len(self.with_fields) > HASHES_MOST:
            del self.with_fields[next(iter(self.with_fields))]

    def true_time(self, db: int, key: bytes) -> int | None:
        """The remembered true expiry of a key."""
        known = self._keys.get(db, {}).get(key)
        return known >> _BITS if known is not None else None

    def ends_at(self, db: int, key: bytes) -> int | None:
        """When the target ends this key, as it was last written, or a little before; None when nothing is known."""
        keys = self._keys.get(db)
        known = keys.get(key) if keys is not None else None
        return _ends(known) if known is not None else None

    def is_held(self, db: int, key: bytes) -> bool:
        """Whether the time that the target has is not the key's true one."""
        known = self._keys.get(db, {}).get(key)
        return known is not None and bool(known & _MASK)

    def effective(self, db: int, key: bytes, expire_ms: int, now_ms: int, hold: int) -> int:
        """The time to write now: `expire_ms` when it is far, else one later by `hold` ms. It is remembered."""
        keys = self._keys.get(db)
        if keys is None:
            keys = self._keys[db] = {}
        ahead = expire_ms - now_ms
        near = ahead <= AHEAD_MS - HOLD_MS + hold
        if not near:
            ends, packed = expire_ms, expire_ms << _BITS
        elif ahead > 0:
            ends = expire_ms + hold
            packed = expire_ms << _BITS | min(_SECONDS_MOST, hold // 1000)
        else:
            ends = now_ms + hold
            packed = expire_ms << _BITS | min(_SECONDS_MOST, (ends - expire_ms) // 1000)
        self._before = keys.get(key)
        if self._before is None:
            budget = self._budget
            used = budget.used + ENTRY_BYTES + len(key)
            if used > (budget.limit if near else budget.limit // 2):
                if ahead > AHEAD_MS + (hold - HOLD_MS) // 5:
                    return expire_ms  # near only by a wide measure of the lag
                self.unremembered += 1
                return ends
            budget.used = used
            self.count += 1
        keys[key] = packed
        return ends

    def ended_at(self) -> int | None:
        """`ends_at` of the key that `effective` was last asked about, as it was before."""
        return _ends(self._before) if self._before is not None else None

    def cancel(self, db: int, key: bytes) -> None:
        """The key was removed, overwritten without its TTL, or persisted."""
        keys = self._keys.get(db)
        if keys is not None and keys.pop(key, None) is not None:
            self.count -= 1
            self._budget.used -= ENTRY_BYTES + len(key)

    def rename(self, db: int, key: bytes, new: bytes) -> None:
        """The key took its TTL along to a new name, whose own TTL is gone."""
        known = self._keys.get(db, {}).get(key)
        self.cancel(db, key)
        self.cancel(db, new)
        if known is not None:
            self._keys[db][new] = known
            self.count += 1
            self._budget.used += ENTRY_BYTES + len(new)

    def clear(self, db: int | None = None) -> None:
        """FLUSHDB of one database, FLUSHALL (None) of all."""
        self.with_fields.clear()
        for number in list(self._keys) if db is None else [db]:
            keys = self._keys.pop(number, {})
            self.count -= len(keys)
            self._budget.used -= ENTRY_BYTES * len(keys) + sum(map(len, keys))

    def remembered(self) -> list[tuple[int, bytes, int]]:
        """All (db, key, true expiry)."""
        return [(db, key, known >> _BITS) for db, keys in self._keys.items() for key, known in keys.items()]

    def nearing(self, now_ms: int, hold: int) -> list[tuple[int, bytes, int]]:
        """(db, key, later expiry) of keys whose time has come so near that they are to be held from now on."""
        first, last = now_ms << _BITS, (now_ms + AHEAD_MS - HOLD_MS + hold) << _BITS
        found = [
            (db, key, (known >> _BITS) + hold)
            for db, keys in self._keys.items()
            for key, known in keys.items()
            if first < known < last and not known & _MASK
        ]
        for db, key, ends in found:
            self._keys[db][key] = (ends - hold) << _BITS | min(_SECONDS_MOST, hold // 1000)
        return found

    def due(self, now_ms: int) -> list[tuple[int, bytes, int]]:
        """For a FLOW that is caught up: (db, key, true expiry) of held keys whose true time is to be written now: it is
        over and nobody ended them, or far again after a lag. What ended long ago is forgotten here."""
        overdue, long_ago = (now_ms - OVERDUE_MS) << _BITS, (now_ms - HOLD_MS) << _BITS
        far = (now_ms + AHEAD_MS + HOLD_MS) << _BITS
        found: list[tuple[int, bytes, int]] = []
        for db, keys in self._keys.items():
            wanted = [(key, known) for key, known in keys.items() if known < overdue or (known > far and known & _MASK)]
            for key, known in wanted:
                if known & _MASK not in (0, _ENDED):
                    found.append((db, key, known >> _BITS))
                if known > far:
                    keys[key] = known & ~_MASK
                elif known > long_ago:
                    keys[key] = known | _ENDED
                else:
                    self.cancel(db, key)
        return found

    def take_held(self, most: int) -> list[tuple[int, bytes, int]]:
        """(db, key, true expiry) of up to `most` held keys, all to be given their true times at the end of a run; they
        are forgotten, as are those that have it. Empty when there are none left."""
        found: list[tuple[int, bytes, int]] = []
        for db in list(self._keys):
            keys = self._keys[db]
            while keys and len(found) < most:
                for key, known in list(islice(keys.items(), most)):
                    self.cancel(db, key)
                    if known & _MASK not in (0, _ENDED):
                        found.append((db, key, known >> _BITS))
        return found


def _ends(known: int) -> int:
    seconds = known & _MASK
    return (known >> _BITS) + (0 if seconds == _ENDED else seconds * 1000)
