"""What a target can do, from its version and modules (protocol page §3.6, §4.7)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Facts about one target; for a cluster the lowest of all nodes.

    `rdb_types` are Dragonfly's type numbers whose payload RESTORE takes as it is (20 never: Dragonfly means JSON).
    """

    product: str  # "redis" or "valkey"
    version: tuple[int, int, int]
    cluster: bool
    rdb_types: frozenset[int]
    json: bool  # a JSON module (or Redis >= 8): JSON.SET and the whole JSON.* family
    field_ttl: bool  # HPEXPIREAT: Redis >= 7.4, Valkey >= 9
    hash_ttl_type: bool  # RESTORE takes Valkey's type 22 (hash with field TTLs)
    hsetex: bool  # HSETEX in Redis' form: Redis >= 8.0, Valkey >= 9

    @property
    def entries_read(self) -> bool:
        """XGROUP ... ENTRIESREAD, XSETID ... ENTRIESADDED, ZMPOP/LMPOP: Redis >= 7.0 and every Valkey."""
        return self.version >= (7, 0, 0)
