"""Shards: which one a key belongs to, each one's LSN and backlog (protocol page §4.3, §4.6, §5.1)."""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

import xxhash

_SEED: Final = 120577240643


def shard_of(key: bytes, shards: int) -> int:
    """XXH64 of the whole key, modulo the number of shards."""
    return xxhash.xxh64_intdigest(key, _SEED) % shards


class Listener(Protocol):
    """A FLOW that follows a shard's journal."""

    def on_record(self, record: bytes, lsn: int, keys: frozenset[tuple[int, bytes]] | None) -> None: ...


class Shard:
    """One shard's journal. The backlog is a ring of whole records and survives the sessions that read it."""

    __slots__ = ("backlog", "flows", "index", "next_lsn")

    def __init__(self, index: int, backlog: int) -> None:
        self.index = index
        self.next_lsn = 1
        self.backlog: deque[bytes] = deque(maxlen=backlog)
        self.flows: list[Listener] = []

    def append(self, record: bytes, keys: frozenset[tuple[int, bytes]] | None = None) -> None:
        """Journal a record; `keys` are the (db, key) it concerns, None = all."""
        lsn = self.next_lsn
        self.next_lsn = lsn + 1
        self.backlog.append(record)
        for flow in self.flows:
            flow.on_record(record, lsn, keys)

    def omit(self) -> None:
        """A redundant write that was left out during a full sync: the LSN jumps by 1 and the backlog is dropped."""
        self.next_lsn += 1
        self.backlog.clear()

    def holds(self, lsn: int) -> bool:
        """Whether a FLOW may continue at `lsn`: in the ring, or exactly the next."""
        return self.next_lsn - len(self.backlog) <= lsn <= self.next_lsn

    def since(self, lsn: int) -> list[bytes]:
        """The records from `lsn` on; `holds(lsn)` is true."""
        skip = len(self.backlog) - (self.next_lsn - lsn)
        return list(self.backlog)[skip:]
