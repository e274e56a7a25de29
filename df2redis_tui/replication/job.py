"""A whole run: preflight, sessions with the source one after the other, the ends it can come to."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from df2redis_tui.dragonfly.control import Control, Greeting
from df2redis_tui.dragonfly.flow import FlowConnection
from df2redis_tui.errors import (
    ConfigError,
    Df2RedisError,
    NotCopied,
    ResyncNeeded,
    SourceError,
    SourceLost,
    TargetError,
    printable,
)
from df2redis_tui.pipeline.backoff import Backoff
from df2redis_tui.pipeline.block import Global
from df2redis_tui.pipeline.dispatch import Dispatcher, Gate
from df2redis_tui.pipeline.knobs import (
    FlowKnobs,
    default_batch_size,
    default_channel_bytes,
    default_flush_interval,
    default_max_in_flight,
)
from df2redis_tui.pipeline.limiter import RateLimit
from df2redis_tui.replication.barrier import GlobalBarrier
from df2redis_tui.replication.checkpoint import FlowLedger, JobKeys
from df2redis_tui.replication.existing import ExistingKeys
from df2redis_tui.replication.flow_state import FlowState
from df2redis_tui.replication.ingest import Ingest, Translators
from df2redis_tui.replication.reread import KeyReader, Rereads
from df2redis_tui.replication.session import PartialRefused, Session
from df2redis_tui.replication.target_side import Spared, StandaloneTarget
from df2redis_tui.settings import Settings
from df2redis_tui.target.writer import Writer
from df2redis_tui.telemetry.dead_letters import DEAD_LETTER_FILE, DeadLetters
from df2redis_tui.telemetry.snapshot import Phase
from df2redis_tui.telemetry.stats import Records
from df2redis_tui.translate.journal import JournalTranslator
from df2redis_tui.translate.ownership import Ownership
from df2redis_tui.translate.snapshot import SnapshotTranslator

log = logging.getLogger(__name__)

CAUGHT_UP_FOR = 1.0  # seconds at lag 0 that `--until caught-up` asks for
XADD_EXACT_SINCE = (1, 27)


class Job:
    """Lives on the engine's loop. `run` returns when done and raises a Df2RedisError when it failed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.run_id = secrets.token_hex(8)
        self.keys = JobKeys(settings.checkpoint_prefix, settings.job)
        self.target = StandaloneTarget(settings)
        self.records = Records()
        self.dead_letters = DeadLetters(
            settings.state_dir / DEAD_LETTER_FILE, settings.on_error, settings.dead_letter_value_limit
        )
        self.gate = Gate()
        self.rate = RateLimit(settings.tuning.rate_limit)
        self.pause_reason = ""
        self.phase = Phase.CONNECTING
        self.phase_since = time.time()
        self.phase_seconds: dict[str, float] = {}
        self.reason = ""
        self.flows: list[FlowState] = []
        self.greeting: Greeting | None = None
        self.source_keys: int | None = None
        self.source_connected = False
        self.caught_up_since: float | None = None
        self.stopping = False
        self.complete = False
        self.hurry = False  # give up draining
        self._phase_started = time.monotonic()
        self._barrier: GlobalBarrier | None = None
        self._ownership = Ownership(1)
        self._spared: Spared | None = None
        self._tasks: TaskGroup | None = None
        self._session_scope: anyio.CancelScope | None = None
        self._stop = anyio.Event()
        self._resumable = False
        self._fatal: BaseException | None = None

    # Phases

    def set_phase(self, phase: Phase) -> None:
        now = time.monotonic()
        name = self.phase.value
        self.phase_seconds[name] = self.phase_seconds.get(name, 0.0) + now - self._phase_started
        self._phase_started = now
        if phase is not self.phase:
            self.records.event("info", "phase", f"{self.phase.value} → {phase.value}")
            log.info("Phase", extra={"fields": {"phase": phase.value, "after": name}})
        self.phase, self.phase_since = phase, time.time()
        if phase is Phase.STABLE_SYNC and self.settings.tuning.flush_interval is None:
            for state in self.flows:
                if not state.interval_tuned:
                    state.knobs.flush_interval = default_flush_interval(self.target.caps.cluster, True)

    def phase_durations(self) -> dict[str, float]:
        """Seconds per phase, the running one included."""
        found = dict(self.phase_seconds)
        if self.phase not in (Phase.DONE, Phase.FAILED):
            found[self.phase.value] = found.get(self.phase.value, 0.0) + time.monotonic() - self._phase_started
        return found

    # The run

    async def run(self) -> None:
        try:
            await self._preflight()
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._watch_lag)
                await self._sessions()
                self.set_phase(Phase.DRAINING)
                await self._settle()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise significant(group) from None
        finally:
            with anyio.CancelScope(shield=True):
                await self.target.aclose()
            self.dead_letters.close()

    async def _preflight(self) -> None:
        settings = self.settings
        await self.target.connect()
        held = self.target.existing_keys
        if held:
            where = f"target {self.target.name} already holds {held:,} keys"
            if settings.on_existing == "fail":
                raise TargetError(f"{where}: --on-existing fail asks for an empty one; nothing was written")
            if settings.on_existing == "skip":
                existing = ExistingKeys()
                await existing.read(self.target, f"{settings.checkpoint_prefix}:".encode())
                self._spared = lambda db, key: (db, key) in existing
                text = f"{where}: they are left alone (--on-existing skip)"
            else:
                text = f"{where}: those of the same name are overwritten (--on-existing overwrite)"
            self.records.event("warning", "target", text)
            log.warning(text)

    async def _sessions(self) -> None:
        """Sessions with the source until the run is complete or stopped."""
        backoff = Backoff(0.5, 15.0)
        while not self._stop.is_set():
            ask_partial = self._resumable
            started = time.monotonic()
            try:
                await self._session(ask_partial)
                return
            except PartialRefused:
                self._resumable = False
                continue
            except ResyncNeeded as again:
                self._resumable = False
                self.records.event("warning", "reconnect", f"full sync starts again: {again}")
                log.warning("Full sync starts again", extra={"fields": {"reason": str(again)}})
                await self._void_full_sync()
                continue
            except SourceLost as lost:
                first_contact = self.greeting is None
                if self._stop.is_set():
                    return
                if first_contact or not self.settings.reconnect:
                    raise
                if time.monotonic() - started > 60:
                    backoff.reset()
                await self._wait_to_reconnect(lost, backoff)

    async def _wait_to_reconnect(self, lost: SourceLost, backoff: Backoff) -> None:
        if not self._resumable:
            await self._void_full_sync()
        delay = backoff.next()
        self.set_phase(Phase.RECONNECTING)
        self.reason = f"the source was lost ({lost}); attempt {backoff.attempt} in {delay:.1f} s"
        self.records.event("warning", "reconnect", self.reason)
        log.warning("Reconnecting", extra={"fields": {"reason": str(lost), "seconds": round(delay, 1)}})
        with anyio.move_on_after(delay):
            await self._stop.wait()
        self.reason = ""

    async def _session(self, ask_partial: bool) -> None:
        session = Session(self.settings.source, _SessionPort(self), resume=self._positions)
        keep = False
        try:
            # The pipelines outlive the session's scope: a stop ends the reading, and what was read is still applied.
            async with anyio.create_task_group() as pipes:
                self._pipes = pipes
                try:
                    with anyio.CancelScope() as self._session_scope:
                        await session.run(ask_partial=ask_partial)
                except BaseExceptionGroup as group:
                    why = significant(group)
                    keep = isinstance(why, NotCopied)
                    raise why from None
                finally:
                    self._session_scope = None
                    self.source_connected = False
                    with anyio.CancelScope(shield=True):
                        await self._end_session(keep)
                    pipes.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise significant(group) from None

    async def _end_session(self, keep: bool) -> None:
        """Let what was received reach the target; afterwards every FLOW's position is exact.

        A full sync that was cut short has no position: what is left of it is dropped, unless `keep` (its last blocks
        remove a half-written key).
        """
        self._resumable = bool(self.flows) and all(state.cut_confirmed for state in self.flows)
        for state in self.flows:
            dispatcher = state.dispatcher
            if dispatcher is not None:
                if not self._resumable and not keep:
                    dispatcher.channel.clear()
                    dispatcher.accumulator.clear()
                dispatcher.channel.close()
        while self._fatal is None and not self.hurry and not all(self._drained(state) for state in self.flows):
            await anyio.sleep(0.005)

    def _drained(self, state: FlowState) -> bool:
        """Ended, or held at a barrier which can't be completed any more: its FLOW resumes in front of it."""
        dispatcher = state.dispatcher
        if dispatcher is None or dispatcher.ended:
            return True
        return dispatcher.at_barrier is not None and not (self._barrier is not None and self._barrier.executing)

    async def _void_full_sync(self) -> None:
        for state in self.flows:
            state.stats.lsn_received = state.stats.lsn_confirmed = state.stats.lsn_source = None
            state.cut_confirmed = False
            state.expiry.clear()

    async def _settle(self) -> None:
        for state in self.flows:
            if state.writer is not None and not self.hurry:
                await state.writer.settle()

    # What sessions need

    def _positions(self, greeting: Greeting) -> list[int] | None:
        """Where to resume, None when this source can't be resumed."""
        if len(self.flows) != greeting.flows:
            return None
        positions = [state.stats.lsn_confirmed for state in self.flows]
        found = [p for p in positions if p is not None]
        return found if len(found) == greeting.flows else None

    async def greeted(self, greeting: Greeting, control: Control) -> list[FlowState]:
        before = self.greeting
        self.greeting = greeting
        self.source_connected = True
        self.source_keys = await control.key_count()
        if before is not None and (before.master_id != greeting.master_id or before.flows != greeting.flows):
            self._resumable = False
            await self._void_full_sync()
        if len(self.flows) != greeting.flows:
            await self._make_flows(greeting)
        self._barrier = GlobalBarrier(greeting.flows)
        log.info(
            "Source",
            extra={
                "fields": {
                    "version": greeting.df_version,
                    "flows": greeting.flows,
                    "master": greeting.master_id,
                    "keys": self.source_keys,
                }
            },
        )
        return self.flows

    async def _make_flows(self, greeting: Greeting) -> None:
        tuning, caps = self.settings.tuning, self.target.caps
        self._ownership = Ownership(greeting.flows)
        for state in self.flows:
            if state.writer is not None:
                state.writer.stop()
        self.flows = []
        for flow in range(greeting.flows):
            knobs = FlowKnobs(
                tuning.batch_size or default_batch_size(caps.cluster),
                tuning.max_in_flight or default_max_in_flight(caps.cluster, greeting.flows),
                tuning.flush_interval
                if tuning.flush_interval is not None
                else default_flush_interval(caps.cluster, False),
                tuning.adaptive_flush,
                tuning.channel_entries,
                tuning.channel_bytes or default_channel_bytes(greeting.flows),
            )
            ledger = FlowLedger(self.keys, flow, greeting.flows, self.run_id) if self.settings.exactly_once else None
            state = FlowState(flow, knobs, ledger, self.dead_letters, self.records)
            state.on_cut_confirmed = self._cut_confirmed
            state.writer = Writer(flow, self.target.router, ledger, state, reconnect=self.settings.reconnect)
            self.flows.append(state)
            assert self._tasks is not None
            self._tasks.start_soon(self._guarded, state.writer.run)

    async def _guarded(self, run: Callable[[], Awaitable[None]]) -> None:
        """A pipeline's error ends the run; it is noted first, so that nobody waits for a drain that can't come."""
        try:
            await run()
        except (Exception, BaseExceptionGroup) as error:
            self._fatal = self._fatal or error
            raise

    def ingest(self, state: FlowState, connection: FlowConnection, greeting: Greeting, session: Session) -> Ingest:
        settings, caps = self.settings, self.target.caps
        assert state.writer is not None
        dispatcher = state.dispatcher = Dispatcher(
            state.flow,
            state.knobs,
            state.writer,
            self.gate,
            self.rate,
            self._global_of(state),
            self.target.check_databases,
        )
        self._pipes.start_soon(self._guarded, dispatcher.run)
        rereads = state.rereads = Rereads(state.flow, KeyReader(settings.source, state.flow))
        if state.ledger is not None:
            state.ledger.begin(greeting.master_id, state.stats.lsn_confirmed or 0)
            state.ledger.rereads = rereads.open_at
        route = self.target.router.cluster
        snapshot = SnapshotTranslator(
            caps,
            self.dead_letters,
            flow=state.flow,
            route=route,
            member_ttl=settings.member_ttl,
            expiry=state.expiry,
            skip=self._spared,
            payload_limit=settings.dead_letter_value_limit,
            db_policy=settings.db_policy,
            ownership=self._ownership,
        )
        journal = JournalTranslator(
            caps,
            self.dead_letters,
            flow=state.flow,
            route=route,
            member_ttl=settings.member_ttl,
            expiry=state.expiry,
            ownership=self._ownership,
            open_keys=snapshot.open_keys,
            db_policy=settings.db_policy,
            skip=self._spared,
            old_stream_ids=greeting.release is None or greeting.release < XADD_EXACT_SINCE,
        )
        state.phase = Phase.FULL_SYNC
        return Ingest(
            connection,
            dispatcher.channel,
            Translators(snapshot, journal, state.expiry, self.dead_letters, caps, route),
            rereads,
            state.stats,
            session,
            release=greeting.release,
            is_idle=state.idle,
            lag=state.oldest_wait,
        )

    def _global_of(self, state: FlowState) -> Callable[[Global], Awaitable[None]]:
        async def reached(item: Global) -> None:
            assert self._barrier is not None
            await self._barrier.arrive(state.flow, item, self._run_global)

        return reached

    async def _run_global(self, arrived: dict[int, Global]) -> None:
        item = arrived[0]
        text = printable(b" ".join(item.args))
        records = [
            state.ledger.record(arrived[state.flow].next_lsn) for state in self.flows if state.ledger is not None
        ]
        await self.target.run_global(item, records, self._spared)
        for state in self.flows:
            state.passed_global(arrived[state.flow].next_lsn)
        self.records.event("warning", "global", f"{text} (db {item.db}) executed once, after all FLOWs had reached it")
        log.warning("Global command", extra={"fields": {"command": text, "db": item.db}})

    # Ends

    def _cut_confirmed(self, flow: int) -> None:
        if all(state.cut_confirmed for state in self.flows) and self.settings.mode == "snapshot":
            self.finish()

    async def _watch_lag(self) -> None:
        """Lag 0 in every FLOW, and since when."""
        while True:
            await anyio.sleep(0.1)
            stable = self.phase is Phase.STABLE_SYNC and bool(self.flows)
            if stable and all(state.idle() for state in self.flows):
                self.caught_up_since = self.caught_up_since or time.monotonic()
            else:
                self.caught_up_since = None
            if (
                self.settings.until == "caught-up"
                and self.caught_up_since is not None
                and time.monotonic() - self.caught_up_since >= CAUGHT_UP_FOR
                and not any(state.rereads is not None and state.rereads.active for state in self.flows)
                and not any(state.expiry.count for state in self.flows if state.stats.lsn_source is None)
            ):
                self.finish()

    def finish(self) -> None:
        """The run has done what it was asked for."""
        self.complete = True
        self.stop()

    def stop(self) -> None:
        """Read no more; what was received is applied and confirmed."""
        self.stopping = True
        self._stop.set()
        if self._session_scope is not None:
            self._session_scope.cancel()


