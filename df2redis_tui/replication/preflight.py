"""Before the source is asked for anything: the target, the lease, what earlier runs noted, what is there already."""

from __future__ import annotations

import logging

from df2redis_tui.errors import ConfigError, TargetError, printable
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.rights import check_rights

log = logging.getLogger(__name__)


async def preflight(job: JobState) -> None:
    """Raises ConfigError, TargetError, TargetLost."""
    settings = job.settings
    await job.target.connect()
    _warn_of_eviction(job)
    await check_rights(job)
    if settings.exactly_once:
        await job.lease.take()
        job.note_fence(await job.target.take_over(job.keys))
    if settings.backpressure == "spill":
        try:
            job.spool_space.prepare()
        except OSError as error:
            raise ConfigError(f"the spool {job.spool_space.directory} can't be used: {error.strerror}") from None
    record = await job.target.call("GET", job.keys.job_record) if settings.exactly_once else None
    job.continues = isinstance(record, bytes)
    job.noted.read(record)
    await _note_existing(job)
    if settings.exactly_once and job.continues and not job.noted.held_before:
        await job.noted.write()


def _warn_of_eviction(job: JobState) -> None:
    for node in job.target.facts:
        if node.evicts:
            text = (
                f"target {printable(node.name.encode())} drops keys when it is full "
                f"(maxmemory-policy {printable(node.evicts.encode())}), unseen by this run: with noeviction it refuses "
                "writes instead, which is waited out"
            )
            job.records.event("warning", "target", text)
            log.warning(text)


async def _note_existing(job: JobState) -> None:
    """What the target holds that is not ours: overwritten, left alone, or a reason not to begin."""
    settings, held = job.settings, job.target.existing_keys
    path = settings.state_dir / f"{settings.job}.existing"
    existing = job.existing
    if job.continues:
        try:
            known = existing.load(path)
        except OSError as error:
            raise ConfigError(f"--state-dir: can't read {path}: {error.strerror}") from None
        if not known:
            none_before = job.noted.existing_keys == 0
            job.old.foreign = not (settings.target_owned or none_before)
            job.ours = lambda db, key: settings.target_owned or none_before
            return
    elif held:
        job.noted.existing_keys = held
        where = f"target {job.target.name} already holds {held:,} keys"
        if settings.on_existing == "fail":
            refused = TargetError(f"{where}: --on-existing fail asks for an empty one; nothing was written")
            refused.advice = "empty it, or choose --on-existing overwrite or skip"
            raise refused
        if not settings.target_owned or settings.on_existing == "skip":
            await existing.read(job.target, f"{settings.checkpoint_prefix}:".encode())
        if settings.on_existing == "skip":
            text = f"{where}: they are left alone (--on-existing skip)"
        elif settings.target_owned:
            job.noted.clean_up_due = True
            text = f"{where}: those that the source lacks are removed after the full sync (--target-owned)"
        else:
            text = f"{where}: those of the same name are overwritten (--on-existing overwrite)"
        job.records.event("warning", "target", text)
        log.warning(text)
    if not job.continues:
        try:
            existing.save(path)
        except OSError as error:
            raise ConfigError(f"--state-dir: can't write {path}: {error.strerror}") from None
    if settings.on_existing == "skip" and len(existing):
        cluster = job.target.router.cluster
        job.spared = lambda db, key: (0 if cluster else db, key) in existing
    job.old.foreign = bool(existing) and not settings.target_owned
    job.ours = lambda db, key: settings.target_owned or (db, key) not in existing
