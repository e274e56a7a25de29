"""A whole run: preflight, sessions with the source one after the other, the ends it can come to."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from df2redis_tui.dragonfly.control import MAX_FLOWS, Control, Greeting
from df2redis_tui.dragonfly.flow import FlowConnection, Resume
from df2redis_tui.errors import (
    ConfigError,
    Df2RedisError,
    NotCopied,
    ResyncNeeded,
    SourceError,
    SourceLost,
    TargetError,
    TargetLost,
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
from df2redis_tui.replication.checkpoint import Checkpoint, JobKeys
from df2redis_tui.replication.cleanup import find_leftovers
from df2redis_tui.replication.existing import ExistingKeys, OldValues
from df2redis_tui.replication.failover import succeeds
from df2redis_tui.replication.fence import connection_name, fence
from df2redis_tui.replication.flow_state import FlowState
from df2redis_tui.replication.ingest import Ingest, Translators
from df2redis_tui.replication.lease import RENEW_EVERY, Lease
from df2redis_tui.replication.mirror import write_mirror
from df2redis_tui.replication.reread import KeyReader, Rereads
from df2redis_tui.replication.session import PartialRefused, Session
from df2redis_tui.replication.spool import Spool, SpoolSpace
from df2redis_tui.replication.target_side import Spared
from df2redis_tui.replication.targets import Target, ledger_of, resumer_of, target_of
from df2redis_tui.settings import Settings
from df2redis_tui.streams import RespConnection, encode, is_error
from df2redis_tui.target.connection import error_text
from df2redis_tui.target.writer import Writer
from df2redis_tui.telemetry.dead_letters import DEAD_LETTER_FILE, DeadLetters
from df2redis_tui.telemetry.snapshot import Phase
from df2redis_tui.telemetry.stats import Records
from df2redis_tui.translate.journal import JournalTranslator
from df2redis_tui.translate.ownership import Ownership
from df2redis_tui.translate.snapshot import SnapshotTranslator

log = logging.getLogger(__name__)
T = TypeVar("T")

STEADY = 60.0  # seconds after which a session counts as having worked
MIRROR_EVERY = 1.0
CHECKPOINT_EVERY = 1.0
CAUGHT_UP_FOR = 1.0  # seconds at lag 0 that `--until caught-up` asks for
XADD_EXACT_SINCE = (1, 27)


class Job:
    """Lives on the engine's loop. `run` returns when done and raises a Df2RedisError when it failed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.run_id = secrets.token_hex(8)
        self.keys = JobKeys(settings.checkpoint_prefix, settings.job)
        self.target: Target = target_of(settings)
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
        self._old: OldValues | None = None
        self._tasks: TaskGroup | None = None
        self._session_scope: anyio.CancelScope | None = None
        self._stop = anyio.Event()
        self._continues = False  # an earlier run of this job wrote to the target
        self._clean_up_due = False
        self._followed = ""  # id of the master whose journal the positions count
        self._flows_known = 0  # so many FLOWs may have checkpoints on the target
        self._refusal = ""  # what an earlier run of this job stopped at
        self._cleaning = False
        self._ours: Spared = lambda db, key: True
        self._lease = Lease(self.target, self.keys.lease, settings.job, self.run_id)
        self._spool_space = SpoolSpace(settings.state_dir / f"{settings.job}.spool", settings.spool_bytes)
        self._fatal: BaseException | None = None
        self._started = int(time.time())
        self._existing_keys = 0  # that the target held before the job began
        self._unfenced = False  # the target does not let us end older connections

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
                tasks.start_soon(self._guarded, self._keep_lease)
                tasks.start_soon(self._keep_mirror)
                tasks.start_soon(self._guarded, self._keep_checkpoints)
                await self._sessions()
                self.set_phase(Phase.DRAINING)
                await self._settle()
                await self._write_checkpoints()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            error = significant(group)
            if isinstance(error, NotCopied):
                await self._note_refusal(error)
            raise error from None
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1 if self.hurry else 5):
                await self._leave()
            self.dead_letters.close()

    async def _note_refusal(self, error: NotCopied) -> None:
        """The checkpoint may stand behind what was refused: the next run has to begin anew, not go on behind it."""
        if not self.settings.exactly_once:
            return
        self._refusal = str(error)
        try:
            with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                await self._write_job_record()
        except TargetError as failed:
            log.warning("The refusal was not noted", extra={"fields": {"reason": str(failed)}})

    async def _preflight(self) -> None:
        settings = self.settings
        await self.target.connect()
        if settings.exactly_once:
            await self._lease.take()
            self._note_fence(await self.target.take_over(self.keys))
        if settings.backpressure == "spill":
            try:
                self._spool_space.prepare()
            except OSError as error:
                raise ConfigError(f"the spool {self._spool_space.directory} can't be used: {error.strerror}") from None
        record = await self.target.call("GET", self.keys.job_record) if settings.exactly_once else None
        self._continues = isinstance(record, bytes)
        self._read_job_record(record)
        await self._note_existing()
        if settings.exactly_once and not self._continues:
            await self._write_job_record()

    def _read_job_record(self, record: object) -> None:
        if not isinstance(record, bytes):
            return
        try:
            found = json.loads(record)
            self._clean_up_due = bool(found["clean_up"])
            self._started = int(found["started"])
            self._existing_keys = int(found["existing"])
            self._refusal = str(found.get("refusal", ""))
            self._flows_known = min(int(found.get("flows", 0)), MAX_FLOWS)
        except (ValueError, KeyError, TypeError):
            self._clean_up_due = True

    def _job_record(self) -> bytes:
        """The command that notes on the target that this job wrote to it, and what it still has to remove there."""
        value = json.dumps(
            {
                "job": self.settings.job,
                "source": self.settings.source.label,
                "started": self._started,
                "clean_up": self._clean_up_due or self._cleaning,
                "existing": self._existing_keys,
                "refusal": self._refusal,
                "flows": max(self._flows_known, len(self.flows)),
            }
        )
        return encode("SET", self.keys.job_record, value)

    async def _write_job_record(self, *others: bytes) -> None:
        replies = await self.target.pipeline([self._job_record(), *others])
        for reply in replies:
            if is_error(reply):
                raise TargetError(f"target {self.target.name} refused the job's record: {error_text(reply)}")

    async def patiently(self, what: Callable[[], Awaitable[T]]) -> T:
        """`what`, again and again while the target is lost. Raises TargetLost where reconnecting is not allowed."""
        backoff = Backoff(0.1, 5.0)
        while True:
            try:
                return await what()
            except TargetLost as lost:
                if not self.settings.reconnect or self.hurry:
                    raise
                log.warning("Target lost", extra={"fields": {"reason": str(lost), "attempt": backoff.attempt + 1}})
                await anyio.sleep(backoff.next())

    async def prepare_lane(self, flow: int, connection: RespConnection) -> None:
        """A new connection for a FLOW's writes: only for the holder of the lease, only once the older ones are gone."""
        if self.settings.exactly_once:
            await self._lease.check()
            self._note_fence(await fence(connection, connection_name(self.keys, flow)))

    def _note_fence(self, problem: str) -> None:
        if problem and not self._unfenced:
            self._unfenced = True
            text = f"the target does not let older connections be ended ({problem}): allow CLIENT LIST, KILL, SETNAME"
            self.records.event("warning", "target", text)
            log.warning(text)

    async def _note_existing(self) -> None:
        """What the target holds that is not ours: overwritten, left alone, or a reason not to begin."""
        settings, held = self.settings, self.target.existing_keys
        path = settings.state_dir / f"{settings.job}.existing"
        existing = ExistingKeys()
        if self._continues:
            try:
                known = existing.load(path)
            except OSError as error:
                raise ConfigError(f"can't read {path}: {error.strerror}") from None
            if not known:
                none_before = self._existing_keys == 0
                if settings.on_existing == "overwrite" and not settings.target_owned and not none_before:
                    self._old = OldValues(existing, path.with_name(f"{settings.job}.old"), unknown=True)
                self._ours = lambda db, key: settings.target_owned or none_before
                return
        elif held:
            self._existing_keys = held
            where = f"target {self.target.name} already holds {held:,} keys"
            if settings.on_existing == "fail":
                raise TargetError(f"{where}: --on-existing fail asks for an empty one; nothing was written")
            if not settings.target_owned or settings.on_existing == "skip":
                await existing.read(self.target, f"{settings.checkpoint_prefix}:".encode())
            if settings.on_existing == "skip":
                text = f"{where}: they are left alone (--on-existing skip)"
            elif settings.target_owned:
                # What is new on the source may come as an INCR or HSET alone, which must not meet an old value.
                self._clean_up_due = True
                text = f"{where}: they are removed (--target-owned)"
            else:
                text = f"{where}: those of the same name are overwritten (--on-existing overwrite)"
            self.records.event("warning", "target", text)
            log.warning(text)
        if not self._continues:
            try:
                existing.save(path)
            except OSError as error:
                raise ConfigError(f"can't write {path}: {error.strerror}") from None
        if settings.on_existing == "skip" and len(existing):
            cluster = self.target.router.cluster
            self._spared = lambda db, key: (0 if cluster else db, key) in existing
        elif settings.on_existing == "overwrite" and len(existing):
            self._old = OldValues(existing, path.with_name(f"{settings.job}.old"))
        self._ours = lambda db, key: settings.target_owned or (db, key) not in existing

    async def _leave(self) -> None:
        try:
            await self._lease.release()
        except Df2RedisError as error:
            log.info("The lease was not released", extra={"fields": {"reason": str(error)}})
        if self.settings.backpressure == "spill":
            self._spool_space.remove()
        await self.target.aclose()

    async def _keep_lease(self) -> None:
        while self.settings.exactly_once:
            await anyio.sleep(RENEW_EVERY)
            try:
                await self._lease.renew()
            except TargetLost as lost:
                log.info("The lease was not renewed", extra={"fields": {"reason": str(lost)}})

    async def _keep_checkpoints(self) -> None:
        """Where no checkpoint can travel with the batches: what is confirmed is written every second."""
        while self.target.periodic_checkpoints:
            await anyio.sleep(CHECKPOINT_EVERY)
            try:
                await self._write_checkpoints()
            except TargetLost as lost:
                log.info("No checkpoint", extra={"fields": {"reason": str(lost)}})

    async def _write_checkpoints(self) -> None:
        if not self.target.periodic_checkpoints:
            return
        for state in self.flows:
            lsn = state.stats.lsn_confirmed
            if state.ledger is not None and state.cut_confirmed and lsn and lsn != state.lsn_checkpointed:
                await self.target.write_checkpoints([state.ledger.record(lsn)])
                state.lsn_checkpointed = lsn

    async def _keep_mirror(self) -> None:
        path = self.settings.state_dir / f"{self.settings.job}.json"
        told = False
        before: dict[str, object] = {}
        while True:
            state = self._mirrored()
            if state != before:
                try:
                    await anyio.to_thread.run_sync(write_mirror, path, state)
                    before, told = state, False
                except OSError as error:
                    if not told:
                        self.records.event("warning", "state", f"can't write {path}: {error.strerror}")
                        log.warning("State file", extra={"fields": {"path": str(path), "reason": error.strerror}})
                    told = True
            if self._old is not None and self.flows and all(state.cut_confirmed for state in self.flows):
                await self._old.full_sync_done()
            await anyio.sleep(MIRROR_EVERY)

    def _mirrored(self) -> dict[str, object]:
        greeting = self.greeting
        return {
            "job": self.settings.job,
            "source": self.settings.source.label,
            "target": self.settings.target.label,
            "master_id": greeting.master_id if greeting is not None else None,
            "phase": self.phase.value,
            "next_lsn": [state.stats.lsn_confirmed for state in self.flows],
        }

    async def _sessions(self) -> None:
        """Sessions with the source until the run is complete or stopped."""
        backoff = Backoff(0.2, 15.0)
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                await self._session()
                return
            except PartialRefused:
                self._start_over()
            except ResyncNeeded as again:
                self.records.event("warning", "reconnect", f"full sync starts again: {again}")
                log.warning("Full sync starts again", extra={"fields": {"reason": str(again)}})
                self._start_over()
                # What the source flushed has to go here too: the next full sync does not name it (§3.9).
                await self._settle()
                name = b"FLUSHALL" if again.db is None else b"FLUSHDB"
                await self._globally(Global(again.db or 0, (name,), 0, 0), [])
            except SourceLost as lost:
                if self._stop.is_set():
                    return
                if self.greeting is None or not self.settings.reconnect:
                    raise
                if not all(state.cut_confirmed for state in self.flows):
                    self._start_over()
                if time.monotonic() - started > STEADY:
                    backoff.reset()
                await self._wait_to_reconnect(lost, backoff)

    async def _wait_to_reconnect(self, lost: SourceLost, backoff: Backoff) -> None:
        self.set_phase(Phase.RECONNECTING)
        until = time.monotonic() + backoff.next()
        text = f"the source was lost ({lost}), attempt {backoff.attempt}"
        self.records.event("warning", "reconnect", text)
        log.warning("Reconnecting", extra={"fields": {"reason": str(lost), "attempt": backoff.attempt}})
        while (left := until - time.monotonic()) > 0 and not self._stop.is_set():
            self.reason = f"{text} in {left:.0f} s"
            with anyio.move_on_after(min(left, 0.5)):
                await self._stop.wait()
        self.reason = ""

    def _start_over(self) -> None:
        """The next session is a full sync, over what earlier ones wrote."""
        self._clean_up_due = self._clean_up_due or bool(self.flows)
        self._followed = ""
        for state in self.flows:
            state.stats.lsn_received = state.stats.lsn_confirmed = state.stats.lsn_source = None
            state.lsn_checkpointed = None
            state.cut_confirmed = False
            state.resume_rereads = []
            state.rereads = None
            state.expiry.clear()

    async def _session(self) -> None:
        session = Session(self.settings.source, _SessionPort(self), resume=self._positions)
        keep = False
        try:
            # The pipelines outlive the session's scope: a stop ends the reading, and what was read is still applied.
            async with anyio.create_task_group() as pipes:
                self._pipes = pipes
                try:
                    with anyio.CancelScope() as self._session_scope:
                        if self._stop.is_set():
                            self._session_scope.cancel()
                        await session.run()
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
        resumable = bool(self.flows) and all(state.cut_confirmed for state in self.flows)
        for state in self.flows:
            dispatcher = state.dispatcher
            if dispatcher is not None:
                if resumable and self._stop.is_set() and state.ingest is not None and state.near():
                    dispatcher.channel.unbounded = True
                    await state.ingest.write_all_expiries()
                if not resumable and not keep:
                    dispatcher.channel.clear()
                    dispatcher.accumulator.clear()
                dispatcher.channel.close()
            if state.spool is not None:
                state.spool.drop()
            if state.rereads is not None:
                await state.rereads.aclose()
        while self._fatal is None and not self.hurry and not all(self._drained(state) for state in self.flows):
            await anyio.sleep(0.005)

    def _drained(self, state: FlowState) -> bool:
        """Ended, or held in front of something that may never come: its FLOW resumes in front of what was not sent."""
        dispatcher = state.dispatcher
        if dispatcher is None or dispatcher.ended:
            return True
        if self.gate.closed and not dispatcher.limiter.in_flight:
            return True
        return dispatcher.at_barrier is not None and not (self._barrier is not None and self._barrier.executing)

    async def _settle(self) -> None:
        for state in self.flows:
            if state.writer is not None and not self.hurry:
                await state.writer.settle()

    # What sessions need

    def _positions(self, greeting: Greeting) -> Resume | None:
        """Where to resume, None when this source can't be resumed."""
        if len(self.flows) != greeting.flows:
            return None
        positions = [state.stats.lsn_confirmed for state in self.flows]
        found = [p for p in positions if p is not None]
        return Resume(self._followed, tuple(found)) if len(found) == greeting.flows else None

    async def greeted(self, greeting: Greeting, control: Control) -> list[FlowState]:
        before = self.greeting
        self.greeting = greeting
        self.source_connected = True
        self.source_keys = await control.key_count()
        self.target.check_source(await control.databases())
        if self._followed and (self._followed != greeting.master_id or len(self.flows) != greeting.flows):
            self._source_changed(greeting)
        if len(self.flows) != greeting.flows:
            await self._make_flows(greeting)
        if before is None and self._continues:
            await self._read_checkpoints(greeting)
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

    def _source_changed(self, greeting: Greeting) -> None:
        """Another process, or another number of FLOWs. Raises SourceError when the policy is to stop."""
        if succeeds(greeting, self.flows):
            text = "the source was taken over by one of its replicas: a partial sync is asked for"
            self.records.event("info", "reconnect", text)
            log.info(text, extra={"fields": {"old": self._followed, "new": greeting.master_id}})
            return
        text = another_source(self._followed, len(self.flows), greeting)
        self._full_sync_allowed(text)
        self.records.event("warning", "reconnect", f"{text}: full sync")
        log.warning("Full sync instead of a resume", extra={"fields": {"reason": text}})
        self._start_over()

    async def _read_checkpoints(self, greeting: Greeting) -> None:
        """Where an earlier run of this job ended; without a position for every FLOW there is a full sync."""
        if self._refusal:
            text = f"the last run stopped at what could not be copied ({self._refusal})"
            self._full_sync_allowed(text)
            self.records.event("warning", "resume", f"{text}: full sync")
            log.warning("Full sync instead of a resume", extra={"fields": {"reason": text}})
            self._refusal, self._clean_up_due = "", True
            return
        found: list[Checkpoint] = []
        for state in self.flows:
            assert state.ledger is not None
            assert state.writer is not None
            # Its connections are there: what an earlier run has under way is fenced off, the checkpoints are final.
            await state.writer.ready()
            ledger = state.ledger
            checkpoint = Checkpoint.parse(await self.patiently(lambda key=ledger.key: self._read(key)))  # type: ignore[misc]
            if checkpoint is None:
                break
            self._flows_known = max(self._flows_known, min(checkpoint.flows, MAX_FLOWS))
            if not checkpoint.lsn:
                break
            if checkpoint.flows != greeting.flows or checkpoint.master_id != greeting.master_id:
                text = another_source(checkpoint.master_id, checkpoint.flows, greeting)
                self._full_sync_allowed(text)
                self.records.event("warning", "resume", f"{text}: full sync")
                log.warning("Full sync instead of a resume", extra={"fields": {"reason": text}})
                break
            found.append(checkpoint)
        if len(found) < greeting.flows:
            self._clean_up_due = True
            return
        self._followed = greeting.master_id
        if self._old is not None:
            await self._old.resume()
        for state, checkpoint in zip(self.flows, found, strict=True):
            state.stats.lsn_confirmed = checkpoint.lsn
            state.cut_confirmed = True
            state.resume_rereads = list(checkpoint.rereads)
        text = f"resuming job {self.settings.job!r} from its checkpoints"
        self.records.event("info", "resume", text)
        log.info(text, extra={"fields": {"lsn": [c.lsn for c in found]}})

    async def _read(self, key: bytes) -> object:
        reply = await self.target.call("GET", key)
        if is_error(reply):
            raise TargetError(f"target {self.target.name} refused to read {printable(key)}: {error_text(reply)}")
        return reply

    def _full_sync_allowed(self, why: str) -> None:
        if self.settings.on_lost_backlog == "stop":
            raise SourceError(f"{why}: only a full sync could go on, and --on-lost-backlog is stop")

    async def _make_flows(self, greeting: Greeting) -> None:
        tuning, caps = self.settings.tuning, self.target.caps
        self._ownership = Ownership(greeting.flows)
        for state in self.flows:
            if state.writer is not None:
                state.writer.stop()
        self._flows_known = max(self._flows_known, len(self.flows))
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
            ledger = ledger_of(self.settings, self.keys, flow, greeting.flows, self.run_id)
            state = FlowState(flow, knobs, ledger, self.dead_letters, self.records)
            state.writer = Writer(
                flow,
                self.target.router,
                ledger,
                state,
                reconnect=self.settings.reconnect,
                prepare=self.prepare_lane,
            )
            self.flows.append(state)
            assert self._tasks is not None
            self._tasks.start_soon(self._guarded, state.writer.run)

    async def _guarded(self, run: Callable[[], Awaitable[None]]) -> None:
        """A pipeline's error ends the run; it is noted first, so that nobody waits for a drain that can't come."""
        try:
            await run()
        except ResyncNeeded:
            raise
        except (Exception, BaseExceptionGroup) as error:
            self._fatal = self._fatal or error
            raise

    def pump(self, state: FlowState, connection: FlowConnection) -> Spool | None:
        state.spool = None
        if self.settings.backpressure == "spill":
            state.spool = Spool(state.flow, connection, self._spool_space)
        return state.spool

    def ingest(self, state: FlowState, connection: FlowConnection, greeting: Greeting, session: Session) -> Ingest:
        settings, caps = self.settings, self.target.caps
        assert state.writer is not None
        self._followed = greeting.master_id
        dispatcher = state.dispatcher = Dispatcher(
            state.flow,
            state.knobs,
            state.writer,
            self.gate,
            self.rate,
            self._global_of(state),
            self._check_databases,
        )
        self._pipes.start_soon(self._guarded, dispatcher.run)
        unread = state.resume_rereads
        if state.rereads is not None:
            unread = unread + state.rereads.open_at(state.stats.lsn_confirmed or 0)
        state.resume_rereads = []
        rereads = state.rereads = Rereads(state.flow, KeyReader(settings.source, state.flow))
        for db, key in unread:
            rereads.request(db, (key,), "a re-read was under way when the session ended")
        if state.ledger is not None:
            state.ledger.begin(greeting.master_id, state.stats.lsn_confirmed or 0)
            state.ledger.rereads = rereads.open_at
            dispatcher.before_dispatch = resumer_of(self.target, state.ledger)
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
            old=self._old.keys if self._old is not None else None,
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
            old=self._old.keys if self._old is not None else None,
        )
        state.phase = Phase.FULL_SYNC
        state.ingest = Ingest(
            connection,
            dispatcher.channel,
            Translators(snapshot, journal, state.expiry, self.dead_letters, caps, route),
            rereads,
            state.stats,
            session,
            release=greeting.release,
            is_near=state.near,
            lag=state.lag_seconds,
            held_up=lambda: self.gate.closed or bool(state.writer is not None and state.writer.status),
        )
        return state.ingest

    async def _check_databases(self, databases: set[int]) -> None:
        await self.patiently(lambda: self.target.check_databases(databases))

    def _global_of(self, state: FlowState) -> Callable[[Global], Awaitable[None]]:
        async def reached(item: Global) -> None:
            assert self._barrier is not None
            await self._barrier.arrive(state.flow, item, self._run_global)

        return reached

    async def _run_global(self, arrived: dict[int, Global]) -> None:
        item = arrived[0]
        text = printable(b" ".join(item.args))
        if why := self.target.can_not_run(item):
            self._full_sync_allowed(why)
            raise ResyncNeeded(why, item.db)
        records = [
            state.ledger.record(arrived[state.flow].next_lsn) for state in self.flows if state.ledger is not None
        ]
        await self._globally(item, records)
        for state in self.flows:
            state.passed_global(arrived[state.flow].next_lsn)
        self.records.event("warning", "global", f"{text} (db {item.db}) executed once, after all FLOWs had reached it")
        log.warning("Global command", extra={"fields": {"command": text, "db": item.db}})

    async def _globally(self, item: Global, records: Iterable[bytes]) -> None:
        own = list(records)

        async def run() -> None:
            if self.settings.exactly_once:
                await self._lease.check()
                # They go with everything else.
                await self.target.run_global(item, [*own, self._job_record(), self._lease.record()], self._spared)
            else:
                await self.target.run_global(item, own, self._spared)

        await self.patiently(run)

    async def before_full_sync(self) -> None:
        """Checkpoints of an older sync must not be resumed from while the new one runs."""
        if self.settings.exactly_once:
            keys = [self.keys.flow(flow) for flow in range(max(self._flows_known, len(self.flows)))]
            await self.patiently(lambda: self._write_job_record(*(encode("DEL", key) for key in keys)))
            self._flows_known = len(self.flows)
        if self._clean_up_due:
            # A key that is new on the source since may come as an INCR or HSET alone, which must not meet an old value.
            log.info("Removing what an earlier full sync wrote")
            await self.patiently(lambda: self.target.remove(self._may_go))
        if (old := self._old) is not None:
            prefix = f"{self.settings.checkpoint_prefix}:".encode()
            await self.patiently(lambda: old.begin_full_sync(self.target, prefix))

    # Ends

    async def _clean_up(self) -> None:
        """Remove what the source no longer has. It stays due, on the target too, until all of that is confirmed."""
        try:
            looked, absent = await self.patiently(
                lambda: find_leftovers(self.settings.source, self.target, self._is_ours, self._absent)
            )
            while any(state.unread() for state in self.flows):
                await anyio.sleep(0.1)
        except SourceLost as lost:
            self._cleaning, self._clean_up_due = False, True
            log.warning("Clean-up interrupted", extra={"fields": {"reason": str(lost)}})
            return
        except SourceError as refused:
            # Nothing is left over in general: what the job wrote was removed before the full sync.
            looked = absent = 0
            self.records.event("warning", "clean-up", f"left out: {refused}")
            log.warning("Clean-up left out", extra={"fields": {"reason": str(refused)}})
        self._cleaning = False
        if self._clean_up_due:
            return  # a new full sync began meanwhile
        if self.settings.exactly_once:
            await self.patiently(self._write_job_record)
        text = f"clean-up: {looked:,} keys looked at, {absent:,} that the source no longer has are removed"
        self.records.event("info", "clean-up", text)
        log.info(text)

    def _is_ours(self, db: int, key: bytes) -> bool:
        if self.target.router.cluster and self.settings.db_policy == "merge-into-0":
            return False  # it may be of another database of the source
        return self._may_go(db, key)

    def _may_go(self, db: int, key: bytes) -> bool:
        return not key.startswith(f"{self.settings.checkpoint_prefix}:".encode()) and self._ours(db, key)

    def _absent(self, db: int, key: bytes) -> None:
        state = self.flows[self._ownership.owner(key)]
        if state.rereads is not None:
            state.rereads.request(db, (key,), "the source no longer has this key")

    async def _watch_lag(self) -> None:
        """Lag 0 in every FLOW, and since when."""
        while True:
            await anyio.sleep(0.1)
            stable = self.phase is Phase.STABLE_SYNC and bool(self.flows)
            if stable and all(state.idle() and not state.unread() for state in self.flows):
                self.caught_up_since = self.caught_up_since or time.monotonic()
            else:
                self.caught_up_since = None
            if stable and self._clean_up_due and not self._cleaning and all(s.cut_confirmed for s in self.flows):
                self._clean_up_due, self._cleaning = False, True
                assert self._tasks is not None
                self._tasks.start_soon(self._guarded, self._clean_up)
            if self._cleaning or any(state.unread() for state in self.flows):
                continue
            caught_up = self.caught_up_since is not None and time.monotonic() - self.caught_up_since >= CAUGHT_UP_FOR
            if (self.settings.until == "caught-up" and caught_up) or (
                self.settings.mode == "snapshot" and stable and all(state.cut_confirmed for state in self.flows)
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

    def pump(self, state: FlowState, connection: FlowConnection) -> Spool | None:
        return self._job.pump(state, connection)

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
        await self._job.before_full_sync()


def another_source(master_id: str, flows: int, greeting: Greeting) -> str:
    """Why positions in the journal of that master, which had so many FLOWs, are worth nothing here."""
    if flows != greeting.flows:
        return f"the source has {greeting.flows} FLOWs now, it had {flows}"
    return f"the source is another process now ({greeting.master_id[:8]}, it was {printable(master_id.encode(), 8)})"


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
