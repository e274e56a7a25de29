"""How a session ends: what was received reaches the target, or is dropped where it could not be resumed from."""

from __future__ import annotations

import anyio

from df2redis_tui.replication.flow_state import NEAR, FlowState
from df2redis_tui.replication.job_state import JobState


async def end_session(job: JobState, keep: bool) -> None:
    """Let what was received reach the target; afterwards every FLOW's position is exact.

    A full sync that was cut short has no position: what is left of it is dropped, unless `keep` (its last blocks
    remove a half-written key).
    """
    resumable = job.snapshot_confirmed
    # Asked before anything is done that takes time. What was read reaches the target in front of the true times, what
    # was not may extend them.
    read = [state.unread_for() < NEAR for state in job.flows]
    job.caught_up_at_end = resumable and job.stop_asked.is_set() and all(read)
    for state, all_read in zip(job.flows, read, strict=True):
        dispatcher = state.dispatcher
        if dispatcher is not None:
            if resumable and job.stop_asked.is_set() and state.ingest is not None and all_read:
                dispatcher.channel.unbounded = True
                await state.ingest.write_all_expiries()
            if not resumable and not keep:
                dispatcher.discard()
            dispatcher.channel.close()
        if state.spool is not None:
            state.spool.drop()
    while not (job.fatal or job.hurry or job.halted) and not all(_drained(job, state) for state in job.flows):
        await anyio.sleep(0.005)


def _drained(job: JobState, state: FlowState) -> bool:
    """Ended, or held in front of something that may never come: its FLOW resumes in front of what was not sent."""
    dispatcher = state.dispatcher
    if dispatcher is None or dispatcher.ended:
        return True
    if job.gate.closed and not dispatcher.limiter.in_flight:
        return True
    return dispatcher.at_barrier is not None and not (job.barrier is not None and job.barrier.executing)


async def settle(job: JobState) -> None:
    """Wait for the answers to all that was sent."""
    for state in job.flows:
        if state.writer is not None and not job.hurry:
            await state.writer.settle()
