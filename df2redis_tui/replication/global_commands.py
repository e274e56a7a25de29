"""Commands that concern all FLOWs: run once, when each of them has reached its copy (§4.6)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable

from df2redis_tui.errors import ResyncNeeded, printable
from df2redis_tui.pipeline.block import Global
from df2redis_tui.replication.flow_checkpoints import records_of
from df2redis_tui.replication.flow_state import FlowState
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.other_jobs import check_flush, register
from df2redis_tui.replication.resume import full_sync_allowed

log = logging.getLogger(__name__)


def global_of(job: JobState, state: FlowState) -> Callable[[Global], Awaitable[None]]:
    """What this FLOW's dispatcher does at a global command."""

    async def reached(item: Global) -> None:
        assert job.barrier is not None
        await job.barrier.arrive(state.flow, item, lambda arrived: _run_global(job, arrived))

    return reached


async def _run_global(job: JobState, arrived: dict[int, Global]) -> None:
    item = arrived[0]
    text = printable(b" ".join(item.args))
    if why := job.target.can_not_run(item):
        full_sync_allowed(job, why)
        raise ResyncNeeded(why, item.db)
    records = [
        wire
        for state in job.flows
        if state.ledger is not None
        for wire in (state.ledger.record(arrived[state.flow].next_lsn), *state.ledger.kept())
    ]
    await job.patiently(lambda: check_flush(job, item))
    await globally(job, item, records)
    for state in job.flows:
        state.passed_global(arrived[state.flow].next_lsn)
    job.records.event("warning", "global", f"{text} (db {item.db}) executed once, after all FLOWs had reached it")
    log.warning("Global command", extra={"fields": {"command": text, "db": item.db}})


async def globally(job: JobState, item: Global, records: Iterable[bytes]) -> None:
    """Run it on the target, with the checkpoints `records`; what the job keeps there outlives a FLUSHALL."""
    own = list(records)

    async def run() -> None:
        if job.settings.exactly_once:
            await job.lease.check()
        # They go with everything else.
        kept = [job.noted.command(), job.lease.record()] if job.settings.exactly_once else []
        if job.target.periodic_checkpoints:
            kept += records_of(job, {state.flow: state.stats.lsn_confirmed for state in job.flows})
        await job.target.run_global(item, kept, own, spared)

    spared = job.spared or job.old.spared(job.ours, cluster=job.target.router.cluster)
    if spared is not None:
        what = "keys that the target held before the job stay, the others are removed one by one"
        job.records.event("info", "global", f"{printable(item.args[0])} on the target: {what}")
        log.info("Flush key by key", extra={"fields": {"command": printable(item.args[0]), "db": item.db}})
        await job.old.note()  # which keys those are, for a run that has to do it again
    job.noted.flushed()
    if item.args[0].upper() == b"FLUSHALL":
        job.noted.lacks.begin_anew()
    async with job.checkpointing:
        job.marks.removed()
        await job.patiently(run)
    await job.patiently(lambda: register(job))