class _SessionPort:
    """What a session sees of the job."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def phase(self, phase: Phase) -> None:
        self._job.set_phase(phase)
        for state in self._job.flows:
            if not (phase is Phase.STABLE_SYNC or state.phase is Phase.STABLE_SYNC):
                state.phase = phase

    async def greeted(self, greeting: Greeting, control: Control) -> list[FlowState]:
        return await self._job.greeted(greeting, control)

    def ingest(self, state: FlowState, connection: FlowConnection, greeting: Greeting, events: Session) -> Ingest:
        return self._job.ingest(state, connection, greeting, events)

    async def partial_refused(self, granted: list[bool]) -> None:
        text = f"the source no longer has the journal we need ({granted.count(True)} of {len(granted)} FLOWs do)"
        if self._job.settings.on_lost_backlog == "stop":
            raise SourceError(f"{text}: --on-lost-backlog stop")
        self._job.records.event("warning", "reconnect", f"{text}: full sync")
        log.warning("Partial sync refused", extra={"fields": {"granted": granted.count(True), "flows": len(granted)}})

    def lsn_gap(self, flow: int, expected: int, got: int) -> None:
        state = self._job.flows[flow]
        state.stats.lsn_gaps += 1
        text = f"the source's LSN is {got:,} where ours is {expected:,}: verify the data when done"
        self._job.records.event("error", "lsn-gap", text, flow)
        log.error("LSN gap", extra={"fields": {"flow": flow, "expected": expected, "got": got}})

    async def before_full_sync(self) -> None:
        """Checkpoints of an older sync must not be resumed from while the new one runs."""
        job = self._job
        ledgers = [state.ledger for state in job.flows if state.ledger is not None]
        if ledgers:
            await job.target.call("DEL", *[ledger.key for ledger in ledgers])


_WORST = (ConfigError, NotCopied, TargetError, SourceError)


def significant(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception of a group that says why: an unexpected one first, then by what an operator must act on."""
    flat: list[BaseException] = []

    def walk(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                walk(inner)
        else:
            flat.append(error)

    walk(group)
    for error in flat:
        if not isinstance(error, (Df2RedisError, PartialRefused)):
            return error
    for kind in _WORST:
        for error in flat:
            if isinstance(error, kind) and not (isinstance(error, (SourceLost, ResyncNeeded))):
                return error
    for error in flat:
        if isinstance(error, ResyncNeeded):
            return error
    return flat[0]
