"""After a resync: removes from the target what the source no longer has.

Behind a full sync of this run that is what the target held before and the source has sent nothing of, at the position
at which its FLOW removes it. A run that resumed asks the source. A key that is missing there may be written again in
this moment: it goes through the exact re-read of its FLOW, which deletes it at the position at which it was absent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio

from df2redis_tui.dragonfly.control import answer_of, not_now, open_source
from df2redis_tui.errors import SourceError, SourceLost
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.other_jobs import named, other_jobs, what_helps
from df2redis_tui.replication.target_keys import Scanned
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import FEW, PeerLost, RespConnection, encode

log = logging.getLogger(__name__)

WAITING_MOST = 10_000  # keys of a FLOW that wait to be removed


async def find_leftovers(
    source: Endpoint,
    target: Scanned,
    ours: Callable[[int, bytes], bool],
    absent: Callable[[int, bytes], None],
) -> tuple[int, int]:
    """Tell `absent` of every key of the target which is `ours` and which the source does not have.

    Returns (keys looked at, keys absent). Raises SourceLost, SourceError (it refuses
    EXISTS), TargetLost, TargetError.
    """
    connection = await open_source(source, "clean-up connection")
    looked = missing = 0
    selected = 0

    async def page(_: RespConnection, db: int, keys: list[bytes]) -> None:
        nonlocal looked, missing, selected
        mine = [key for key in keys if ours(db, key)]
        if not mine:
            return
        try:
            if db != selected:
                answer_of(source, await connection.call("SELECT", db, most=FEW), f"SELECT {db}").ok()
                selected = db
            replies = await connection.pipeline([encode("EXISTS", key) for key in mine], most=FEW)
        except PeerLost as lost:
            raise lost.of_source(f"{source.label}: clean-up connection") from None
        for key, reply in zip(mine, replies, strict=True):
            exists = answer_of(source, reply, "EXISTS")
            if why := exists.refusal:
                if not_now(why):
                    raise SourceLost(f"source {source.label}: clean-up connection: {why}")
                raise SourceError(f"the source does not say which keys it has: {why}")
            looked += 1
            if not exists.number():
                missing += 1
                absent(db, key)

    try:
        for db in await target.databases():

            async def on_page(peer: RespConnection, keys: list[bytes], db: int = db) -> None:
                await page(peer, db, keys)

            await target.scan(db, on_page)
    finally:
        await connection.aclose()
    return looked, missing


async def clean_up(job: JobState) -> None:
    """Remove what the source no longer has. It stays due, on the target too, until all of that is confirmed."""
    text = "clean-up: keys that the source does not have are removed from the target"
    job.records.event("info", "clean-up", text)
    log.info(text)
    others = [] if job.settings.target_owned else await job.patiently(lambda: other_jobs(job))
    job.noted.leftovers_of = named(others) if others else ""
    if others:
        job.noted.cleaning, job.noted.left_out = False, True
        text = (
            f"clean-up left out: what the source no longer has can't be told from keys of {named(others)} on target "
            f"{job.target.name}, so all stays: {what_helps(job)}"
        )
        job.records.event("warning", "clean-up", text)
        log.warning(text)
        if job.settings.exactly_once:
            await job.patiently(job.noted.write)
        return
    try:
        looked, absent = await job.patiently(lambda: _find(job))
        while any(state.unread() for state in job.flows):
            await anyio.sleep(0.1)
    except SourceLost as lost:
        job.noted.cleaning, job.noted.clean_up_due = False, True
        log.warning("Clean-up interrupted", extra={"fields": {"reason": str(lost)}})
        return
    except SourceError as refused:
        job.noted.cleaning, job.noted.left_out = False, True
        text = f"clean-up left out, keys that the source no longer has may be left on the target: {refused}"
        job.records.event("warning", "clean-up", text)
        log.warning("Clean-up left out", extra={"fields": {"reason": str(refused)}})
        return
    job.noted.cleaning = False
    if job.noted.clean_up_due:
        return  # a new full sync began meanwhile
    job.noted.left_out = False
    if job.settings.exactly_once:
        await job.patiently(job.noted.write)
    if job.old.keys.certain and not job.old.foreign:
        job.old.marks.clear()  # nothing of before is left
    text = f"clean-up: {looked:,} keys looked at, {absent:,} that the source no longer has are removed"
    job.records.event("info", "clean-up", text)
    log.info(text)


async def _find(job: JobState) -> tuple[int, int]:
    if job.old.keys.certain:
        return await find_undelivered(job)
    return await find_leftovers(
        job.settings.source, job.target, lambda db, key: may_go(job, db, key), lambda db, key: _absent(job, db, key)
    )


async def find_undelivered(job: JobState) -> tuple[int, int]:
    """Hand to each FLOW the keys of the target of which the full sync of this run has brought nothing."""
    looked = found = 0
    for db in await job.target.databases():

        async def page(_: RespConnection, keys: list[bytes], db: int = db) -> None:
            nonlocal looked, found
            looked += len(keys)
            for key in keys:
                if job.old.keys.holds(db, key) and may_go(job, db, key):
                    found += 1
                    job.flows[job.ownership.owner(key)].leftovers.add(db, key)
            while any(len(state.leftovers) > WAITING_MOST for state in job.flows):
                await anyio.sleep(0.05)

        await job.target.scan(db, page)
    return looked, found


def may_go(job: JobState, db: int, key: bytes) -> bool:
    """Whether the job may remove this key of the target as one that it wrote."""
    return not key.startswith(f"{job.settings.checkpoint_prefix}:".encode()) and job.ours(db, key)


def may_be_old(job: JobState, db: int, key: bytes) -> bool:
    """Whether this key of the target may be in the way of a full sync."""
    if job.spared is not None and job.spared(db, key):
        return False
    return not key.startswith(f"{job.settings.checkpoint_prefix}:".encode())


def _absent(job: JobState, db: int, key: bytes) -> None:
    state = job.flows[job.ownership.owner(key)]
    if state.rereads is not None:
        state.rereads.request(db, (key,), "the source no longer has this key")
