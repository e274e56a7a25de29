"""The keys a target held before a job began, and before a full sync of the job began."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio.to_thread

from df2redis_tui.errors import TargetError
from df2redis_tui.replication.bound_file import Owner
from df2redis_tui.replication.key_marks import KeyMarks
from df2redis_tui.replication.target_keys import KeyChoice, Scanned
from df2redis_tui.streams import RespConnection
from df2redis_tui.translate.old_keys import OldKeys

log = logging.getLogger(__name__)

EXISTING_MOST: Final = 10_000_000  # keys, 12 bytes each
OLD_MOST: Final = 50_000_000  # keys, 8 bytes each


class ExistingKeys(KeyMarks):
    """What the target held before the job: --on-existing skip leaves it alone, and no clean-up or flush removes it."""

    def __init__(self) -> None:
        super().__init__(exact=True)

    async def read(self, target: Scanned, prefix: bytes) -> None:
        """SCAN the whole target. Raises TargetError when it holds more than `EXISTING_MOST` keys."""
        await _scan(
            self,
            target,
            lambda db, key: not key.startswith(prefix),
            EXISTING_MOST,
            "too many to tell them from the copied ones (--target-owned says all are ours)",
        )


class OldValues:
    """The `OldKeys` of a job, over its full syncs and its runs.

    What the target holds when a full sync begins is old: each key stays until the source sends its value, or until
    right before its first command; what is left of a finished full sync the source does not have. `path` keeps which
    keys those are. A run that resumes does not know what the journal has replaced since: the first time it meets such
    a key it reads it from the source.
    """

    def __init__(self, path: Path, existing: ExistingKeys) -> None:
        self.marks = KeyMarks()
        self.keys = OldKeys(self.marks)
        self.foreign = False  # some of the target's keys may be of others
        self.lost = False  # which ones is not known any more
        self.path = path
        self.owner = Owner("", "", "")  # the copy, once the target has said which one it is
        self._existing = existing
        self._saved = True

    async def begin_full_sync(self, target: Scanned, old: KeyChoice) -> int:
        """Take note of all that is there and `old`; returns how many. Raises TargetError, TargetLost."""
        await anyio.to_thread.run_sync(lambda: self.path.unlink(missing_ok=True))
        self.marks.clear()
        self.keys.certain, self._saved = True, False
        await _scan(
            self.marks,
            target,
            old,
            OLD_MOST,
            "too many for a full sync over them: empty it, or copy into another target",
        )
        if len(self.marks):
            await self._keep()  # a run that is killed right behind the full sync has not kept what is left
        return len(self.marks)

    async def resume(self) -> None:
        """The job goes on behind a finished full sync of an earlier run. Raises ConfigError for a damaged file."""
        self.keys.certain, self._saved = False, True
        try:
            known = await anyio.to_thread.run_sync(self.marks.load, self.path, self.owner)
        except OSError as error:
            known = False
            log.warning("State file", extra={"fields": {"path": str(self.path), "reason": error.strerror}})
        self.lost = self.foreign and not known
        if not known:
            self.marks.copy(self._existing)

    async def full_sync_done(self) -> None:
        """Keep what is left; to be called at any time behind the full sync."""
        if not self._saved and self.keys.certain:
            await self.note()

    async def note(self) -> None:
        """Keep what is left now, where that is known."""
        if self.keys.certain:
            await self._keep()
            self._saved = True

    async def _keep(self) -> None:
        try:
            await anyio.to_thread.run_sync(self.marks.save, self.path, self.owner)
        except OSError as error:
            log.warning("State file", extra={"fields": {"path": str(self.path), "reason": error.strerror}})

    def spared(self, ours: KeyChoice, *, cluster: bool) -> KeyChoice | None:
        """The keys that a flush of the source must not remove: not ours, and not replaced by the source's."""
        if not self.foreign:
            return None
        if self.lost:
            return lambda db, key: not ours(0 if cluster else db, key)
        return lambda db, key: self.keys.holds(0 if cluster else db, key) and not ours(0 if cluster else db, key)


async def _scan(marks: KeyMarks, target: Scanned, wanted: Callable[[int, bytes], bool], most: int, why: str) -> None:
    for db in await target.databases():

        async def note(_: RespConnection, keys: list[bytes], db: int = db) -> None:
            marks.add(db, [key for key in keys if wanted(db, key)])
            if len(marks) > most:
                raise TargetError(f"target {target.name} holds more than {most:,} keys: {why}")

        await target.scan(db, note)
    await anyio.to_thread.run_sync(marks.sort)
