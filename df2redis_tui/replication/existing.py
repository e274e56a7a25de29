"""The keys a target held before a job began: --on-existing skip leaves them alone, and no clean-up removes them."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import anyio.to_thread

from df2redis_tui.errors import TargetError
from df2redis_tui.replication.target_keys import Scanned
from df2redis_tui.streams import RespConnection
from df2redis_tui.translate.old_keys import OldKeys

log = logging.getLogger(__name__)

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

    def mark(self, db: int, key: bytes) -> bytes | None:
        """The digest of a key, None when it is not one of these."""
        digest = _digest(db, key)
        return digest if digest in self._seen else None

    def without(self, digests: set[bytes]) -> ExistingKeys:
        rest = ExistingKeys()
        rest._seen = self._seen - digests
        return rest

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


class OldValues:
    """The `OldKeys` of a job, over its full syncs and its runs (--on-existing overwrite).

    `path` keeps what a finished full sync has not replaced. A run that resumes does not know what the journal has
    replaced since: the first time it meets such a key it reads it from the source. Without the file that goes for all.
    """

    def __init__(self, held: ExistingKeys, path: Path, *, unknown: bool = False) -> None:
        self.keys = OldKeys(held)
        self._held = held
        self._path = path
        self._unknown = unknown  # which keys were there is not known any more
        self._saved = False

    async def begin_full_sync(self, target: Scanned, prefix: bytes) -> None:
        """Every key that was there may be in the way again. Raises TargetError, TargetLost."""
        await anyio.to_thread.run_sync(lambda: self._path.unlink(missing_ok=True))
        if self._unknown:
            await self._held.read(target, prefix)
        self.keys.held, self.keys.certain, self._saved = self._held, True, False
        self.keys.gone.clear()

    async def resume(self) -> None:
        """The job goes on behind a finished full sync of an earlier run."""
        rest = ExistingKeys()
        try:
            known = await anyio.to_thread.run_sync(rest.load, self._path)
        except OSError as error:
            known = False
            log.warning("State file", extra={"fields": {"path": str(self._path), "reason": error.strerror}})
        self.keys.held = rest if known else self._held
        self.keys.certain, self._saved = False, known

    async def full_sync_done(self) -> None:
        """Keep what is left; to be called at any time behind the full sync."""
        if self._saved or not self.keys.certain:
            return
        rest = self._held.without(self.keys.gone)
        try:
            await anyio.to_thread.run_sync(rest.save, self._path)
        except OSError as error:
            log.warning("State file", extra={"fields": {"path": str(self._path), "reason": error.strerror}})
        self._saved = True
