"""After a resync: removes from the target what the source no longer has.

A key that is missing on the source is not simply deleted, since it may be written again in this moment: it goes through
the exact re-read of its FLOW, which deletes it at the position at which it was seen to be absent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio

from df2redis_tui.dragonfly.control import error_text, not_now, open_source
from df2redis_tui.errors import SourceError, SourceLost
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.target_keys import Scanned
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import PeerLost, RespConnection, encode, is_error

log = logging.getLogger(__name__)


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
        commands = [encode("EXISTS", key) for key in mine]
        if db != selected:
            commands.insert(0, encode("SELECT", db))
        replies = await connection.pipeline(commands)
        if db != selected:
            replies, selected = replies[1:], db
        for key, exists in zip(mine, replies, strict=True):
            if is_error(exists):
                why = error_text(exists)
                if not_now(why):
                    raise SourceLost(f"source {source.label}: clean-up connection: {why}")
                raise SourceError(f"the source does not say which keys it has: {why}")
            looked += 1
            if exists == 0:
                missing += 1
                absent(db, key)

    try:
        for db in await target.databases():

            async def on_page(peer: RespConnection, keys: list[bytes], db: int = db) -> None:
                await page(peer, db, keys)

            await target.scan(db, on_page)
    except PeerLost as lost:
        raise SourceLost(f"source {source.label}: clean-up connection: {lost}") from None
    finally:
        await connection.aclose()
    return looked, missing


async def clean_up(job: JobState) -> None:
    """Remove what the source no longer has. It stays due, on the target too, until all of that is confirmed."""
    try:
        looked, absent = await job.patiently(
            lambda: find_leftovers(
                job.settings.source,
                job.target,
                lambda db, key: is_ours(job, db, key),
                lambda db, key: _absent(job, db, key),
            )
        )
        while any(state.unread() for state in job.flows):
            await anyio.sleep(0.1)
    except SourceLost as lost:
        job.noted.cleaning, job.noted.clean_up_due = False, True
        log.warning("Clean-up interrupted", extra={"fields": {"reason": str(lost)}})
        return
    except SourceError as refused:
        # Nothing is left over in general: what the job wrote was removed before the full sync.
        looked = absent = 0
        job.records.event("warning", "clean-up", f"left out: {refused}")
        log.warning("Clean-up left out", extra={"fields": {"reason": str(refused)}})
    job.noted.cleaning = False
    if job.noted.clean_up_due:
        return  # a new full sync began meanwhile
    if job.settings.exactly_once:
        await job.patiently(job.noted.write)
    text = f"clean-up: {looked:,} keys looked at, {absent:,} that the source no longer has are removed"
    job.records.event("info", "clean-up", text)
    log.info(text)


def is_ours(job: JobState, db: int, key: bytes) -> bool:
    """Whether the job wrote this key of the target, so that the source has it in the database of this number."""
    if job.target.router.cluster and job.settings.db_policy == "merge-into-0":
        return False  # it may be of another database of the source
    return may_go(job, db, key)


def may_go(job: JobState, db: int, key: bytes) -> bool:
    """Whether a new full sync may remove this key of the target."""
    return not key.startswith(f"{job.settings.checkpoint_prefix}:".encode()) and job.ours(db, key)


def _absent(job: JobState, db: int, key: bytes) -> None:
    state = job.flows[job.ownership.owner(key)]
    if state.rereads is not None:
        state.rereads.request(db, (key,), "the source no longer has this key")
