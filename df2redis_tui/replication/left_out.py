"""What a copy lacks, over its runs: counted since its full sync began, and kept in the job's record on the target."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from df2redis_tui.replication.json_record import whole


@dataclass(frozen=True, slots=True)
class LeftOut:
    dead_letters: int = 0  # of which no value was copied since
    unverified: int = 0  # keys that may have expired on the target too early
    evicted: int = 0  # keys that the target has dropped because it was full
    spared: bool = False  # keys that the target held before (--on-existing skip)

    def __bool__(self) -> bool:
        return self != LeftOut()

    @classmethod
    def read(cls, found: object) -> LeftOut:
        """What `dataclasses.asdict` made of one. Raises ValueError, KeyError."""
        if not isinstance(found, dict):
            raise ValueError("not what a copy lacks")
        letters, unverified, evicted = (whole(found[name]) for name in ("dead_letters", "unverified", "evicted"))
        return cls(letters, unverified, evicted, bool(found["spared"]))


class LeftOutOverRuns:
    """`counted` tells what this run has left out so far, in all of its full syncs."""

    def __init__(self, counted: Callable[[], LeftOut]) -> None:
        self.earlier = LeftOut()  # by earlier runs, since the full sync that this one goes on from
        self.noted = LeftOut()  # of which the target knows
        self._counted = counted
        self._before = LeftOut()  # by this run, before it was begun anew

    def begin_anew(self) -> None:
        """What was left out is copied anew, or no longer on the source."""
        self.earlier, self._before = LeftOut(), self._counted()

    def now(self) -> LeftOut:
        """All that the copy lacks."""
        earlier, before, counted = self.earlier, self._before, self._counted()
        return LeftOut(
            earlier.dead_letters + max(0, counted.dead_letters - before.dead_letters),
            earlier.unverified + max(0, counted.unverified - before.unverified),
            earlier.evicted + max(0, counted.evicted - before.evicted),
            earlier.spared or counted.spared,
        )

    def as_json(self) -> dict[str, object]:
        return dataclasses.asdict(self.now())


class Evictions:
    """How many keys the target has evicted while this run, or none, looked. Each node counts since it was started."""

    def __init__(self) -> None:
        self.keys = 0
        self.counts: dict[str, int] = {}  # what each node said last

    def saw(self, counts: Iterable[tuple[str, int | None]]) -> int:
        """(node, its evicted_keys, None where it does not say). Returns how many keys more than before."""
        more = 0
        for node, count in counts:
            if count is not None:
                last = self.counts.get(node, count)
                more += count - last if count >= last else count  # it was started anew
                self.counts[node] = count
        self.keys += more
        return more

    def read(self, found: object) -> None:
        """The counts that an earlier run saw last. Raises ValueError."""
        if not isinstance(found, dict):
            raise ValueError("not the counts of nodes")
        self.counts = {str(node): whole(count) for node, count in found.items()}
