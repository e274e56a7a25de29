"""Logical databases on a target that has only number 0 (a cluster)."""

from __future__ import annotations

from typing import Literal

from df2redis_tui.errors import NotCopied, printable
from df2redis_tui.translate.refusals import Refusal, RefusalPort

DbPolicy = Literal["fail", "skip", "merge-into-0"]


class Databases:
    """Maps a database of the source to one of the target by the policy in force."""

    def __init__(self, cluster: bool, policy: DbPolicy, refusals: RefusalPort, flow: int) -> None:
        self._policy: DbPolicy | None = policy if cluster else None
        self._refusals = refusals
        self._flow = flow

    def target_of(self, db: int, key: bytes, kind: str, lsn: int | None = None) -> int | None:
        """The target's database, None when the key is left out (and was reported). NotCopied under `fail`."""
        if db == 0 or self._policy is None:
            return db
        if self._policy == "merge-into-0":
            return 0
        reason = f"database {db} does not exist on a cluster"
        if self._policy == "fail":
            raise NotCopied(f"key {printable(key)} in db {db}: {reason}; see --db-policy")
        if not self._refusals.refused(db, key):
            self._refusals.refuse(Refusal(db, key, kind, reason, self._flow, lsn))
        return None
