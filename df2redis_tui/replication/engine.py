"""The engine's facade: a thread with its own anyio loop, driven from any other thread (`replication.handle`)."""

from __future__ import annotations

import dataclasses
import gc
import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.from_thread
from anyio.lowlevel import EventLoopToken, current_token

from df2redis_tui.errors import EXIT_DONE, EXIT_NOT_COPIED, Df2RedisError
from df2redis_tui.pipeline.knobs import (
    default_batch_size,
    default_channel_bytes,
    default_flush_interval,
    default_max_in_flight,
)
from df2redis_tui.replication.handle import KNOB_RANGES, TuneChange, TuneRequest
from df2redis_tui.replication.job import run
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.look import Look
from df2redis_tui.replication.outcome import significant
from df2redis_tui.settings import Settings
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Knobs, Phase

log = logging.getLogger(__name__)
T = TypeVar("T")

LOOK_EVERY = 0.2  # seconds
FACTS_EVERY = 5.0  # seconds between two looks at the target's INFO
EXIT_DEFECT = 1


class Engine:
    """Implements `EngineHandle` for a replication in this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._job = JobState(settings)
        self._look = Look(self._job, self._configured())
        self._snapshot = self._look.take()
        self._token: EventLoopToken | None = None
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
        if self._token is None or self.done:
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
        """Run on the engine's loop; None when there is no engine running."""
        token = self._token
        if token is None or self._done.is_set():
            return None
        try:
            return anyio.from_thread.run_sync(call, token=token)
        except RuntimeError:
            return None  # the loop ended in this moment

    def _run(self) -> None:
        code, failure, hint = EXIT_DEFECT, "", ""
        # The hot path makes millions of small tuples and no cycles: let the collector look at them rarely.
        gc.freeze()
        gc.set_threshold(100_000, 50, 100)
        try:
            anyio.run(self._main, backend_options={"use_uvloop": _has_uvloop()})
            code = EXIT_NOT_COPIED if self._job.dead_letters.count else EXIT_DONE
            if code:
                failure = f"{self._job.dead_letters.count:,} keys could not be copied"
                hint = f"they are listed in {self._job.dead_letters.path}"
        except Df2RedisError as error:
            code, failure, hint = error.exit_code, str(error), self._hint(error)
        except BaseException as error:
            log.error("unexpected error", exc_info=error)
            failure = f"unexpected {type(error).__name__}: the log has the details"
        finally:
            job = self._job
            job.set_phase(Phase.FAILED if failure and not job.complete else Phase.DONE)
            if failure:
                job.records.event("error", "end", failure)
                log.error("Ended", extra={"fields": {"exit_code": code, "failure": failure}})
            else:
                log.info("Ended", extra={"fields": {"exit_code": code}})
            self._snapshot = self._look.take(exit_code=code, failure=failure, hint=hint)
            self._done.set()

    async def _main(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._take_looks)
                tasks.start_soon(self._refresh_facts)
                self._token = current_token()
                try:
                    with anyio.CancelScope() as self._scope:
                        await run(self._job)
                finally:
                    tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise significant(group) from None

    async def _take_looks(self) -> None:
        while True:
            self._snapshot = self._look.take()
            if self._deadline is not None and time.monotonic() > self._deadline and self._scope is not None:
                self._job.hurry = True
                self._scope.cancel()
            await anyio.sleep(LOOK_EVERY)

    async def _refresh_facts(self) -> None:
        while True:
            await anyio.sleep(FACTS_EVERY)
            if self._job.target.facts:
                try:
                    await self._job.target.refresh_facts()
                except Df2RedisError as error:
                    log.debug("INFO of the target: %s", error)

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
        if error.retryable or error.exit_code in (3, 4):
            return "nothing confirmed is lost; mend it and run the same command again"
        return ""

    # Tuning

    def _configured(self) -> Knobs:
        tuning, cluster = self._settings.tuning, self._settings.target.cluster
        return Knobs(
            tuning.batch_size or default_batch_size(cluster),
            tuning.max_in_flight or default_max_in_flight(cluster, 1),
            tuning.flush_interval if tuning.flush_interval is not None else default_flush_interval(cluster, False),
            tuning.adaptive_flush,
            tuning.channel_entries,
            tuning.channel_bytes or default_channel_bytes(1),
            tuning.rate_limit,
        )

    def _tune(self, request: TuneRequest) -> list[TuneChange]:
        changes: list[TuneChange] = []
        states = [s for s in self._job.flows if request.flow in (None, s.flow)]
        wanted = dataclasses.asdict(request)
        del wanted["flow"]
        if (rate := wanted.pop("rate_limit")) is not None:
            per_second = int(clamp("rate_limit", rate))
            if per_second != self._job.rate.per_second:
                changes.append(TuneChange("rate_limit", None, self._job.rate.per_second, per_second, "at once"))
                self._job.rate.change(per_second)
        for knob, value in wanted.items():
            if value is None:
                continue
            value = clamp(knob, value)
            old: float | None = None
            effect = ""
            for state in states:
                before = getattr(state.knobs, knob)
                new = type(before)(value)
                if new == before:
                    continue
                old = before if old is None else old
                effect = _effect(knob, new, state.dispatcher.limiter.in_flight if state.dispatcher else 0)
                setattr(state.knobs, knob, new)
                if knob == "flush_interval":
                    state.interval_tuned = True
                if state.dispatcher is not None:
                    state.dispatcher.knobs_changed()
            if old is not None:
                changes.append(TuneChange(knob, request.flow, float(old), float(value), effect))
        for change in changes:
            self._job.records.event("info", "tuning", str(change), request.flow)
            log.info("Tuned", extra={"fields": {"knob": change.knob, "old": change.old, "new": change.new}})
        self._snapshot = self._look.take()
        return changes


def clamp(knob: str, value: float) -> float:
    low, high = KNOB_RANGES[knob]
    return min(high, max(low, value))


def _effect(knob: str, new: float, in_flight: int) -> str:
    if knob == "batch_size":
        return "from the next batch"
    if knob == "max_in_flight" and in_flight > new:
        return f"draining {in_flight} to {new:g}"
    return "at once"


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True
