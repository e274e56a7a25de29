"""Exact re-reads of single keys whose journal records can't be replayed (protocol page §4.6).

A = REPLICAOFFSET of the FLOW; the value; B = REPLICAOFFSET. If no record with A <= LSN < B touches the key, the value
is the key's state at every LSN in between: records below A are skipped, and the value is written when the FLOW
reaches B. Until a key's value is there, its records are dropped; one that may not be in the value costs another try.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from df2redis_tui.dragonfly.control import not_now
from df2redis_tui.dragonfly.records import Value
from df2redis_tui.errors import printable
from df2redis_tui.pipeline.signal import Signal
from df2redis_tui.replication.key_reader import Key, Reading

log = logging.getLogger(__name__)

LATER = 0.5  # seconds
RESTLESS = 3  # tries: the key changes too often to be read together with others
AGAIN_AFTER = 0.01  # seconds, for each try so far
MOST_TRIES = 20  # that are counted for it
OPEN_MOST = 40_000  # keys of all FLOWs that may wait because of a doubt; some 300 bytes each
HELD_MOST = 8 * 1024**2  # bytes of values that all FLOWs may have read and not written


@dataclass(slots=True, eq=False)
class Wanted:
    """A key that waits for its value. `a` None: it is to be asked for."""

    key: Key
    reason: str
    a: int | None = None
    b: int = 0
    value: Value | None = None
    dropped: int = -1  # LSN of the newest record that was dropped for it
    tries: int = 0
    large: bool = False  # it waits until all others have been asked for
    not_before: float = 0.0  # monotonic; one that changes all the time must not hold up the others
    gone: bool = False  # nothing is read: it is removed from the target

    @property
    def size(self) -> int:
        return len(self.value.raw) if self.value is not None else 0


class Rereads:
    """The keys of one FLOW that wait for a re-read. Implements the journal translator's `pending` port.

    `wake` is set when there is something to ask for; `Rereading` asks. Nothing is asked for before `begin`.
    """

    def __init__(self, flow: int, flows: int = 1) -> None:
        self.flow = flow
        self.done = 0  # values written
        self.left_out = 0  # doubts that there was no room for
        self.wake = Signal()
        self.fresh: list[Key] = []  # that `changes` has not told of, for who wants to note them at once
        self.held = 0  # bytes of values that wait for their positions
        self.held_most = HELD_MOST // flows
        self._open_most = OPEN_MOST // flows
        self._open: dict[Key, Wanted] = {}
        self._ready: dict[Key, Wanted] = {}  # with a value
        self._waiting: dict[Key, Wanted] = {}  # to be asked for
        self._written: dict[Key, int] = {}  # position behind which the value went out
        self._changed: dict[Key, None] = {}  # since `changes`
        self._not_before = 0.0  # monotonic: the source answers nobody until then

    @property
    def active(self) -> bool:
        return bool(self._open)

    @property
    def count(self) -> int:
        return len(self._open)

    @property
    def unconfirmed(self) -> bool:
        """Whether values were written of which the target has said nothing yet."""
        return bool(self._written)

    def begin(self) -> None:
        """The journal begins: what was dropped before has no position in it, and is in front of all that is read."""
        for wanted in self._open.values():
            wanted.dropped = -1
        self.wake.set()

    def request(self, db: int, keys: Iterable[bytes], reason: str, lsn: int | None = None) -> None:
        """The value of these keys is read again. `lsn` is that of a record which has to be in it; None = all that was
        sent so far, which each value to come is behind."""
        for name in keys:
            key = (db, name)
            wanted = self._open.get(key)
            if wanted is None:
                self._open[key] = self._waiting[key] = Wanted(key, reason, dropped=-1 if lsn is None else lsn)
                self._changed[key] = None
                self.fresh.append(key)
                self.wake.set()
            elif lsn is not None:
                self._drops(wanted, lsn)

    def doubt(self, db: int, key: bytes, reason: str) -> bool:
        """`request`, unless there are too many already: then that is counted, logged, and False returned."""
        if len(self._open) >= self._open_most and (db, key) not in self._open:
            self.left_out += 1
            return False
        self.request(db, (key,), reason)
        return True

    def remove(self, db: int, key: bytes, reason: str) -> None:
        """The key can't be copied: what the target has of it goes, behind all that was received so far."""
        if (db, key) in self._open:
            self._close((db, key))
        self._open[(db, key)] = self._ready[(db, key)] = Wanted((db, key), reason, a=0, gone=True)
        self._changed[(db, key)] = None

    def covers(self, db: int, key: bytes, lsn: int) -> bool:
        """Whether a record at `lsn` must be dropped because the re-read value includes it (or will)."""
        wanted = self._open.get((db, key))
        if wanted is None:
            return False
        self._drops(wanted, lsn)
        return True

    def _drops(self, wanted: Wanted, lsn: int) -> None:
        wanted.dropped = max(wanted.dropped, lsn)
        if wanted.a is not None and lsn >= wanted.a and not wanted.gone:
            # It may or may not be in the value that was read: read again.
            self._not_ready(wanted)

    def _not_ready(self, wanted: Wanted) -> None:
        self.held -= wanted.size
        wanted.a = wanted.value = None
        self._ready.pop(wanted.key, None)
        self._waiting[wanted.key] = wanted
        self.wake.set()

    def supersedes(self, db: int, key: bytes, lsn: int) -> bool:
        """Whether a value that comes behind a command of `lsn`, which has been sent, contains its effect."""
        return (db, key) in self._open or lsn < self._written.get((db, key), 0)

    def forget(self, db: int | None) -> None:
        """FLUSHDB, or FLUSHALL (None): nothing read before it counts."""
        for key in [k for k in self._open if db is None or k[0] == db]:
            self._close(key)

    def _close(self, key: Key) -> None:
        wanted = self._open.pop(key)
        self._waiting.pop(key, None)
        if self._ready.pop(key, None) is not None:
            self.held -= wanted.size
        self._changed[key] = None

    # What the FLOW's reader asks

    def cuts(self, first: int, end: int) -> list[int]:
        """Positions inside (first, end) at which a value becomes due."""
        return sorted({wanted.b for wanted in self._ready.values() if first < wanted.b < end})

    def due(self, position: int) -> list[tuple[int, bytes, Value | None]]:
        """Values to be written now that the FLOW has reached `position`; they are forgotten."""
        ready = [wanted for wanted in self._ready.values() if wanted.b <= position]
        for wanted in ready:
            self._close(wanted.key)
            self._written[wanted.key] = position
        if ready:
            self.done += sum(not wanted.gone for wanted in ready)
            self.wake.set()
        return [(*wanted.key, wanted.value) for wanted in ready]

    # What a checkpoint has to name

    def open_keys(self) -> list[Key]:
        """Keys that a resume has to read again: they wait, or their values are not confirmed."""
        return [*self._open, *(key for key in self._written if key not in self._open)]

    def changes(self) -> tuple[list[Key], list[Key]]:
        """Keys that have become `open_keys` since the last call, and those that no longer are."""
        changed, self._changed = self._changed, {}
        self.fresh.clear()
        added = [key for key in changed if key in self._open or key in self._written]
        return added, [key for key in changed if key not in self._open and key not in self._written]

    def confirmed(self, position: int) -> None:
        """The target has everything below `position`."""
        if self._written:
            for key in [key for key, written in self._written.items() if written < position]:
                del self._written[key]
                self._changed[key] = None

    # What the reading task asks

    def waits(self, now: float) -> float | None:
        """Seconds until there is something to ask for, None when there is nothing."""
        if not self._waiting:
            return None
        soonest = 0.0
        for wanted in self._waiting.values():
            if wanted.not_before <= now:
                soonest = 0.0
                break
            soonest = min(soonest or wanted.not_before, wanted.not_before)
        return max(0.0, max(soonest, self._not_before) - now)

    def next(self, now: float, most: int) -> list[Wanted]:
        """Up to `most` keys that are to be asked for; one that never rests comes alone."""
        found: list[Wanted] = []
        for wanted in self._waiting.values():
            if wanted.not_before > now:
                continue
            if wanted.tries >= RESTLESS:
                if not found:
                    return [wanted]
                continue
            found.append(wanted)
            if len(found) >= most:
                break
        return found

    def postpone(self, some: Iterable[Wanted], until: float) -> None:
        """They could not be read now; others come first."""
        for wanted in some:
            if self._waiting.pop(wanted.key, None) is wanted:
                self._waiting[wanted.key] = wanted
                wanted.not_before = until

    def read(self, wanted: Wanted, reading: Reading) -> str:
        """Take up what the source answered; returns why the key can't be read, "" when it can (or must be again)."""
        if self._open.get(wanted.key) is not wanted:
            return ""  # a flush came in between
        now = time.monotonic()
        if not_now(reading.problem):
            # It is being taken over, and puts what matters into the FLOWs now: they have to be read on.
            self._not_before = now + LATER
            return ""
        if reading.problem:
            self._close(wanted.key)
            return f"{wanted.reason}; a re-read failed: {reading.problem}"
        wanted.tries += 1
        if wanted.dropped < reading.a:
            wanted.a, wanted.b, wanted.value = reading.a, reading.b, reading.value
            del self._waiting[wanted.key]
            self._ready[wanted.key] = wanted
            self.held += wanted.size
        wanted.not_before = now + min(wanted.tries - 1, MOST_TRIES) * AGAIN_AFTER
        if wanted.tries % 100 == 0:
            log.warning(
                "a key changes faster than it can be re-read",
                extra={"fields": {"flow": self.flow, "key": printable(wanted.key[1]), "tries": wanted.tries}},
            )
        return ""
