"""Removes what a job keeps: its keys on the target and its files here. The copied data stays."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from df2redis_tui.errors import ConfigError, TargetError
from df2redis_tui.replication.checkpoint import JobKeys
from df2redis_tui.replication.lease import Lease
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
    """Raises TargetError while a run of the job holds its lease, TargetLost, ConfigError."""
    keys = JobKeys(settings.checkpoint_prefix, settings.job, settings.target.cluster)
    target = target_of(settings)
    names: set[bytes] = set()

    async def note(connection: RespConnection, page: list[bytes]) -> None:
        names.update(name for name in page if name.startswith(keys.start))

    await target.connect()
    try:
        await target.scan(0, note)
        lease = Lease(target, keys.lease, settings.job, secrets.token_hex(8))
        await lease.take()
        try:
            ours = sorted(names - {keys.lease})
            for start in range(0, len(ours), DELETED_AT_ONCE):
                reply = await target.call("DEL", *ours[start : start + DELETED_AT_ONCE])
                if is_error(reply):
                    raise TargetError(f"target {target.name} refused DEL: {error_text(reply)}")
        finally:
            await lease.release()
    finally:
        await target.aclose()
    checkpoints = sum(name.startswith(keys.flows) for name in names)
    guards = sum(name.startswith(keys.start + b"guard:") for name in names)
    return Forgotten(checkpoints, guards, len(names) - checkpoints - guards, tuple(_remove_files(settings)))


def _remove_files(settings: Settings) -> list[str]:
    removed: list[str] = []
    for ending in ("json", "existing", "old", "spool"):
        path: Path = settings.state_dir / f"{settings.job}.{ending}"
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"can't remove {path}: {error.strerror}") from None
        removed.append(str(path))
    return removed
