"""Keys of the source that are named like those which this job keeps on the target (lease, record, checkpoints, guards).

A former target that serves as a source has such keys. They would take the place of the job's own, and with it decide
what is resumed and who may write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

WHY: Final = (
    "it is named like the keys that this job keeps on the target: use another --job or --checkpoint-prefix, or remove "
    "it from the source"
)
BESIDE: Final = "a command on it also names one of the job's own keys"


class OwnKeys:
    """`start` is what the names of all of them begin with, None when the job keeps none. They stand in database 0 of
    the target, which on a cluster is the only one."""

    def __init__(self, start: bytes | None, *, cluster: bool) -> None:
        self.start = start
        self.length = len(start) if start is not None else 0
        self._cluster = cluster

    def may_hold(self, key: bytes) -> bool:
        """Whether it has the name of one of them, in whatever database."""
        return key[: self.length] == self.start

    def among(self, keys: Sequence[bytes]) -> bool:
        """`may_hold` of any of these, or nearly so: one look at all of them together."""
        return self.start is not None and self.start in b"\n".join(keys)

    def holds(self, db: int, key: bytes) -> bool:
        """Whether this key of the source would be one of them on the target."""
        return self.may_hold(key) and (self._cluster or not db)


NONE: Final = OwnKeys(None, cluster=False)
