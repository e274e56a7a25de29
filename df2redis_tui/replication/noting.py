"""Keeps the job's record on the target up to date with what the copy lacks, so that a later run knows it whatever
becomes of this one."""

from __future__ import annotations

import logging
import time

import anyio

from df2redis_tui.errors import Df2RedisError, TargetError, printable
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.telemetry.format import plural

log = logging.getLogger(__name__)

NOTE_EVERY = 0.05  # seconds
FACTS_EVERY = 5.0  # seconds between two looks at the target's INFO
MORE_MEMORY = "set maxmemory-policy noeviction, give the target more memory and begin the full sync anew"


async def keep_left_out(job: JobState) -> None:
    """As long as the run lasts."""
    while job.settings.exactly_once:
        await anyio.sleep(NOTE_EVERY)
        await note_left_out(job)


async def note_left_out(job: JobState) -> None:
    """Where the target does not know of it. A target that does not take it is asked again soon."""
    begun = job.settings.exactly_once and (job.continues or job.full_sync_begun)  # else nothing is to be written yet
    if not begun or job.noted.lacks.now() == job.noted.lacks.noted:
        return
    try:
        async with job.checkpointing:
            await job.noted.write()
    except TargetError as failed:  # whether the target takes writes, the FLOWs find out
        log.info("The job's record was not written", extra={"fields": {"reason": str(failed)}})


async def keep_facts(job: JobState) -> None:
    """Ask the target again and again for memory, role, and how many keys it has evicted."""
    told = ""
    while True:
        await anyio.sleep(FACTS_EVERY)
        why = await look_at_target(job)
        if why and why != told:
            log.info("The target does not say how it is", extra={"fields": {"reason": why}})
        told = why


async def look_at_target(job: JobState) -> str:
    """Returns why it does not say, "" when it does."""
    job.target_asked_at = job.target_asked_at or time.monotonic()
    try:
        await job.target.refresh_facts()
    except Df2RedisError as error:
        return str(error)
    job.target_asked_at = None
    note_evictions(job)
    return ""


def note_evictions(job: JobState) -> None:
    """Of what INFO said last."""
    more = job.noted.evictions.saw((node.name, node.evicted) for node in job.target.facts)
    if more:
        nodes = ", ".join(printable(node.name.encode()) for node in job.target.facts if node.evicted)
        evicted = job.noted.lacks.now().evicted
        text = f"target {nodes} has evicted {plural(evicted, 'key')} since the full sync began: {MORE_MEMORY}"
        job.records.event("error", "target", text)
        log.error(text)
