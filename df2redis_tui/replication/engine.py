"""The engine's facade: a thread with its own anyio loop, driven from any other thread (`replication.handle`)."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import gc
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import anyio

from df2redis_tui.errors import EXIT_SOURCE, Df2RedisError, NotCopied, TargetError, printable
from df2redis_tui.replication.confirmed import confirmed, ending
from df2redis_tui.replication.handle import TuneChange, TuneRequest
from df2redis_tui.replication.job import run
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.look import Look
from df2redis_tui.replication.outcome import significant
from df2redis_tui.replication.side_tasks import SideTask, keep_going
from df2redis_tui.replication.tuning import tune
from df2redis_tui.settings import Settings
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Outcome, Phase
from df2redis_tui.telemetry.verdict import EXIT_OF, judge

log = logging.getLogger(__name__)
LOOKS = SideTask("display", "what is shown stands still")
T = TypeVar("T")

LOOK_EVERY = 0.2  # seconds
DEADLINE_EVERY = 0.1  # seconds between two looks at whether the time for the drain is over
ANSWER_WITHIN = 1.0  # seconds that a caller waits for the loop, which may hang
EXIT_DEFECT = 1


class Engine:
    """Implements `EngineHandle` for a replication in this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._job = JobState(settings)
        self._look = Look(self._job)
        self._snapshot = self._look.take()
        self._look_failed = ""  # why the last one could not be taken
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: contextvars.Context | None = None  # of what runs on it
        self._starting = threading.Lock()  # until the loop runs, calls are made by whoever comes
        self._thread: threading.Thread | None = None
        self._done = threading.Event()
        self._scope: anyio.CancelScope | None = None
        self._deadline: float | None = None

    # The handle

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def snapshot(self) -> EngineSnapshot:
        return self._snapshot

    def tune(self, request: TuneRequest) -> list[TuneChange]:
        return self._on_loop(lambda: self._tune(request)) or []

    def pause(self, reason: str = "by operator") -> None:
        self._on_loop(lambda: self._pause(reason))

    def resume(self) -> None:
        self._on_loop(self._resume)

    def detach_source(self, timeout: float) -> bool:
        if self._loop is None or self.done:
            return True
        self._on_loop(self._job.hold.begin)
        return self._job.hold.detached.wait(timeout) or self.done

    def attach_source(self) -> None:
        self._on_loop(self._job.hold.end)

    def request_stop(self, deadline: float | None = 30.0) -> None:
        self._on_loop(lambda: self._stop(deadline))

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        return self._done.wait(timeout)

    # The thread

    def _on_loop(self, call: Callable[[], T]) -> T | None:
        """Run on the engine's loop, or here as long as there is none; None when the engine has ended, or does not
        answer: the call is made then as soon as it does."""
        with self._starting:
            if self._loop is None:
                return None if self._done.is_set() else call()
        if self._done.is_set():
            return None
        answer: Future[T] = Future()

        def answered() -> None:
            try:
                answer.set_result(call())
            except BaseException as error:
                answer.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(answered, context=self._context)
            return answer.result(ANSWER_WITHIN)
        except (RuntimeError, TimeoutError):
            return None  # the loop ended in this moment, or hangs

    def _run(self) -> None:
        error: BaseException | None = None
        # The hot path makes millions of small tuples and no cycles: let the collector look at them rarely.
        gc.freeze()
        gc.set_threshold(100_000, 50, 100)
        try:
            anyio.run(self._main, backend_options={"use_uvloop": _has_uvloop()})
        except BaseException as raised:
            error = raised
        finally:
            try:
                self._end(error)
            except Exception as defect:
                log.error("The verdict could not be made", exc_info=defect)
            finally:
                self._done.set()

    def _end(self, error: BaseException | None) -> None:
        """Say how it ended. Whoever waits for the end must not depend on any of this."""
        job = self._job
        if job.hurry and isinstance(error, Df2RedisError) and error.retryable:
            error = None  # a connection that was lost while the drain was being cut short: what is missing says all
        failure = ""
        if isinstance(error, Df2RedisError):
            failure = str(error)
        elif error is not None:
            log.error("unexpected error", exc_info=error)
            failure = f"unexpected {type(error).__name__}: the log has the details"
        end = dataclasses.replace(
            ending(job),
            failed=error is not None,
            refused=isinstance(error, NotCopied),
            advice=self._hint(error) if isinstance(error, Df2RedisError) else "",
        )
        outcome = judge(confirmed(job), end)
        code = EXIT_OF.get(outcome.verdict, EXIT_DEFECT)
        if error is not None:
            code = error.exit_code if isinstance(error, Df2RedisError) else EXIT_DEFECT
        job.set_phase(Phase.FAILED if error is not None and not job.complete else Phase.DONE)
        fields: dict[str, object] = {"verdict": outcome.verdict.value}
        if failure:
            job.records.event("error", "end", failure)
            log.error("Ended", extra={"fields": fields | {"failure": failure}})
        else:
            log.info("Ended", extra={"fields": fields | {"outcome": outcome.text}})
        last = self._snapshot
        if not self._take_look(outcome, code, failure):
            self._snapshot = dataclasses.replace(
                last, phase=job.phase, phase_since=job.phase_since, outcome=outcome, exit_code=code, failure=failure
            )

    async def _main(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep_deadline)
                tasks.start_soon(keep_going, LOOKS, self._job.records, self._take_looks)
                with self._starting:
                    self._context, self._loop = contextvars.copy_context(), asyncio.get_running_loop()
                try:
                    if not self._job.stop_asked.is_set():  # asked for before there was a loop
                        with anyio.CancelScope() as self._scope:
                            await run(self._job)
                finally:
                    tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise significant(group) from None

    async def _take_looks(self) -> None:
        while True:
            self._take_look()
            await anyio.sleep(LOOK_EVERY)

    async def _keep_deadline(self) -> None:
        """Cut the drain short when its time is over. Does nothing else, so that nothing can keep it from that."""
        while True:
            await anyio.sleep(DEADLINE_EVERY)
            if self._deadline is not None and time.monotonic() > self._deadline and self._scope is not None:
                self._job.hurry = True
                self._scope.cancel()

    def _take_look(self, outcome: Outcome | None = None, code: int | None = None, failure: str = "") -> bool:
        """A new snapshot. A defect in it leaves the last one standing: a replication goes on unseen."""
        try:
            self._snapshot = self._look.take(outcome, exit_code=code, failure=failure)
        except Exception as error:
            why = f"{type(error).__name__}: {printable(str(error).encode())}"
            if why != self._look_failed:
                self._look_failed = why
                text = f"what is shown stands still, the replication goes on ({why})"
                self._job.records.event("error", "display", text)
                expected = isinstance(error, OSError)  # of reading what the system says of this process
                fields = {"reason": why}
                log.error(
                    "A snapshot could not be taken", extra={"fields": fields}, exc_info=None if expected else error
                )
                events = (*self._snapshot.events, self._job.records.events[-1])
                self._snapshot = dataclasses.replace(self._snapshot, reason=text, events=events)
            return False
        self._look_failed = ""
        return True

    def _stop(self, deadline: float | None) -> None:
        if deadline is not None:
            until = time.monotonic() + deadline
            self._deadline = until if self._deadline is None else min(self._deadline, until)
        log.info("Stop requested", extra={"fields": {"deadline": deadline}})
        self._job.gate.open()
        self._job.stop()

    def _pause(self, reason: str) -> None:
        self._job.pause_reason = reason
        self._job.gate.close()
        self._job.records.event("warning", "tuning", f"paused {reason}")
        log.warning("Paused", extra={"fields": {"reason": reason}})

    def _resume(self) -> None:
        self._job.gate.open()
        for state in self._job.flows:
            if state.dispatcher is not None:
                state.dispatcher.wake.set()
        self._job.records.event("info", "tuning", "resumed")
        log.warning("Resumed")

    def _hint(self, error: Df2RedisError) -> str:
        if error.advice is not None:
            return error.advice
        if isinstance(error, TargetError):  # what it kept is known to its next connection
            return "fix it and run the same command again: it goes on from what the target has then"
        if error.retryable or error.exit_code == EXIT_SOURCE:
            return "nothing confirmed is lost; fix it and run the same command again"
        return ""

    # Tuning

    def _tune(self, request: TuneRequest) -> list[TuneChange]:
        changes = tune(self._job, request)
        self._take_look()
        return changes


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True
