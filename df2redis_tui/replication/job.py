"""A whole run: preflight, sessions with the source one after the other, the ends it can come to."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

import anyio

from df2redis_tui.errors import DataLost, Df2RedisError, NotCopied, ResyncNeeded, SourceLost, TargetError, TargetLost
from df2redis_tui.pipeline.backoff import Backoff
from df2redis_tui.replication.cleanup import clean_up
from df2redis_tui.replication.drain import end_session, settle
from df2redis_tui.replication.flow_checkpoints import keep_checkpoints, name_rereads, write_checkpoints
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.lease import RENEW_EVERY
from df2redis_tui.replication.marks import check_at_end, keep_marks
from df2redis_tui.replication.mirror import keep_mirror
from df2redis_tui.replication.noting import keep_facts, keep_left_out, look_at_target, note_left_out
from df2redis_tui.replication.outcome import significant
from df2redis_tui.replication.preflight import preflight
from df2redis_tui.replication.resume import positions, start_over
from df2redis_tui.replication.session import PartialRefused, Session
from df2redis_tui.replication.session_port import SessionPort
from df2redis_tui.replication.side_tasks import SideTask, keep_going
from df2redis_tui.replication.source_checks import keep_count
from df2redis_tui.replication.true_times import give_true_times
from df2redis_tui.telemetry.snapshot import Phase

log = logging.getLogger(__name__)

STEADY = 60.0  # seconds after which a session counts as having worked
CAUGHT_UP_FOR = 1.0  # seconds at lag 0 that `--until caught-up` asks for


async def run(job: JobState) -> None:
    """Lives on the engine's loop; returns when done. Raises a Df2RedisError when it failed."""
    try:
        with anyio.CancelScope() as job.connecting:
            if not job.stop_asked.is_set():
                await preflight(job)
        if job.stop_asked.is_set():
            return
        async with anyio.create_task_group() as tasks:
            job.tasks = tasks
            tasks.start_soon(_note_cancellation, job)
            for task, beside in _BESIDE:
                tasks.start_soon(_go_beside, job, task, beside)
            await _sessions(job)
            job.set_phase(Phase.DRAINING)
            job.unchecked = bool(job.flows)
            await settle(job)
            await write_checkpoints(job)
            await check_at_end(job)
            await give_true_times(job)
            await look_at_target(job)
            await note_left_out(job)
            if job.dead_letters.unrecorded:
                await _note_refusal(job, f"{job.dead_letters.unrecorded:,} keys or commands that no dead letter names")
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = significant(group)
        # On one server checkpoints are lost with the data, on a cluster they may stand elsewhere.
        if isinstance(error, NotCopied) or (isinstance(error, DataLost) and job.target.router.cluster):
            await _note_refusal(job, str(error))
        raise error from None
    finally:
        # Nothing was written where no FLOW has begun: nobody has to wait for a target that may not answer.
        with anyio.CancelScope(shield=True), anyio.move_on_after(1 if job.hurry or not job.flows else 5):
            await _leave(job)
        job.dead_letters.close()
        job.state_lock.release()


async def _sessions(job: JobState) -> None:
    """Sessions with the source until the run is complete or stopped."""
    backoff, flushed = Backoff(0.2, 15.0), Backoff(0.2, 15.0)
    while not job.stop_asked.is_set():
        if job.hold.on:
            await _held(job)
            continue
        started = time.monotonic()
        job.hold.interrupted = False
        try:
            await _session(job)
            if not job.hold.interrupted or job.stop_asked.is_set():
                return
            await _held(job)
        except PartialRefused:
            start_over(job)
        except ResyncNeeded as again:
            start_over(job)
            job.noted.flushed()
            if time.monotonic() - started > STEADY:
                flushed.reset()
            await _wait_to_start_again(job, again, flushed)
        except SourceLost as lost:
            if job.stop_asked.is_set():
                return
            if job.greeting is None or not job.settings.reconnect:
                raise
            if not all(state.cut_confirmed for state in job.flows):
                start_over(job)
            if time.monotonic() - started > STEADY:
                backoff.reset()
            await _wait_to_reconnect(job, lost, backoff)


async def _session(job: JobState) -> None:
    session = Session(job.settings.source, SessionPort(job), resume=lambda greeting: positions(job, greeting))
    keep = False
    try:
        # The pipelines outlive the session's scope: a stop ends the reading, and what was read is still applied.
        async with anyio.create_task_group() as pipes:
            job.pipes = pipes
            try:
                with anyio.CancelScope() as job.session_scope:
                    job.hold.session = job.session_scope
                    if job.stop_asked.is_set():
                        job.session_scope.cancel()
                    await session.run()
            except BaseExceptionGroup as group:
                why = significant(group)
                keep = isinstance(why, NotCopied)
                raise why from None
            finally:
                job.session_scope = None
                job.source_connected = False
                job.session_phase, job.source_heard_at = Phase.CONNECTING, None
                job.source_unknown = job.reason = ""
                if job.stop_asked.is_set():
                    job.set_phase(Phase.DRAINING)
                job.hold.session_ended()
                with anyio.CancelScope(shield=True):
                    await end_session(job, keep)
                pipes.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise significant(group) from None


async def _held(job: JobState) -> None:
    """This process is about to be stopped: nothing of it stays open that the source could wait for."""
    job.set_phase(Phase.RECONNECTING)
    resumable = job.snapshot_confirmed
    if not resumable:
        start_over(job)
    async with anyio.create_task_group() as tasks:

        async def stopped() -> None:
            await job.stop_asked.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(stopped)
        await job.hold.over()
        tasks.cancel_scope.cancel()
    how = "goes on where it was" if resumable else "begins its full sync anew"
    text = f"this process was suspended, its FLOWs were closed meanwhile: it {how}"
    job.records.event("warning", "reconnect", text)
    log.warning(text)


