"""Before the source is asked for anything: the target, the lease, what earlier runs noted, what is there already."""

from __future__ import annotations

import logging
from pathlib import Path

from df2redis_tui.errors import ConfigError, TargetError, printable
from df2redis_tui.replication.bound_file import Owner, claim
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.marks import check_control
from df2redis_tui.replication.noting import note_evictions
from df2redis_tui.replication.other_jobs import register, warn_of_other_jobs
from df2redis_tui.replication.rights import check_rights
from df2redis_tui.target.answers import values_of

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
        job.target.check_with(lambda connection: check_control(job, connection))
    job.state_lock.take(leased=settings.exactly_once)
    job.dead_letters.check()
    if settings.backpressure == "spill":
        try:
            job.spool_space.prepare()
        except OSError as error:
            raise ConfigError(f"the spool {job.spool_space.directory} can't be used: {error.strerror}") from None
    record: bytes | None = None
    if settings.exactly_once:
        reply = await job.target.call("GET", job.keys.job_record)
        (record,) = values_of(job.target.name, "GET of the job's record", [reply])
    job.continues = record is not None
    job.noted.read(record)
    note_evictions(job)
    await _note_existing(job)
    await warn_of_other_jobs(job)
    if job.continues:
        await register(job)
    if settings.exactly_once and job.continues and not job.noted.held_before:
        await job.noted.write()


def _warn_of_eviction(job: JobState) -> None:
    for node in job.target.facts:
        if node.evicts:
            text = (
                f"target {printable(node.name.encode())} drops keys when it is full "
                f"(maxmemory-policy {printable(node.evicts.encode())}), and the copy is incomplete then: with "
                "noeviction it refuses writes instead, which is waited out"
            )
            job.records.event("warning", "target", text)
            log.warning(text)


async def _note_existing(job: JobState) -> None:
    """What the target holds that is not ours: overwritten, left alone, or a reason not to begin."""
    settings, held = job.settings, job.target.existing_keys
    path = settings.state_dir / f"{settings.job}.existing"
    existing = job.existing
    owner = job.old.owner = Owner(job.noted.id, settings.job, settings.target.label)
    if job.continues:
        none_before = job.noted.readable and job.noted.existing_keys == 0
        skips = settings.on_existing == "skip"
        needed = not none_before and (skips or not settings.target_owned)
        try:
            claim(path, owner, begins=False, needed=needed)
            claim(job.old.path, owner, begins=False)
            known = needed and existing.load(path, owner)
        except OSError as error:
            raise ConfigError(f"--state-dir: can't use {error.filename or path}: {error.strerror}") from None
        if not known:
            if needed:
                _without_the_list(job, path, refused=skips)
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
            claim(path, owner, begins=True)
            claim(job.old.path, owner, begins=True)
            existing.save(path, owner)
        except OSError as error:
            raise ConfigError(f"--state-dir: can't write {error.filename or path}: {error.strerror}") from None
    if settings.on_existing == "skip" and len(existing):
        cluster = job.target.router.cluster
        job.spared = lambda db, key: (0 if cluster else db, key) in existing
    job.old.foreign = bool(existing) and not settings.target_owned
    job.ours = lambda db, key: settings.target_owned or (db, key) not in existing


def _without_the_list(job: JobState, path: Path, *, refused: bool) -> None:
    """Nobody knows which keys the target held before this copy: none is removed, or ConfigError where some are to be
    left alone."""
    text = (
        f"{path.name} is missing in {path.parent.resolve()} (--state-dir): which of its keys target "
        f"{job.target.name} held before this copy is not known"
    )
    if refused:
        raise ConfigError(
            f"{text}, and --on-existing skip has to leave those alone; nothing was written: start it with the "
            "--state-dir in which this copy began, put the file back, or copy with --on-existing overwrite"
        )
    text += (
        ", so a flush of the source and a new full sync remove none that the source no longer has: start it with the "
        "--state-dir in which this copy began"
    )
    job.records.event("warning", "target", text)
    log.warning(text)
