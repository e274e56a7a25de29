"""The keys a target held before a job began: --on-existing skip leaves them alone, and no clean-up removes them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from df2redis_tui.errors import TargetError
from df2redis_tui.replication.target_keys import Scanned
from df2redis_tui.streams import RespConnection

DIGEST = 12  # bytes
LIMIT = 10_000_000  # digests held in memory, about 80 bytes each


def _digest(db: int, key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=DIGEST, salt=db.to_bytes(4, "little")).digest()


class ExistingKeys:
    """Digests of (db, key): 12 bytes each, so that two of ten million keys collide with a chance of 1 in 10^14."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def __contains__(self, key: tuple[int, bytes]) -> bool:
        return _digest(*key) in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    def save(self, path: Path) -> None:
        """All digests, one after the other. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(self._seen)

    def load(self, path: Path) -> bool:
        """False when there is no such file. Raises OSError."""
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return False
        self._seen = {raw[i : i + DIGEST] for i in range(0, len(raw), DIGEST)}
        return True

    async def read(self, target: Scanned, prefix: bytes) -> None:
        """SCAN the whole target. Raises TargetError when it holds more than `LIMIT` keys."""
        for db in await target.databases():

            async def note(connection: RespConnection, keys: list[bytes], db: int = db) -> None:
                self._seen.update(_digest(db, key) for key in keys if not key.startswith(prefix))
                if len(self._seen) > LIMIT:
                    raise TargetError(
                        f"target {target.name} holds more than {LIMIT:,} keys: too many to tell them from the copied "
                        "ones (--target-owned says all are ours)"
                    )

            await target.scan(db, note)
