"""Whether the target still has what it confirmed: asked over each connection that is opened anew, and at the end.

A server that is restarted without its data, or restored from an older copy, answers as if nothing had happened. On one
server a FLOW's checkpoint tells. Where there is none yet (in a full sync), and on a cluster, whose masters lose their
data each by itself, marks do: keys that hold how much was confirmed when they were written, one of a single server
(until the full sync is confirmed), one in a slot of each master. One that is gone, or older than what is known to have
been written, says that what was confirmed with it is not there. What was confirmed since the last mark (half a second)
and then lost is not seen, unless a checkpoint tells.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import anyio

from df2redis_tui.errors import DataLost, TargetLost
from df2redis_tui.replication.checkpoint import FlowLedger
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.known_checkpoint import Known
from df2redis_tui.streams import PeerLost, RespConnection, encode, is_error
from df2redis_tui.target.answers import values_of
from df2redis_tui.target.connection import ask, error_text, parse_info
from df2redis_tui.target.replies import Verdict, verdict

log = logging.getLogger(__name__)

MARK_EVERY = 0.5  # seconds
_ELSEWHERE = (Verdict.MOVED, Verdict.ASK)


async def keep_marks(job: JobState) -> None:
    """As long as the run lasts."""
    while job.settings.exactly_once:
        await anyio.sleep(MARK_EVERY)
        if job.target.router.cluster or not job.snapshot_confirmed:
            await write_marks(job)


async def write_marks(job: JobState) -> None:
    """What is confirmed now, if anything was since the last time. Raises TargetError."""
    async with job.checkpointing:
        total = job.marks.confirmed(sum(state.stats.batches for state in job.flows))
        if not total or total == job.marks.written:
            return
        for key in job.target.mark_keys(job.keys):
            try:
                reply = await job.target.write_mark(key, job.marks.value(total))
            except TargetLost as lost:
                log.info("No mark", extra={"fields": {"reason": str(lost)}})
                continue
            if reply == b"OK":
                job.marks.stands(key, total)
        job.marks.written = total


@dataclass(frozen=True, slots=True)
class _Question:
    """The marks and checkpoints that have to be there, as they are known before they are asked for."""

    marks: dict[bytes, int]
    time: int
    checkpoints: list[tuple[FlowLedger, Known]]

    @property
    def wires(self) -> list[bytes]:
        keys = [*self.marks, *(ledger.key for ledger, _ in self.checkpoints)]
        return [encode("GET", key) for key in keys]


def _question(job: JobState, flow: int | None) -> _Question:
    """Of one FLOW or, None, of all."""
    ledgers = [s.ledger for s in job.flows if s.ledger is not None and flow in (None, s.flow)]
    known = [(ledger, now) for ledger in ledgers if (now := ledger.known.now) is not None]
    return _Question(dict(job.marks.known), job.marks.time, known)


def _lost(job: JobState, asked: _Question, replies: list[object]) -> DataLost | None:
    """By these answers. Raises TargetError, TargetLost: they tell nothing."""
    what = "GET of what the job keeps"
    answers = [None if _elsewhere(reply) else reply for reply in replies]
    values = values_of(job.target.name, what, answers)
    count = len(asked.marks)
    # A checkpoint says more.
    for (ledger, known), value, reply in zip(asked.checkpoints, values[count:], replies[count:], strict=True):
        if not _elsewhere(reply) and (found := ledger.lost(known, value)):
            return DataLost.of(f"target {job.target.name}", *found)
    for (key, total), value, reply in zip(asked.marks.items(), values, replies, strict=False):
        if not _elsewhere(reply) and asked.time == job.marks.time and (has := job.marks.read(value)) < total:
            had = f"{total:,} batch{'' if total == 1 else 'es'}"
            text = f"no more than the first {has:,} of them" if has else "none of them"
            return DataLost.of(job.target.holder(key), had, text)
    return None


def _elsewhere(reply: object) -> bool:
    return is_error(reply) and verdict(error_text(reply)) in _ELSEWHERE


async def check_connection(job: JobState, connection: RespConnection, flow: int | None = None) -> None:
    """One that was opened anew: for a FLOW, or for control. Raises DataLost, TargetError, TargetLost, PeerLost."""
    asked = _question(job, flow)
    if not asked.wires:
        return
    lost = _lost(job, asked, await connection.pipeline(asked.wires))
    if lost is not None:
        await _explain(job, connection)
        raise lost


async def _explain(job: JobState, connection: RespConnection | None) -> None:
    """Raises TargetLost where it is a replica, which gets from its master what it lacks, TargetError where another run
    has the job now."""
    router = job.target.router
    node = job.target.node_of(job.keys.lease)
    if node is None:
        raise TargetLost(f"target {job.target.name}: nobody serves the slot of the job's own keys")
    fresh = await router.connect(node)  # without a look at what it has
    try:
        if not router.cluster:
            info = parse_info((await ask(connection or fresh, node, "INFO", "REPLICATION")).text())
            if info.get("role") == "slave":
                raise TargetLost(f"target {node} is a replica, and does not have all of what was confirmed yet")
        (holder,) = values_of(node, "GET of the job's lease", [await fresh.call("GET", job.keys.lease)])
    except PeerLost as lost:
        raise lost.of_target(node) from None
    finally:
        await fresh.aclose()
    job.lease.must_not_be_of_others(holder)


async def check_control(job: JobState, connection: RespConnection) -> None:
    """As `check_connection`; whoever it was that wanted to ask something, the run ends."""
    try:
        await check_connection(job, connection)
    except DataLost as lost:
        job.end_with(lost)
        raise


async def check_at_end(job: JobState) -> None:
    """Before the verdict; waits for a target that is away. Raises DataLost, TargetError; TargetLost only where
    reconnecting is not allowed."""

    async def check() -> None:
        asked = _question(job, None)
        if not asked.wires:
            return
        lost = _lost(job, asked, await job.target.pipeline(asked.wires))
        if lost is not None:
            await _explain(job, None)
            raise lost

    if job.settings.exactly_once:
        await job.patiently(check)
    for state in job.flows:
        if state.writer is not None:
            await state.writer.ready()  # a connection that is made anew has looked
    job.unchecked = False
