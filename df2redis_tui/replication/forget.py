"""Removes what a job keeps: its keys on the target and its files here. The copied data stays."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from df2redis_tui.errors import ConfigError, TargetError
from df2redis_tui.replication.bound_file import head_of, kept_as
from df2redis_tui.replication.checkpoint import JobKeys
from df2redis_tui.replication.job_record import JobRecord
from df2redis_tui.replication.lease import Lease
from df2redis_tui.replication.state_lock import StateLock
from df2redis_tui.replication.targets import target_of
from df2redis_tui.settings import Settings
from df2redis_tui.streams import RespConnection, is_error
from df2redis_tui.target.connection import error_text

DELETED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much was removed; `files` by path."""

    checkpoints: int
    guards: int
    others: int  # the job's record, the lease of a run that died
    files: tuple[str, ...]


async def forget(settings: Settings) -> Forgotten:
    """Raises TargetError while a run of the job holds its lease, TargetLost, ConfigError while one uses its files."""
    keys = JobKeys(settings.checkpoint_prefix, settings.job, settings.target.cluster)
    target = target_of(settings)
    noted = JobRecord(settings, keys, target)
    lock = StateLock(settings.state_dir, settings.job, settings.target.label)
    names: set[bytes] = set()

    async def note(connection: RespConnection, page: list[bytes]) -> None:
        names.update(name for name in page if name.startswith(keys.start))

    await target.connect()
    try:
        await target.scan(0, note)
        lease = Lease(target, keys.lease, settings.job, secrets.token_hex(8))
        await lease.take()
        try:
            if settings.state_dir.is_dir():
                lock.take(leased=True)
            noted.read(await target.call("GET", keys.job_record))
            ours = sorted(names - {keys.lease})
            for start in range(0, len(ours), DELETED_AT_ONCE):
                reply = await target.call("DEL", *ours[start : start + DELETED_AT_ONCE])
                if is_error(reply):
                    raise TargetError(f"target {target.name} refused DEL: {error_text(reply)}")
            if await target.call("SMEMBERS", keys.jobs) == [settings.job.encode()]:
                await target.call("DEL", keys.jobs)  # else the others have to know that its keys are there
            files = _remove_files(settings, noted.id)
        finally:
            lock.release()
            await lease.release()
    finally:
        await target.aclose()
    checkpoints = sum(name.startswith(keys.flows) for name in names)
    guards = sum(name.startswith(keys.start + b"guard:") for name in names)
    return Forgotten(checkpoints, guards, len(names) - checkpoints - guards, tuple(files))


def _remove_files(settings: Settings, copy: str) -> list[str]:
    """Remove what belongs to that copy (the id is new where the target knows none); what another copy needs stays."""
    removed: list[str] = []
    for ending in ("json", "existing", "old", "spool"):
        path: Path = settings.state_dir / f"{settings.job}.{ending}"
        try:
            if _remove(kept_as(path, copy)):
                removed.append(str(kept_as(path, copy)))
            if ending in ("existing", "old"):
                head = head_of(path)
                if head is not None and head.id != copy and head.target != settings.target.label:
                    continue
            if _remove(path):
                removed.append(str(path))
        except OSError as error:
            raise ConfigError(f"can't remove {path}: {error.strerror}") from None
    return removed


def _remove(path: Path) -> bool:
    """Whether there was anything. A symbolic link goes, not what it points to. Raises OSError."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return False
    return True
