"""The keys a target held before a job began: which --on-existing skip leaves alone."""

from __future__ import annotations

import hashlib

from df2redis_tui.errors import TargetError
from df2redis_tui.replication.target_side import StandaloneTarget
from df2redis_tui.streams import RespConnection

LIMIT = 10_000_000  # digests held in memory, about 80 bytes each


def _digest(db: int, key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=12, salt=db.to_bytes(4, "little")).digest()


class ExistingKeys:
    """Digests of (db, key): 12 bytes each, so that two of ten million keys collide with a chance of 1 in 10^14."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def __contains__(self, key: tuple[int, bytes]) -> bool:
        return _digest(*key) in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    async def read(self, target: StandaloneTarget, prefix: bytes) -> None:
        """SCAN the whole target. Raises TargetError when it holds more than `LIMIT` keys."""
        for db in await target.databases():

            async def note(connection: RespConnection, keys: list[bytes], db: int = db) -> None:
                self._seen.update(_digest(db, key) for key in keys if not key.startswith(prefix))
                if len(self._seen) > LIMIT:
                    raise TargetError(
                        f"target {target.name} holds more than {LIMIT:,} keys: too many for --on-existing skip"
                    )

            await target.scan(db, note)
