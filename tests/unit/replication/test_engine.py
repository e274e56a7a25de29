"""The engine's facade: whatever fails in it, whoever waits for the end is told; nothing asked for too early is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from df2redis_tui.replication import engine as engine_module
from df2redis_tui.replication.engine import Engine
from df2redis_tui.replication.handle import TuneRequest
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.settings import Endpoint, Settings
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Phase

LONG = 20.0  # seconds: only a defect takes so long


def make_engine(directory: Path) -> Engine:
    nowhere = Endpoint((("127.0.0.1", 1),))
    return Engine(Settings(nowhere, nowhere, state_dir=directory, log_dir=directory))


def runs(monkeypatch: pytest.MonkeyPatch, body: Callable[[JobState], Any]) -> None:
    """Put `body` in the place of the replication."""
    monkeypatch.setattr(engine_module, "run", body)


def failing_looks(engine: Engine, fails: Callable[[int], bool]) -> None:
    """Looks of the engine that raise when `fails` says so of their number."""
    take, count = engine._look.take, iter(range(1_000_000))

    def sometimes(*outcome: Any, **arguments: Any) -> EngineSnapshot:
        if fails(next(count)):
            raise ZeroDivisionError("of the display")
        return take(*outcome, **arguments)

    engine._look.take = sometimes  # type: ignore[method-assign]


def test_the_end_comes_even_when_its_snapshot_can_not_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ends_at_once(job: JobState) -> None:
        failing_looks(engine, lambda number: True)

    runs(monkeypatch, ends_at_once)
    engine = make_engine(tmp_path)
    engine.start()
    assert engine.wait(LONG)
    assert engine.snapshot().exit_code is not None
    assert engine.snapshot().phase in (Phase.DONE, Phase.FAILED)


def test_a_look_that_fails_does_not_end_the_replication(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def until_a_look_has_failed(job: JobState) -> None:
        with anyio.fail_after(LONG):
            while "ZeroDivisionError" not in engine.snapshot().reason:
                await anyio.sleep(0.01)
            seen.extend(event.text for event in engine.snapshot().events if event.kind == "display")
            while engine.snapshot().reason:
                await anyio.sleep(0.01)

    runs(monkeypatch, until_a_look_has_failed)
    engine = make_engine(tmp_path)
    failing_looks(engine, lambda number: number in (1, 2))
    engine.start()
    assert engine.wait(LONG)
    assert engine.snapshot().failure == ""
    assert len(seen) == 1
    assert "the replication goes on" in seen[0]


def test_a_stop_asked_for_before_the_loop_runs_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def until_asked_to_stop(job: JobState) -> None:
        await job.stop_asked.wait()

    runs(monkeypatch, until_asked_to_stop)
    engine = make_engine(tmp_path)
    engine.request_stop()
    engine.start()
    assert engine.wait(LONG)


def test_a_change_of_a_knob_before_there_are_flows_is_in_force_for_them(tmp_path: Path) -> None:
    engine = make_engine(tmp_path)
    changes = engine.tune(TuneRequest(batch_size=77, rate_limit=5))
    assert [(change.knob, change.new) for change in changes] == [("rate_limit", 5), ("batch_size", 77)]
    assert (engine.snapshot().knobs.batch_size, engine.snapshot().knobs.rate_limit) == (77, 5)
    assert engine.snapshot().configured.batch_size == 2_000
    assert engine.tune(TuneRequest(batch_size=77)) == []
