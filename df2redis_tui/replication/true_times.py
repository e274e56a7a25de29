"""The end of a run that is caught up: keys which the target may still hold for longer than the source get their true
expiry, where that is not remembered: a killed run held them, or they were too many to remember (§4.8)."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable

import anyio

from df2redis_tui.answers import Answer
from df2redis_tui.dragonfly.control import answer_of, open_source
from df2redis_tui.errors import Df2RedisError, TargetError
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.outcome import significant
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import FEW, PeerLost, RespConnection, encode
from df2redis_tui.target.answers import check_each
from df2redis_tui.translate.expiry import AHEAD_MS, HOLD_MOST_MS
from df2redis_tui.translate.rewriter import true_expiry_command

log = logging.getLogger(__name__)

LOOKED_AT_MS = AHEAD_MS + 2 * HOLD_MOST_MS  # what ends later than that was never held
INEXACT_MS = 20  # between two answers that are relative to now
CONNECTIONS = 4
WHEN_STOPPED, WHEN_COMPLETE = 20.0, 600.0  # seconds that it may take


async def give_true_times(job: JobState) -> None:
    """Look through the target for them where that is due, and note on the target that none is held any more."""
    if not job.settings.exactly_once and not _unremembered(job):
        return
    if not job.caught_up_at_end or job.hurry:
        return
    if job.noted.held_before or _unremembered(job):
        given, problem = 0, "it takes too long"
        try:
            with anyio.move_on_after(WHEN_COMPLETE if job.complete else WHEN_STOPPED):
                given = await _look_through(job)
                problem = ""
        except (Df2RedisError, PeerLost) as error:
            problem = str(error)
        if problem:
            text = f"keys with a TTL may live a minute or more longer on the target than on the source ({problem})"
            job.records.event("warning", "expiry", f"{text}: the next run of this job sees to it")
            log.warning("Expiry times not compared", extra={"fields": {"reason": problem}})
            return
        log.info("Expiry times compared", extra={"fields": {"corrected": given}})
    if job.settings.exactly_once:
        job.noted.held = False
        try:
            await job.noted.write()
        except TargetError as error:  # the next run looks once more
            log.warning("Not noted that all expiry times are true", extra={"fields": {"reason": str(error)}})


def _unremembered(job: JobState) -> bool:
    return any(state.expiry.unremembered for state in job.flows)


async def _look_through(job: JobState) -> int:
    """How many keys got another time. Raises SourceLost, SourceError, TargetLost, TargetError, PeerLost."""
    if any(state.merged for state in job.flows):
        return 0  # of which of the source's databases a key is, nobody knows
    prefix = f"{job.settings.checkpoint_prefix}:".encode()
    caps = job.target.caps

    def of_target(reply: object, asked: str) -> Answer:
        return Answer(reply, asked, f"target {job.target.name}", TargetError)

    source = _Source(job.settings.source)
    given = 0

    async def page(peer: RespConnection, keys: list[bytes], db: int) -> None:
        nonlocal given
        mine = [key for key in keys if not key.startswith(prefix) and not (job.spared and job.spared(db, key))]
        here = await _ends(peer, mine, of_target, exact=caps.conditional_expire)
        latest = _now_ms() + LOOKED_AT_MS
        mine = [key for key in mine if 0 < here.get(key, 0) <= latest]
        if not mine:
            return
        there = await source.ends(db, mine)
        wires = [
            true_expiry_command(caps, key, there[key])
            for key in mine
            if 0 < there.get(key, 0) < here[key] - (0 if caps.conditional_expire else INEXACT_MS)
        ]
        if wires:
            replies = await peer.pipeline(wires, timeout=60.0, most=FEW)
            check_each(job.target.name, "true expiry times", wires, replies)
            given += sum(reply == 1 for reply in replies)

    try:
        await source.open()
        for db in await job.target.databases():
            await job.target.scan(db, lambda peer, keys, db=db: page(peer, keys, db))  # type: ignore[misc]
    except BaseExceptionGroup as group:
        error = significant(group)
        if isinstance(error, PeerLost):
            raise error.of_source(f"{job.settings.source.label}: connection for expiry times") from None
        raise error from None
    finally:
        with anyio.CancelScope(shield=True):
            await source.aclose()
    return given


class _Source:
    """Some connections to it at once: a Dragonfly answers pipelined commands of one connection slowly."""

    def __init__(self, source: Endpoint) -> None:
        self._source = source
        self._connections: list[RespConnection] = []
        self._db = 0

    async def open(self) -> None:
        for _ in range(CONNECTIONS):
            self._connections.append(await open_source(self._source, "connection for expiry times"))

    async def ends(self, db: int, keys: list[bytes]) -> dict[bytes, int]:
        """Unix ms at which each key expires."""
        if db != self._db:
            for connection in self._connections:
                answer_of(self._source, await connection.call("SELECT", db, most=FEW), f"SELECT {db}").ok()
            self._db = db
        found: dict[bytes, int] = {}

        async def ask(connection: RespConnection, some: list[bytes]) -> None:
            of_source = functools.partial(answer_of, self._source)
            found.update(await _ends(connection, some, of_source, exact=True))

        async with anyio.create_task_group() as tasks:
            for at, connection in enumerate(self._connections):
                if some := keys[at::CONNECTIONS]:
                    tasks.start_soon(ask, connection, some)
        return found

    async def aclose(self) -> None:
        for connection in self._connections:
            await connection.aclose()


async def _ends(
    peer: RespConnection, keys: list[bytes], answer: Callable[[object, str], Answer], *, exact: bool
) -> dict[bytes, int]:
    """Unix ms at which each key expires; a server without PEXPIRETIME is asked for the time left."""
    if exact:
        replies = await peer.pipeline([encode("PEXPIRETIME", key) for key in keys], timeout=60.0, most=FEW)
        answers = [answer(reply, "PEXPIRETIME") for reply in replies]
        if not any(a.refusal for a in answers):
            return {key: a.number(-2) for key, a in zip(keys, answers, strict=True)}
    replies = await peer.pipeline([encode("PTTL", key) for key in keys], timeout=60.0, most=FEW)
    now = _now_ms()
    left = [answer(reply, "PTTL").number(-2) for reply in replies]
    return {key: now + ms for key, ms in zip(keys, left, strict=True) if ms > 0}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
