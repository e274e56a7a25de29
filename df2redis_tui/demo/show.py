"""The engine of a demo as the front ends see it: asked to stop, it first ends the writing and lets everything
arrive.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import redis

from df2redis_tui.demo.children import Child
from df2redis_tui.replication.handle import EngineHandle, TuneChange, TuneRequest
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Verdict
from df2redis_tui.telemetry.verdict import EXIT_OF, Ending, judge

_DRAIN_SECONDS: Final = 120.0
_SETTLE_SECONDS: Final = 2.5


class DemoEngine:
    """An `EngineHandle` around the real one. `drained` says whether the target had confirmed everything at the end."""

    def __init__(self, engine: EngineHandle, writer: Child, source_port: int, duration: float | None) -> None:
        self._engine = engine
        self._writer = writer
        self._source_port = source_port
        self._duration = duration
        self._closing = threading.Lock()
        self._stop_asked = threading.Event()
        self.written = 0
        self.drained = False
        self.source_failure = ""
        self.abandoned = False  # the terminal it was shown on is gone
        self._on_terminal = _stdin_is_terminal()

    def start(self) -> None:
        self._engine.start()
        threading.Thread(target=self._follow, name="demo", daemon=True).start()

    def snapshot(self) -> EngineSnapshot:
        snap = self._engine.snapshot()
        if snap.outcome.verdict is Verdict.COMPLETE and not self.drained:
            # The engine knows what the source told it; here it is known that this was not the end.
            outcome = judge(dataclasses.replace(snap.outcome.confirmed, records_behind=None), Ending())
            return dataclasses.replace(snap, outcome=outcome, exit_code=EXIT_OF[outcome.verdict])
        return snap

    def tune(self, request: TuneRequest) -> list[TuneChange]:
        return self._engine.tune(request)

    def pause(self, reason: str = "by operator") -> None:
        self._engine.pause(reason)

    def resume(self) -> None:
        self._engine.resume()

    def detach_source(self, timeout: float) -> bool:
        return self._engine.detach_source(timeout)

    def attach_source(self) -> None:
        self._engine.attach_source()

    def request_stop(self, deadline: float | None = 30.0) -> None:
        """The first call ends the writing and drains; a deadline of 0 ends everything at once."""
        if deadline == 0:
            self._engine.request_stop(0)
        self._stop_asked.set()

    @property
    def done(self) -> bool:
        return self._engine.done

    def wait(self, timeout: float | None = None) -> bool:
        return self._engine.wait(timeout)

    def _follow(self) -> None:
        end = None if self._duration is None else time.monotonic() + self._duration
        while not self._engine.done:
            if self._stop_asked.wait(0.1) or (end is not None and time.monotonic() >= end):
                break
            if self._on_terminal and not _stdin_is_terminal():
                # A replication outlives its terminal; nobody is left to see a demo.
                self.abandoned = True
                self._engine.request_stop(0)
                return
        self._writer.say_stop()
        try:
            written = self._writer.read().get("written")
            self.written = written if isinstance(written, int) else 0
            self.drained = self._wait_drained(self._positions)
            # A key near its expiry carries a later one on the target until its FLOW has been at rest for a moment.
            self._engine.wait(_SETTLE_SECONDS if self.drained else 0)
        except Exception as failure:
            self.source_failure = str(failure)
        self._engine.request_stop(30.0)

    def _positions(self) -> list[int]:
        with redis.Redis(port=self._source_port, protocol=2) as client:
            reply = client.execute_command("DFLY", "REPLICAOFFSET")
        return [int(lsn) for lsn in reply]

    def _wait_drained(self, positions: Callable[[], list[int]]) -> bool:
        """Whether every FLOW has confirmed where its shard stood when the writing had ended."""
        goal = positions()
        deadline = time.monotonic() + _DRAIN_SECONDS
        while time.monotonic() < deadline and not self._engine.done:
            snapshot = self._engine.snapshot()
            confirmed = {flow.flow: flow.lsn_confirmed or 0 for flow in snapshot.flows}
            if any(goal) and all(confirmed.get(index, 0) >= lsn for index, lsn in enumerate(goal)):
                return True
            if not any(goal):
                goal = positions()
            time.sleep(0.05)
        return False


def _stdin_is_terminal() -> bool:
    try:
        return sys.stdin is not None and os.isatty(sys.stdin.fileno())
    except (OSError, ValueError):
        return False
