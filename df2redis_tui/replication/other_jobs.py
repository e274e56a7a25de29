"""Other jobs that copy into the same target. Nothing tells their keys from this job's: none is removed where both are.

The set `prefix:jobs` in the database in which a job keeps its record names the job: no keyspace has to be walked. The
name of a job that is over, or forgotten, stays there, since its keys do.
"""

from __future__ import annotations

import logging
import math

from df2redis_tui.errors import TargetError, printable
from df2redis_tui.pipeline.block import Global
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.target.connection import answer_of

log = logging.getLogger(__name__)

NAMED_MOST = 8


async def register(job: JobState) -> None:
    """Let other jobs know that this one copies into the target. Raises TargetLost."""
    if not job.settings.exactly_once:
        return
    reply = await job.target.call("SADD", job.keys.jobs, job.settings.job)
    if why := answer_of(job.target.name, reply, "SADD").refusal:
        log.warning("The job's name was not noted for other jobs", extra={"fields": {"reason": why}})


async def other_jobs(job: JobState, top: float = math.inf) -> list[str]:
    """Those whose keys may be in the databases of the target up to `top`. Raises TargetError, TargetLost."""
    target, settings = job.target, job.settings
    found: list[str] = []
    for db in await target.all_databases():
        if db > top:
            continue
        answer = answer_of(target.name, await target.call_in(db, "SMEMBERS", job.keys.jobs), "SMEMBERS")
        if why := answer.refusal:
            log.warning("Other jobs of the target are not known", extra={"fields": {"db": db, "reason": why}})
            continue
        names = sorted(word for word in answer.array() if isinstance(word, bytes))
        found += [printable(n, 40) for n in names if (db, n) != (settings.target.db, settings.job.encode())]
    return found


def named(jobs: list[str]) -> str:
    """`job 'a'`, or `jobs 'a', 'b' and 2 more`."""
    shown = ", ".join(f"'{name}'" for name in jobs[:NAMED_MOST])
    more = f" and {len(jobs) - NAMED_MOST:,} more" if len(jobs) > NAMED_MOST else ""
    return f"job{'s' if len(jobs) > 1 else ''} {shown}{more}"


def what_helps(job: JobState) -> str:
    """Where keys may be those of others."""
    return (
        "--target-owned says that all keys of the target may go; once those of another job are gone or don't matter, "
        f"take its name off (SREM {printable(job.keys.jobs)} NAME on the target)"
    )


async def warn_of_other_jobs(job: JobState) -> None:
    """At the start of a run. Raises TargetError, TargetLost."""
    others = await other_jobs(job)
    if not others:
        return
    text = f"target {job.target.name} also is the target of {named(others)}: "
    if job.settings.target_owned:
        text += "a flush of the source, and a new full sync, remove the keys of all (--target-owned)"
    else:
        text += "a flush of the source ends this run, and a new full sync removes nothing that the source no longer has"
    job.records.event("warning", "target", text)
    log.warning(text)


async def check_flush(job: JobState, item: Global) -> None:
    """Raises TargetError where a flush of the source would remove keys of other jobs, TargetLost."""
    if job.settings.target_owned:
        return
    only = item.args[0].upper() == b"FLUSHDB" and not job.target.router.cluster
    others = await other_jobs(job, item.db + job.settings.target.db if only else math.inf)
    if others:
        name = printable(item.args[0])
        refused = TargetError(
            f"{name} of the source would remove keys of {named(others)} from target {job.target.name}, which can't be "
            "told from this job's: nothing was removed"
        )
        refused.advice = f"{what_helps(job)}; then run the same command again"
        raise refused
