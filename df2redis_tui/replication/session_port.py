"""What a session asks of the run at its turning points."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable

from df2redis_tui.dragonfly.control import Control, Greeting
from df2redis_tui.dragonfly.flow import FlowConnection
from df2redis_tui.replication.backlog import SHORT
from df2redis_tui.replication.barrier import GlobalBarrier
from df2redis_tui.replication.cleanup import may_be_old
from df2redis_tui.replication.drain import settle
from df2redis_tui.replication.flow_state import FlowState
from df2redis_tui.replication.ingest import Ingest
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.other_jobs import register
from df2redis_tui.replication.resume import only_a_full_sync, read_checkpoints, source_changed
from df2redis_tui.replication.session import Session
from df2redis_tui.replication.side_tasks import SideTask, keep_going
from df2redis_tui.replication.source_checks import SourceSize, check_own_names, check_size, check_source
from df2redis_tui.replication.spool import Spool
from df2redis_tui.replication.wiring import make_flows, wire
from df2redis_tui.streams import encode
from df2redis_tui.telemetry.snapshot import Phase

log = logging.getLogger(__name__)


class SessionPort:
    """Implements `SessionEvents`."""

    def __init__(self, job: JobState) -> None:
        self._job = job
        self._told_holds = math.inf  # seconds
        self._size = SourceSize(job)

    def phase(self, phase: Phase) -> None:
        for state in self._job.flows:
            if not (phase is Phase.STABLE_SYNC or state.phase is Phase.STABLE_SYNC):
                state.phase = phase
        self._job.session_at(phase)

    def heard(self, asked: float) -> None:
        self._job.source_heard_at = time.monotonic()
        self._job.source_answered = asked
        if self._job.source_unknown:
            self._job.source_unknown = self._job.reason = ""
            log.info("The source says again where it is")

    def unknown(self, why: str) -> None:
        text = f"the source does not say where it is, so nobody knows whether it is caught up ({why})"
        if not self._job.source_unknown:
            self._job.records.event("warning", "source", text)
            log.warning("The source does not say where it is", extra={"fields": {"reason": why}})
        self._job.source_heard_at = self._job.source_heard_at or time.monotonic()  # since then it has not
        self._job.source_unknown = self._job.reason = text

    async def until_asked_again(self, seconds: float) -> None:
        await self._job.ask_source.wait(seconds)

    async def greeted(self, greeting: Greeting, control: Control) -> list[FlowState]:
        before = self._job.greeting
        self._job.greeting = greeting
        self._job.backlog.follow(greeting)
        self._job.source_connected = True
        self._job.source_keys = await control.key_count()
        if before is None:
            await check_source(self._job, control)
        databases = await control.databases()
        self._job.target.check_source(databases)
        if before is None:
            await check_own_names(self._job, greeting, databases)
        followed = self._job.followed
        if followed and (followed != greeting.master_id or len(self._job.flows) != greeting.flows):
            source_changed(self._job, greeting)
        if len(self._job.flows) != greeting.flows:
            await make_flows(self._job, greeting)
        if before is None and self._job.continues:
            await read_checkpoints(self._job, greeting)
        self._job.barrier = GlobalBarrier(greeting.flows)
        log.info(
            "Source",
            extra={
                "fields": {
                    "version": greeting.df_version,
                    "flows": greeting.flows,
                    "master": greeting.master_id,
                    "keys": self._job.source_keys,
                }
            },
        )
        return self._job.flows

    def ingest(self, state: FlowState, connection: FlowConnection, greeting: Greeting, events: Session) -> Ingest:
        return wire(self._job, state, connection, greeting, events)

    def pump(self, state: FlowState, connection: FlowConnection) -> Spool | None:
        state.spool = None
        if self._job.settings.backpressure == "spill":
            state.spool = Spool(state.flow, connection, self._job.spool_space)
        return state.spool

    async def partial_refused(self, granted: list[bool]) -> None:
        has = f"{granted.count(True)} of {len(granted)} FLOWs do"
        text = f"the source no longer has the journal we need ({has}; {self._job.backlog.advice()})"
        if self._job.settings.on_lost_backlog == "stop":
            raise only_a_full_sync(text)
        self._job.records.event("warning", "reconnect", f"{text}: full sync")
        log.warning("Partial sync refused", extra={"fields": {"reason": text}})

    def lsn_gap(self, flow: int, expected: int, got: int) -> None:
        state = self._job.flows[flow]
        state.stats.lsn_gaps += 1
        text = f"the source's LSN is {got:,} where ours is {expected:,}: verify the data when done"
        self._job.records.event("error", "lsn-gap", text, flow)
        log.error("LSN gap", extra={"fields": {"flow": flow, "expected": expected, "got": got}})

    async def flows_open(self) -> None:
        while self._job.late:
            await self._job.late.pop(0)()

    def source_offsets(self, offsets: list[int]) -> None:
        backlog = self._job.backlog
        backlog.note(offsets, time.monotonic())
        holds = backlog.holds()
        if holds is None or holds > self._told_holds / 2:
            return
        self._told_holds = holds
        log.info("The source's backlog", extra={"fields": {"holds_s": round(holds, 1), "records": backlog.length}})
        if holds < SHORT:
            text = f"a restart of this run may cost a full sync: of the source's journal {backlog.advice()}"
            self._job.records.event("warning", "source", text)
            log.warning(text)

    def silent(self, flow: int, seconds: float) -> None:
        text = f"FLOW {flow}: the source has sent nothing for {seconds:.0f} s, though its snapshot is not complete"
        self._job.reason = text
        self._job.records.event("warning", "source", text, flow)
        log.warning("The source is silent", extra={"fields": {"flow": flow, "seconds": seconds}})

    def control_silent(self, seconds: float) -> None:
        text = f"control connection: the source has not answered for {seconds:.0f} s in the full sync"
        self._job.records.event("warning", "source", text)
        log.warning("The source is silent", extra={"fields": {"seconds": seconds}})

    def sends_again(self, flow: int) -> None:
        self._job.reason = ""
        log.info("The source sends again", extra={"fields": {"flow": flow}})

    async def following(self, control: Control) -> None:
        await self._size.follow(control)

    async def beside(self, task: SideTask, run: Callable[[], Awaitable[None]]) -> None:
        await keep_going(task, self._job.records, run)

    async def before_full_sync(self) -> None:
        """Checkpoints of an older sync must not be resumed from while the new one runs."""
        job = self._job
        check_size(job)
        job.full_sync_begun = True
        job.noted.lacks.begin_anew()
        job.noted.held_before = False  # every value is written anew
        if job.settings.exactly_once:
            job.noted.saw_flows(len(job.flows))
            keys = job.keys.of_flows(job.noted.flows)
            with contextlib.ExitStack() as counting_anew:
                for state in job.flows:
                    if state.ledger is not None:
                        counting_anew.enter_context(state.ledger.counting_anew())
                async with job.checkpointing:
                    await job.patiently(lambda: job.noted.write(*(encode("DEL", key) for key in keys)))
            job.noted.flows = len(job.flows)
            await job.patiently(lambda: register(job))
        for state in job.flows:
            state.leftovers.clear()
        if not job.noted.clean_up_due and not job.old.foreign:
            return
        await settle(job)  # what an earlier session wrote has to be there
        old = await job.patiently(lambda: job.old.begin_full_sync(job.target, lambda db, key: may_be_old(job, db, key)))
        if old:
            text = f"the target holds {old:,} keys from before: each stays until the source has sent what it is now"
            job.records.event("info", "clean-up", text)
            log.info(text)
