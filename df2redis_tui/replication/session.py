"""One session with the source: handshake, FLOWs, full sync, barrier, stable sync (protocol page §2)."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from df2redis_tui.dragonfly.control import Control, Greeting
from df2redis_tui.dragonfly.flow import FlowConnection, Resume
from df2redis_tui.errors import Df2RedisError, SourceError, SourceLost
from df2redis_tui.pipeline.channel import wait_until_below
from df2redis_tui.replication.flow_state import FlowState
from df2redis_tui.replication.ingest import Ingest
from df2redis_tui.replication.side_tasks import SideTask
from df2redis_tui.replication.silence import Silence, watch_control
from df2redis_tui.replication.spool import Spool
from df2redis_tui.settings import Endpoint
from df2redis_tui.telemetry.snapshot import Phase

log = logging.getLogger(__name__)

OFFSETS = SideTask("source positions", "the lag is not known, and no end by itself comes", (Df2RedisError,))
ACKNOWLEDGE = SideTask("acknowledgements", "the source keeps its journal for longer", (Df2RedisError,))
ACK_EVERY = 1.0
POLL_EVERY = 0.5
KEEP_ALIVE_EVERY = 5.0
RAW_PARTIAL = (1, 35)  # from here PARTIAL goes on with the raw journal, without SYNC (§5.3)


class SessionEvents(Protocol):
    """What the job does at a session's turning points."""

    def phase(self, phase: Phase) -> None: ...

    def heard(self, asked: float) -> None:
        """The source said in stable sync where it is, when it was asked then (monotonic)."""

    def unknown(self, why: str) -> None:
        """It answered, and did not say where it is."""

    async def until_asked_again(self, seconds: float) -> None:
        """Return after `seconds`, or as soon as an answer is wanted."""

    async def greeted(self, greeting: Greeting, control: Control) -> list[FlowState]:
        """The source said what it is: make the FLOWs ready."""
        ...

    def ingest(self, state: FlowState, connection: FlowConnection, greeting: Greeting, events: Session) -> Ingest:
        """Wire one FLOW."""
        ...

    async def flows_open(self) -> None:
        """The source has answered every FLOW."""

    async def partial_refused(self, granted: list[bool]) -> None:
        """The source no longer has what we ask for. Raises when the policy is to stop."""

    def lsn_gap(self, flow: int, expected: int, got: int) -> None: ...

    def silent(self, flow: int, seconds: float) -> None:
        """This FLOW has sent nothing for so long in the full sync."""

    def sends_again(self, flow: int) -> None:
        """This FLOW is no longer silent."""

    def control_silent(self, seconds: float) -> None:
        """The source has not answered for so long on the control connection in the full sync."""

    def pump(self, state: FlowState, connection: FlowConnection) -> Spool | None:
        """Where the journal waits under --backpressure spill; None = it is read as the pipeline takes it."""
        ...

    def source_offsets(self, offsets: list[int]) -> None:
        """Where every shard's journal stands now."""

    async def following(self, control: Control) -> None:
        """Stable sync goes on; called twice a second. Raises SourceLost."""

    async def before_full_sync(self) -> None:
        """The full sync is about to begin: checkpoints of an older one are void."""

    async def beside(self, task: SideTask, run: Callable[[], Awaitable[None]]) -> None:
        """Run a side task, whose failures do not end the session."""


class PartialRefused(Exception):
    """Not every FLOW was granted a partial sync; the session must be started anew without LSNs (§5.2)."""


