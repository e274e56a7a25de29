"""Which FLOW (shard of the source) a key belongs to (protocol page §4.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from xxhash import xxh64_intdigest

from df2redis_tui.translate.keys import hash_tag, slot_of

SEED: Final = 120577240643
CERTAIN_AFTER: Final = 24  # observed keys; each leaves a wrong rule alive with a chance of 1 / flows
ENOUGH: Final = 1_000
ODD_ONES: Final = 50  # one of so many may be where it does not belong: PFMERGE leaves copies in other shards


def _plain(key: bytes, flows: int) -> int:
    return xxh64_intdigest(key, SEED) % flows


def _tagged(key: bytes, flows: int) -> int:
    return xxh64_intdigest(hash_tag(key), SEED) % flows


def _by_slot(key: bytes, flows: int) -> int:
    return slot_of(key) % flows


class Ownership:
    """Learns the source's hashing rule from (key, flow) pairs seen in its snapshot and journal.

    The source hashes the whole key, only its hash tag, or the cluster slot, by its settings; with a round-robin prefix
    none holds, and `foreign` stays False.
    """

    def __init__(self, flows: int) -> None:
        self.flows = flows
        self._seen = 0
        self._misses: dict[Callable[[bytes, int], int], int] = dict.fromkeys((_plain, _tagged, _by_slot), 0)

    @property
    def wanted(self) -> int:
        """How many more keys it is worth to observe at once."""
        return max(1, ENOUGH - self._seen) if self.flows > 1 else 0

    def observe(self, key: bytes, flow: int) -> None:
        """A key that this FLOW most likely owns (from a snapshot, or a single-key record)."""
        if self.flows > 1:
            self._seen += 1
            for rule in self._misses:
                self._misses[rule] += rule(key, self.flows) != flow

    def _rules(self) -> list[Callable[[bytes, int], int]]:
        return [rule for rule, misses in self._misses.items() if misses * ODD_ONES <= self._seen]

    def foreign(self, key: bytes, flow: int) -> bool:
        """True only when the rule is certain and gives another FLOW."""
        if self.flows < 2 or self._seen < CERTAIN_AFTER:
            return False
        rules = self._rules()
        return bool(rules) and all(rule(key, self.flows) != flow for rule in rules)

    def owner(self, key: bytes) -> int:
        """The FLOW by the rule that fits what was seen; 0 when none does."""
        rules = self._rules() if self.flows > 1 else []
        return rules[0](key, self.flows) if rules else 0
