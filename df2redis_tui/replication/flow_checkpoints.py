"""FLOW checkpoints where none can travel with the batches (a cluster): what is confirmed is written by itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import anyio

from df2redis_tui.errors import TargetLost
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.targets import count_refusals

log = logging.getLogger(__name__)

CHECKPOINT_EVERY = 0.5
NAME_EVERY = 0.02


async def keep_checkpoints(job: JobState) -> None:
    """Again and again, as long as the run lasts."""
    while job.target.periodic_checkpoints:
        try:
            await count_refusals(job.target, [state.ledger for state in job.flows])
            await anyio.sleep(CHECKPOINT_EVERY)
            await write_checkpoints(job)
        except TargetLost as lost:
            log.info("No checkpoint", extra={"fields": {"reason": str(lost)}})
            await anyio.sleep(CHECKPOINT_EVERY)


async def name_rereads(job: JobState) -> None:
    """Where checkpoints travel with the batches: note at once which keys came in doubt when a batch was confirmed. The
    checkpoints of those behind it are under way and do not say so. As long as the run lasts."""
    while job.settings.exactly_once and not job.target.periodic_checkpoints:
        await anyio.sleep(NAME_EVERY)
        wires = [
            wire for state in job.flows if state.ledger and state.cut_confirmed for wire in state.ledger.name_now()
        ]
        if wires:
            try:
                await job.target.pipeline(wires)
            except TargetLost as lost:
                log.debug("keys to be read again: %s", lost)


async def write_checkpoints(job: JobState) -> None:
    """What is confirmed now. Raises TargetError, TargetLost."""
    if not job.target.periodic_checkpoints:
        return
    async with job.checkpointing:
        lsns = {s.flow: s.stats.lsn_confirmed for s in job.flows if s.stats.lsn_confirmed != s.lsn_checkpointed}
        ledgers = [s.ledger for s in job.flows if s.ledger is not None and s.cut_confirmed]
        named = [wire for ledger in ledgers for wire in ledger.named()]
        written = False
        try:
            await job.target.write_checkpoints([*records_of(job, lsns), *named])
            written = True
        finally:
            if not written:
                for ledger in ledgers:
                    ledger.name_all()
        for state in job.flows:
            state.lsn_checkpointed = lsns.get(state.flow, state.lsn_checkpointed)


def records_of(job: JobState, lsns: Mapping[int, int | None]) -> list[bytes]:
    """The commands that write the checkpoints of these FLOWs; of those in a full sync there is none."""
    return [
        state.ledger.record(lsn)
        for state in job.flows
        if state.ledger is not None and state.cut_confirmed and (lsn := lsns.get(state.flow))
    ]


def checkpoint_text(job: JobState) -> str:
    """Where a resume would begin, in one line; "" before there is a checkpoint."""
    if not job.settings.exactly_once:
        return "none (--no-exactly-once): the next start is a full sync"
    if not job.snapshot_confirmed:
        return ""
    confirmed = [state.stats.lsn_confirmed or 0 for state in job.flows]
    if not job.target.periodic_checkpoints:
        return f"{len(confirmed)} positions on the target, written with the data"
    behind = sum(lsn - (s.lsn_checkpointed or 0) for lsn, s in zip(confirmed, job.flows, strict=True))
    if any(state.lsn_checkpointed is None for state in job.flows):
        return ""
    return f"{len(confirmed)} positions on the target, {behind:,} records behind what is confirmed"