class Session:
    """`run` lasts until the source is lost (SourceLost), the full sync is void (ResyncNeeded), or it is cancelled."""

    def __init__(
        self,
        source: Endpoint,
        events: SessionEvents,
        *,
        resume: Callable[[Greeting], Resume | None],
        client_id: str | None = None,
    ) -> None:
        self._source = source
        self._events = events
        self._resume = resume
        self._client_id = client_id or secrets.token_hex(20)
        self._control: Control | None = None
        self._full_sync_ended: set[int] = set()
        self._all_ended = anyio.Event()
        self._at_cut: set[int] = set()
        self._all_cut = anyio.Event()
        self._silence = Silence()
        self._syncing = False  # the source has been told to begin
        self._cutting = False  # and to end the full sync
        self._flows: list[FlowState] = []
        self.greeting: Greeting | None = None
        self.stable = False

    async def run(self) -> None:
        """Raises PartialRefused when a partial sync was asked for and not granted by every FLOW."""
        self._events.phase(Phase.HANDSHAKE)
        control = self._control = await Control.connect(self._source)
        connections: list[FlowConnection] = []
        try:
            greeting = self.greeting = await control.greet(self._client_id)
            self._flows = await self._events.greeted(greeting, control)
            resume = self._resume(greeting) if greeting.takes_lsn else None
            positions = list(resume.positions) if resume is not None else None
            await self._open_flows(greeting, resume, connections)
            await self._events.flows_open()
            partial = [c.partial for c in connections]
            if positions is not None and not all(partial):
                await self._events.partial_refused(partial)
                raise PartialRefused
            if any(partial) and positions is None:
                raise SourceError(f"source {self._source.label} granted a partial sync nobody asked for")
            await self._stream(control, greeting, connections, positions)
        finally:
            with anyio.CancelScope(shield=True):
                for connection in connections:
                    await connection.aclose()
                await control.aclose()

    async def _open_flows(self, greeting: Greeting, resume: Resume | None, opened: list[FlowConnection]) -> None:
        """All at once, as the source's own replicas do it: its backlog may hold a second only."""
        found: dict[int, FlowConnection] = {}

        async def open_one(flow: int) -> None:
            found[flow] = await FlowConnection.open(self._source, greeting, flow, resume)

        try:
            async with anyio.create_task_group() as tasks:
                for flow in range(greeting.flows):
                    tasks.start_soon(open_one, flow)
        finally:
            opened += [found[flow] for flow in sorted(found)]

    async def _stream(
        self,
        control: Control,
        greeting: Greeting,
        connections: list[FlowConnection],
        positions: list[int] | None,
    ) -> None:
        raw = positions is not None and (greeting.release is None or greeting.release >= RAW_PARTIAL)
        if positions is None:
            await self._events.before_full_sync()
        ingests = [
            self._events.ingest(state, connection, greeting, self)
            for state, connection in zip(self._flows, connections, strict=True)
        ]
        async with anyio.create_task_group() as tasks:
            asked = False
            if raw:
                self._events.phase(Phase.BARRIER)
                if greeting.release is None:
                    asked = raw = await self._takes_start_stable(control, greeting)
            if positions is not None and isinstance(offsets := await control.offsets(greeting.flows), list):
                for ingest in ingests:
                    ingest.resumes_behind(offsets[ingest.flow])
            for ingest, connection in zip(ingests, connections, strict=True):
                position = positions[ingest.flow] if positions else None
                spool = self._events.pump(self._flows[ingest.flow], connection)
                tasks.start_soon(self._follow, ingest, position, raw, spool, tasks)
                tasks.start_soon(self._keep_acknowledging, self._flows[ingest.flow], connection, greeting)
            if not raw:
                await self._full_sync(control, greeting)
            elif not asked:
                await self._start_stable(control, greeting)
            self.stable = True
            await self._events.beside(OFFSETS, lambda: self._poll_offsets(control))

    async def _takes_start_stable(self, control: Control, greeting: Greeting) -> bool:
        """A source that does not say its release: STARTSTABLE right after PARTIAL works from 1.35 on; before, it
        answers `invalid state` and wants SYNC first (§5.3)."""
        try:
            await control.start_stable(greeting.sync_id)
        except SourceLost:
            raise
        except SourceError as error:
            if "invalid state" in str(error):
                return False
            raise
        return True

    async def _follow(
        self, ingest: Ingest, position: int | None, raw: bool, spool: Spool | None, tasks: TaskGroup
    ) -> None:
        if raw:
            assert position is not None
            self._full_sync_ended.add(ingest.flow)
            next_lsn, first = position, b""
        else:
            next_lsn, first = await ingest.full_sync(position)
        if spool is not None:
            tasks.start_soon(spool.pump)
        await ingest.journal(next_lsn, first, spool)

    async def _full_sync(self, control: Control, greeting: Greeting) -> None:
        self._events.phase(Phase.FULL_SYNC)
        await control.sync(greeting.sync_id)
        self._syncing = True
        await watch_control(control, self._all_ended, self._events.control_silent)
        self._events.phase(Phase.BARRIER)
        await self._start_stable(control, greeting)
        self._cutting = True
        await watch_control(control, self._all_cut, self._events.control_silent)

    async def _start_stable(self, control: Control, greeting: Greeting) -> None:
        """STARTSTABLE, with every FLOW being read.

        The source holds its global lock while it runs and writes to the FLOWs (§2.4): there has to be room, and no
        bound may stop a reader until the answer is here.
        """
        channels = [state.dispatcher.channel for state in self._flows if state.dispatcher is not None]
        for channel in channels:
            await wait_until_below(channel, 0.5)
        for channel in channels:
            channel.unbounded = True
            channel.room_changed()
        try:
            await control.start_stable(greeting.sync_id)
        finally:
            for channel in channels:
                channel.unbounded = False

    # Ingest events

    def full_sync_end(self, flow: int) -> None:
        self._full_sync_ended.add(flow)
        if len(self._full_sync_ended) == len(self._flows):
            self._all_ended.set()

    def cut_reached(self, flow: int, lsn: int) -> None:
        self._at_cut.add(flow)
        self._flows[flow].phase = Phase.STABLE_SYNC
        if len(self._at_cut) == len(self._flows):
            self._all_cut.set()
            self._events.phase(Phase.STABLE_SYNC)

    def silent(self, flow: int) -> None:
        waits_for_us = any(state.reader_stalled() for state in self._flows)
        if waits_for_us or not self._syncing or (flow in self._full_sync_ended and not self._cutting):
            self._silence.excused(flow)
            return
        seconds = self._silence.grows(flow)
        if self._silence.to_name(flow):
            self._events.silent(flow, seconds)
        through = self._at_cut if self._cutting else self._full_sync_ended
        if self._silence.lost(flow, {state.flow for state in self._flows} - through - {flow}):
            raise SourceLost(
                f"source {self._source.label}: FLOW {flow}: nothing came for {seconds:.0f} s in the full sync"
            )

    def heard(self, flow: int) -> None:
        if self._silence.heard(flow):
            self._events.sends_again(flow)

    def lsn_gap(self, flow: int, expected: int, got: int) -> None:
        self._events.lsn_gap(flow, expected, got)

    # Stable sync

    async def _keep_acknowledging(self, state: FlowState, connection: FlowConnection, greeting: Greeting) -> None:
        await self._events.beside(ACKNOWLEDGE, lambda: self._acknowledge(state, connection, greeting))

    async def _acknowledge(self, state: FlowState, connection: FlowConnection, greeting: Greeting) -> None:
        """At once after a PING or 1,024 records, else every second; only what the target has confirmed (§4.3)."""
        stats = state.stats
        stats.lsn_acked = None
        idle_timeout_bug = greeting.release is None or (1, 27) <= greeting.release <= (1, 31)
        quiet = time.monotonic()
        while True:
            await state.ack.wait(ACK_EVERY)
            confirmed = stats.lsn_confirmed
            if flow_is_stable(state) and confirmed is not None:
                await connection.acknowledge(confirmed)
                stats.lsn_acked = confirmed
            elif idle_timeout_bug and time.monotonic() - quiet > KEEP_ALIVE_EVERY:
                # 1.27 to 1.31 may close a FLOW without inbound traffic when the operator set --timeout (§2.4).
                quiet = time.monotonic()
                await connection.acknowledge(0)

    async def _poll_offsets(self, control: Control) -> None:
        while True:
            asked = time.monotonic()
            received = [state.stats.lsn_received or 0 for state in self._flows]
            offsets = await control.offsets(len(self._flows))
            if isinstance(offsets, str):
                self._events.unknown(offsets)
            elif stale := _stale(received, offsets):
                self._events.unknown(stale)
            else:
                self._events.source_offsets(offsets)
                for state, offset in zip(self._flows, offsets, strict=True):
                    state.note_source_offset(offset)
                self._events.heard(asked)
            await self._events.following(control)
            await self._events.until_asked_again(POLL_EVERY)


def _stale(received: Sequence[int], offsets: Sequence[int]) -> str:
    """Why the source can't be there, "" when it can: it had sent what is behind before it was asked."""
    for flow, (here, said) in enumerate(zip(received, offsets, strict=True)):
        if said < here:
            return f"it says that FLOW {flow} is at LSN {said:,}, and has sent what is in front of {here:,}"
    return ""


def flow_is_stable(state: FlowState) -> bool:
    return state.phase is Phase.STABLE_SYNC
