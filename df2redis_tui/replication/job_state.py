"""What the parts of a run share: settings, target, phase, FLOWs, the wish to stop, the first fatal error."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from df2redis_tui.dragonfly.control import Greeting
from df2redis_tui.errors import Df2RedisError, ResyncNeeded, TargetLost
from df2redis_tui.pipeline.backoff import Backoff
from df2redis_tui.pipeline.dispatch import Gate
from df2redis_tui.pipeline.knobs import FlowKnobs
from df2redis_tui.pipeline.limiter import RateLimit
from df2redis_tui.pipeline.signal import Signal
from df2redis_tui.replication.backlog import Backlog
from df2redis_tui.replication.barrier import GlobalBarrier
from df2redis_tui.replication.checkpoint import JobKeys
from df2redis_tui.replication.configured import configured_knobs
from df2redis_tui.replication.existing import ExistingKeys, OldValues
from df2redis_tui.replication.flow_state import FlowState
from df2redis_tui.replication.hold import Hold
from df2redis_tui.replication.job_record import JobRecord
from df2redis_tui.replication.known_marks import KnownMarks
from df2redis_tui.replication.lease import Lease
from df2redis_tui.replication.left_out import LeftOut
from df2redis_tui.replication.spool import SpoolSpace
from df2redis_tui.replication.state_lock import StateLock
from df2redis_tui.replication.target_keys import KeyChoice
from df2redis_tui.replication.targets import Target, target_of
from df2redis_tui.replication.tuning import Tuned
from df2redis_tui.settings import Settings
from df2redis_tui.telemetry.dead_letters import DEAD_LETTER_FILE, DeadLetters
from df2redis_tui.telemetry.snapshot import Phase
from df2redis_tui.telemetry.stats import Records
from df2redis_tui.translate.ownership import Ownership

log = logging.getLogger(__name__)
T = TypeVar("T")

HEARD_EVERY = 2.0  # seconds: a source that answers does so more often
REREAD_AT_END = 5.0  # seconds; what is not read then, the checkpoint names for the next run


class JobState:
    """One per run, on the engine's loop. The run's parts change it, `look` and `engine` read it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.run_id = secrets.token_hex(8)
        self.keys = JobKeys(settings.checkpoint_prefix, settings.job, settings.target.cluster)
        self.target: Target = target_of(settings)
        self.records = Records()
        self.dead_letters = DeadLetters(
            settings.state_dir / DEAD_LETTER_FILE, settings.on_error, settings.dead_letter_value_limit
        )
        self.gate = Gate()
        self.rate = RateLimit(settings.tuning.rate_limit)
        self.tuned = Tuned()
        self.backlog = Backlog()
        self.late: list[Callable[[], Awaitable[None]]] = []  # what can wait until the source has answered the FLOWs
        self.pause_reason = ""
        self.phase = Phase.CONNECTING
        self.session_phase = Phase.CONNECTING  # what the source's session is at; the target may be behind
        self._told_phase = Phase.CONNECTING
        self.phase_since = time.time()
        self.phase_seconds: dict[str, float] = {}
        self.reason = ""
        self.flows: list[FlowState] = []
        self.greeting: Greeting | None = None
        self.source_keys: int | None = None
        self.source_connected = False
        self.source_lost_since: float | None = None
        self.source_heard_at: float | None = None  # monotonic, like all of these; None outside of stable sync
        self.source_answered = 0.0  # when it was asked what it has answered
        self.source_unknown = ""  # why it is not known where it is, though it answers
        self.ask_source = Signal()  # an answer is wanted at once
        self._stop_wanted_at = 0.0
        self.target_asked_at: float | None = None  # since when an answer to INFO is due
        self.full_sync_begun = False
        self.full_sync_since = 0.0
        self.followed_to_end = False  # the source was followed when the end was asked for
        self.caught_up_since: float | None = None
        self.stopping = False
        self.complete = False
        self.hurry = False  # give up draining
        self.halted = False  # the pipelines were cancelled: nothing more will be confirmed
        self.caught_up_at_end = False  # all that was read last, and with it true expiry times, was to reach the target
        self._phase_started = time.monotonic()
        self._journal_knobs = False  # the flush interval in force is the one of stable sync
        self.connecting: anyio.CancelScope | None = None  # before there is a session
        self.barrier: GlobalBarrier | None = None
        self.ownership = Ownership(1)
        self.spared: KeyChoice | None = None
        self.existing = ExistingKeys()
        self.old = OldValues(settings.state_dir / f"{settings.job}.old", self.existing)
        self.followed = ""  # id of the master whose journal the FLOWs' positions count
        self.tasks: TaskGroup | None = None  # of the run
        self.pipes: TaskGroup | None = None  # of the session
        self.session_scope: anyio.CancelScope | None = None
        self.hold = Hold()
        self.stop_asked = anyio.Event()
        self.continues = False  # an earlier run of this job wrote to the target
        self.noted = JobRecord(settings, self.keys, self.target, self._left_out)
        self.ours: KeyChoice = lambda db, key: True  # what may be removed as written by this job
        self.marks = KnownMarks(self.run_id)
        self.servers: dict[
            str, tuple[str, str, float]
        ] = {}  # server → its run, its history's id, since when (monotonic)
        self.restarted = ""  # why it is not known what the target kept
        self.unchecked = False  # at the end, whether the target still has what it confirmed
        self.lease = Lease(self.target, self.keys.lease, settings.job, self.run_id)
        self.state_lock = StateLock(settings.state_dir, settings.job, settings.target.label)
        self.spool_space = SpoolSpace(settings.state_dir / f"{settings.job}.spool", settings.spool_bytes)
        self.fatal: BaseException | None = None
        self.checkpointing = anyio.Lock()  # a record made before must not be written behind a newer one
        self.unfenced = False  # the target does not let us end older connections

    def _left_out(self) -> LeftOut:
        """By this run, so far."""
        return LeftOut(
            self.dead_letters.open,
            sum(state.stats.unverified for state in self.flows),
            self.noted.evictions.keys,
            self.spared is not None,
        )

    def set_phase(self, phase: Phase) -> None:
        now = time.monotonic()
        name = self.phase.value
        self.phase_seconds[name] = self.phase_seconds.get(name, 0.0) + now - self._phase_started
        self._phase_started = now
        if phase is not self.phase:
            self._tell_phase(phase)
        self.phase, self.phase_since = phase, time.time()

    def _tell_phase(self, phase: Phase) -> None:
        """One after the other, but not each attempt to reach a source that is lost."""
        told = self._told_phase
        if told is Phase.RECONNECTING and phase in (Phase.CONNECTING, Phase.HANDSHAKE, told):
            return
        self._told_phase = phase
        self.records.event("info", "phase", f"{told.value} → {phase.value}")
        log.info("Phase", extra={"fields": {"phase": phase.value, "after": told.value}})

    def session_at(self, phase: Phase) -> None:
        """The session with the source has come to `phase`."""
        self.session_phase = phase
        if phase in (Phase.FULL_SYNC, Phase.BARRIER, Phase.STABLE_SYNC):
            self.source_lost_since = None
        if phase is Phase.FULL_SYNC:
            self.full_sync_since = time.monotonic()
        if phase in (Phase.FULL_SYNC, Phase.STABLE_SYNC):
            self._journal_knobs = phase is Phase.STABLE_SYNC
            interval = self.common().flush_interval
            for state in self.flows:
                if not state.interval_tuned:
                    state.knobs.flush_interval = interval
        self.advance()

    def advance(self) -> None:
        """Stable sync begins when the target has the full sync of every FLOW, not when the last byte of it was read."""
        phase = self.session_phase
        past_snapshot = phase in (Phase.BARRIER, Phase.STABLE_SYNC)
        if past_snapshot and self.flows and not self.snapshot_confirmed:
            phase = Phase.FULL_SYNC
        if phase is not self.phase:
            self.set_phase(phase)

    @property
    def snapshot_confirmed(self) -> bool:
        """Whether the target has the full sync of every FLOW."""
        return bool(self.flows) and all(state.cut_confirmed for state in self.flows)

    def source_silent(self) -> float:
        """Seconds for which the source has not said where it is, 0 when it answers (or is not asked)."""
        quiet = time.monotonic() - self.source_heard_at if self.source_heard_at is not None else 0.0
        return quiet if quiet > HEARD_EVERY else 0.0

    def configured(self) -> FlowKnobs:
        """The knobs of each FLOW as the settings want them."""
        flows = self.greeting.flows if self.greeting is not None else 1
        return configured_knobs(self.settings, flows, stable=self._journal_knobs)

    def common(self) -> FlowKnobs:
        """The knobs in force for all FLOWs but those that were given their own."""
        return self.tuned.apply(None, self.configured())

    def phase_durations(self) -> dict[str, float]:
        """Seconds per phase, the running one included."""
        found = dict(self.phase_seconds)
        if self.phase not in (Phase.DONE, Phase.FAILED):
            found[self.phase.value] = found.get(self.phase.value, 0.0) + time.monotonic() - self._phase_started
        return found

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

    async def guarded(self, run: Callable[[], Awaitable[None]]) -> None:
        """A pipeline's error ends the run; it is noted first, so that nobody waits for a drain that can't come."""
        try:
            await run()
        except ResyncNeeded:
            raise
        except (Exception, BaseExceptionGroup) as error:
            self.fatal = self.fatal or error
            raise

    def end_with(self, error: Df2RedisError) -> None:
        """For what is found where it would only fail a side task."""
        if self.fatal is not None or self.tasks is None:
            return

        async def end() -> None:
            raise error

        self.fatal = error
        self.tasks.start_soon(self.guarded, end)

    def note_fence(self, problem: str) -> None:
        if problem and not self.unfenced:
            self.unfenced = True
            text = f"the target does not let older connections be ended ({problem}): allow CLIENT LIST, KILL, SETNAME"
            self.records.event("warning", "target", text)
            log.warning(text)

    def finish(self) -> None:
        """The run has done what it was asked for."""
        self.complete = True
        self.stop()

    def stop(self) -> None:
        """Read no more; what was received is applied and confirmed. Keys that are being read again get a moment."""
        first, self.stopping = not self.stopping, True
        if first:
            self._stop_wanted_at = time.monotonic()
            self.ask_source.set()
        if first and self.tasks is not None and self._nearly_there():
            self.tasks.start_soon(self.guarded, self._stop_later)
            return
        self._stop_now()

    def _nearly_there(self) -> bool:
        """Whether a moment more of reading makes the copy whole."""
        if self.session_phase is not Phase.STABLE_SYNC or not self.snapshot_confirmed or self.hurry:
            return False
        return (
            self.noted.clean_up_due
            or self.noted.cleaning
            or not (self.complete or self._answered_since())  # what it has written is not known before
            or any(state.unread() or state.nearly_read() for state in self.flows)
        )

    def _answered_since(self) -> bool:
        """Whether the source has answered a question that was asked after the end was."""
        return self.source_answered >= self._stop_wanted_at

    async def _stop_later(self) -> None:
        try:
            with anyio.move_on_after(REREAD_AT_END):
                while self._nearly_there():
                    await anyio.sleep(0.02)
        finally:
            self._stop_now()

    def _stop_now(self) -> None:
        if not self.stop_asked.is_set():
            following = self.source_connected and self.session_phase is Phase.STABLE_SYNC
            self.followed_to_end = following and (self.complete or self._answered_since())
        self.stop_asked.set()
        if self.connecting is not None:
            self.connecting.cancel()
        if self.session_scope is not None:
            self.session_scope.cancel()