async def _wait_to_start_again(job: JobState, again: ResyncNeeded, backoff: Backoff) -> None:
    """Who flushes the source again and again would have it begin full syncs without a pause, none of which ends."""
    seconds = backoff.next()
    text = f"full sync starts again: {again}" + (f", attempt {backoff.attempt}" if backoff.attempt > 1 else "")
    job.records.event("warning", "reconnect", text)
    log.warning("Full sync starts again", extra={"fields": {"reason": str(again), "attempt": backoff.attempt}})
    await _wait(job, text, seconds)


async def _wait_to_reconnect(job: JobState, lost: SourceLost, backoff: Backoff) -> None:
    job.source_lost_since = job.source_lost_since or time.monotonic()
    seconds = backoff.next()
    text = f"the source was lost ({lost}), attempt {backoff.attempt}"
    job.records.event("warning", "reconnect", text)
    log.warning("Reconnecting", extra={"fields": {"reason": str(lost), "attempt": backoff.attempt}})
    await _wait(job, text, seconds)


async def _wait(job: JobState, text: str, seconds: float) -> None:
    """Between two sessions, or until a stop."""
    job.set_phase(Phase.RECONNECTING)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not job.stop_asked.is_set():
        job.reason = f"{text} in {left:.0f} s"
        with anyio.move_on_after(min(left, 0.5)):
            await job.stop_asked.wait()
    job.reason = ""


async def _watch_lag(job: JobState) -> None:
    """Lag 0 in every FLOW, and since when; end the run when it has come to what it was asked for."""
    asked: float | None = None  # since when the source is to say once more that there is nothing new
    while True:
        await anyio.sleep(0.1)
        if job.session_phase is Phase.STABLE_SYNC and job.phase is Phase.FULL_SYNC:
            job.advance()
        stable = job.phase is Phase.STABLE_SYNC and bool(job.flows)
        if stable and not job.source_silent() and all(state.idle() and not state.unread() for state in job.flows):
            job.caught_up_since = job.caught_up_since or time.monotonic()
        else:
            job.caught_up_since = None
        if stable and job.noted.clean_up_due and not job.noted.cleaning and job.snapshot_confirmed:
            job.noted.clean_up_due, job.noted.cleaning = False, True
            assert job.tasks is not None
            job.tasks.start_soon(_go_beside, job, CLEAN_UP, clean_up)
        if job.noted.cleaning or any(state.unread() for state in job.flows):
            continue
        since = job.caught_up_since
        if since is None or time.monotonic() - since < CAUGHT_UP_FOR:
            asked = None
        elif asked is None:
            asked = time.monotonic()
            job.ask_source.set()
        caught_up = asked is not None and job.source_answered >= asked
        if (job.settings.until == "caught-up" and caught_up) or (
            job.settings.mode == "snapshot" and stable and job.snapshot_confirmed
        ):
            job.finish()


async def _keep_lease(job: JobState) -> None:
    while job.settings.exactly_once:
        await anyio.sleep(RENEW_EVERY)
        try:
            await job.lease.renew()
        except TargetLost as lost:
            log.info("The lease was not renewed", extra={"fields": {"reason": str(lost)}})


async def _go_beside(job: JobState, task: SideTask, beside: Callable[[JobState], Awaitable[None]]) -> None:
    await job.guarded(lambda: keep_going(task, job.records, lambda: beside(job)))


async def _note_cancellation(job: JobState) -> None:
    """Whoever waits for the pipelines, shielded, must not wait once they are cancelled."""
    try:
        await anyio.sleep_forever()
    finally:
        job.halted = True


_BESIDE: tuple[tuple[SideTask, Callable[[JobState], Awaitable[None]]], ...] = (
    (SideTask("lag", "the end by itself (--until, --mode) does not come"), _watch_lag),
    (SideTask("lease", "another run of this job could begin", (TargetError,)), _keep_lease),
    (SideTask("state file", "it is not kept up to date"), keep_mirror),
    (SideTask("key count", "the job's record has an older one"), keep_count),
    (SideTask("checkpoints", "a restart begins further back", (TargetError,)), keep_checkpoints),
    (SideTask("marks", "a target that loses its data may not be noticed", (DataLost,)), keep_marks),
    (SideTask("re-read names", "a restart may not read again what is in doubt", (TargetError,)), name_rereads),
    (SideTask("target facts", "memory, role and evictions of the target are not known"), keep_facts),
    (SideTask("left out", "a later run does not know what this one has left out"), keep_left_out),
)
CLEAN_UP = SideTask("clean-up", "the target keeps what the source no longer has", (Df2RedisError,))


async def _note_refusal(job: JobState, refused: str) -> None:
    """The checkpoint may stand behind what was refused: the next run has to begin anew, not go on behind it."""
    if not job.settings.exactly_once:
        return
    job.noted.refusal = refused
    try:
        with anyio.CancelScope(shield=True), anyio.move_on_after(5):
            await job.noted.write()
    except TargetError as failed:
        log.warning("The refusal was not noted", extra={"fields": {"reason": str(failed)}})


async def _leave(job: JobState) -> None:
    """Whatever fails here, how the run ended is known, and stays."""
    job.target.check_with(None)
    try:
        await job.lease.release()
    except Df2RedisError as error:
        log.info("The lease was not released", extra={"fields": {"reason": str(error)}})
    except Exception as error:
        log.error("The lease was not released", exc_info=error)
    try:
        if job.settings.backpressure == "spill":
            job.spool_space.remove()
        await job.target.aclose()
    except Exception as error:
        log.error("The run was not tidied up", exc_info=error)
