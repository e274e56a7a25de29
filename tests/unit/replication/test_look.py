"""What the engine shows of itself: phases and knobs as they are, every field written."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from df2redis_tui.dragonfly.control import Greeting
from df2redis_tui.replication import look
from df2redis_tui.replication.engine import Engine
from df2redis_tui.replication.flow_state import FlowState
from df2redis_tui.replication.handle import TuneRequest
from df2redis_tui.settings import Endpoint, Settings, TuningSettings
from df2redis_tui.telemetry import snapshot
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Health, Knobs, Phase
from df2redis_tui.tui.tuning import Tuner

PACKAGE = Path(look.__file__).parents[1]
HERE = Endpoint((("127.0.0.1", 1),))
GREETING = Greeting("m" * 40, "SYNC1", 4, 5, "df-v1.40.1", (1, 40))


class Bench:
    """An engine whose source said that it has four FLOWs, without source, target or thread."""

    def __init__(self, *, cluster: bool = False, **tuning: float) -> None:
        target = dataclasses.replace(HERE, cluster=cluster)
        self.engine = Engine(Settings(HERE, target, tuning=TuningSettings(**tuning)))  # type: ignore[arg-type]
        self.job = self.engine._job
        self.job.greeting = GREETING
        self.job.source_keys = 1_000
        self.job.flows = [
            FlowState(flow, self.job.common(), None, self.job.dead_letters, self.job.records) for flow in range(4)
        ]

    def session_at(self, phase: Phase) -> None:
        for state in self.job.flows:
            state.phase = phase
        self.job.session_at(phase)

    def confirm(self, *flows: int) -> None:
        for flow in flows:
            self.job.flows[flow].cut_confirmed = True
            self.job.flows[flow].stats.lsn_received = self.job.flows[flow].stats.lsn_confirmed = 1
        self.job.advance()

    def tune(self, request: TuneRequest) -> None:
        self.engine._tune(request)

    def snap(self) -> EngineSnapshot:
        return self.engine._look.take()

    def reset(self) -> None:
        """The key `0`."""

        class Direct:
            tune = staticmethod(self.engine._tune)

        Tuner(Direct(), lambda text: None).reset(self.snap(), None)  # type: ignore[arg-type]


def test_stable_sync_begins_when_the_target_has_the_snapshot_of_every_flow() -> None:
    bench = Bench()
    bench.session_at(Phase.FULL_SYNC)
    bench.job.flows[0].stats.kinds["string"] = 600
    bench.session_at(Phase.BARRIER)
    assert bench.snap().phase is Phase.FULL_SYNC
    bench.session_at(Phase.STABLE_SYNC)
    snap = bench.snap()
    assert (snap.phase, snap.progress) == (Phase.FULL_SYNC, 0.6)
    assert {flow.phase for flow in snap.flows} == {Phase.FULL_SYNC}
    assert {flow.lag_seconds for flow in snap.flows} == {None}
    bench.confirm(0, 1, 2)
    snap = bench.snap()
    assert snap.phase is Phase.FULL_SYNC
    assert [flow.phase for flow in snap.flows] == [Phase.STABLE_SYNC] * 3 + [Phase.FULL_SYNC]
    bench.confirm(3)
    assert bench.snap().phase is Phase.STABLE_SYNC


def test_a_resumed_session_has_its_snapshot_already() -> None:
    bench = Bench()
    bench.confirm(0, 1, 2, 3)
    bench.session_at(Phase.BARRIER)
    assert bench.snap().phase is Phase.BARRIER
    bench.session_at(Phase.STABLE_SYNC)
    assert bench.snap().phase is Phase.STABLE_SYNC


def test_a_full_sync_is_not_whole_before_the_target_has_its_end() -> None:
    bench = Bench()
    bench.session_at(Phase.FULL_SYNC)
    bench.job.flows[0].stats.kinds["string"] = 1_100  # keys came since they were counted
    assert (bench.snap().progress or 0) < 1


def test_the_flush_interval_follows_the_full_sync_again() -> None:
    bench = Bench(cluster=True)
    for _ in range(2):
        bench.session_at(Phase.FULL_SYNC)
        assert {state.knobs.flush_interval for state in bench.job.flows} == {5.0}
        bench.session_at(Phase.STABLE_SYNC)
        assert {state.knobs.flush_interval for state in bench.job.flows} == {0.05}


@pytest.mark.parametrize("cluster", [False, True], ids=["standalone", "cluster"])
@pytest.mark.parametrize("tuning", [{}, {"batch_size": 10, "channel_bytes": 1_000}], ids=["defaults", "given"])
def test_a_reset_restores_exactly_what_was_configured(cluster: bool, tuning: dict[str, float]) -> None:
    bench = Bench(cluster=cluster, **tuning)
    bench.session_at(Phase.FULL_SYNC)
    before = [dataclasses.replace(state.knobs) for state in bench.job.flows]
    snap = bench.snap()
    assert snap.configured == snap.knobs == snap.flows[3].knobs
    bench.tune(TuneRequest(batch_size=7, max_in_flight=3, flush_interval=0.5, adaptive_flush=False, rate_limit=99))
    bench.tune(TuneRequest(flow=2, channel_bytes=1024**2, channel_entries=5))
    bench.reset()
    assert [state.knobs for state in bench.job.flows] == before
    assert bench.job.rate.per_second == 0
    bench.session_at(Phase.STABLE_SYNC)  # the interval is nobody's choice again
    assert bench.snap().configured == bench.snap().flows[0].knobs


def test_a_tuned_flow_is_the_one_that_is_shown_as_tuned() -> None:
    bench = Bench()
    bench.tune(TuneRequest(flow=0, batch_size=77))
    snap = bench.snap()
    assert snap.knobs == snap.configured
    assert [flow.knobs == snap.knobs for flow in snap.flows] == [False, True, True, True]
    bench.tune(TuneRequest(batch_size=88))
    assert bench.snap().knobs.batch_size == 88
    assert {flow.knobs.batch_size for flow in bench.snap().flows} == {88}


def test_a_source_that_is_lost_or_silent_is_not_healthy() -> None:
    bench = Bench()
    bench.session_at(Phase.STABLE_SYNC)
    bench.confirm(0, 1, 2, 3)
    bench.job.flows[0].note_source_offset(1)
    assert bench.snap().health is Health.HEALTHY
    bench.job.source_heard_at = -1_000.0
    silent = bench.snap()
    assert (silent.health, silent.lag_seconds, silent.lag_records) == (Health.CRITICAL, None, None)
    assert "the source has not answered" in silent.health_reason
    bench.job.source_heard_at, bench.job.source_lost_since = None, -1_000.0
    assert "the source is lost" in bench.snap().health_reason


@pytest.mark.parametrize(
    ("change", "followed"),
    [
        ({}, True),
        ({"source_connected": False}, False),
        ({"_stop_wanted_at": 1.0}, False),  # nothing was answered since
        ({"session_phase": Phase.CONNECTING}, False),
    ],
    ids=["following", "lost", "silent", "between two sessions"],
)
def test_records_are_known_only_where_the_source_was_followed(change: dict[str, object], followed: bool) -> None:
    bench = Bench()
    bench.session_at(Phase.STABLE_SYNC)
    bench.confirm(0, 1, 2, 3)
    bench.job.source_connected = True
    for name, value in change.items():
        setattr(bench.job, name, value)
    bench.job._stop_now()
    assert bench.snap().outcome.confirmed.records_behind == (0 if followed else None)
    bench.job.flows[1].stats.lsn_source = 43
    bench.job.flows[2].stats.lsn_received = 8
    assert bench.snap().outcome.confirmed.records_behind == (42 + 7 if followed else None)
    bench.job.complete = True  # lag 0 for a second: what came since is not asked for
    assert bench.snap().outcome.confirmed.records_behind == 7


def test_nothing_is_ready_to_be_cut_over_while_the_target_does_not_answer() -> None:
    bench = Bench()
    bench.session_at(Phase.STABLE_SYNC)
    bench.confirm(0, 1, 2, 3)
    bench.job.caught_up_since = -1_000.0
    assert bench.snap().ready_to_cut_over
    bench.job.target_asked_at = -1_000.0
    assert not bench.snap().ready_to_cut_over


SHOWN = [
    kind
    for _, kind in inspect.getmembers(snapshot, inspect.isclass)
    if dataclasses.is_dataclass(kind) and kind.__module__ == snapshot.__name__
]


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_no_field_of_a_snapshot_has_a_default(kind: type) -> None:
    """So whoever makes one has to write every field."""
    unwritten = [
        field.name
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    ]
    assert not unwritten


def test_the_engine_computes_every_field_it_shows() -> None:
    """A constant would be a figure that nobody writes."""
    names = {kind.__name__ for kind in SHOWN}
    for path in (PACKAGE / "replication").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names:
                constant = [k.arg for k in call.keywords if isinstance(k.value, ast.Constant)]
                assert not constant, f"{path.name}: {call.func.id} gets constants for {constant}"


def test_every_figure_is_read_by_a_front_end() -> None:
    sources = [*(PACKAGE / "telemetry").glob("*.py"), *(PACKAGE / "tui").rglob("*.py"), *PACKAGE.glob("*.py")]
    read = {
        node.attr
        for path in sources
        if path.name != "snapshot.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    read |= {field.name for field in dataclasses.fields(Knobs)}  # by their names
    for kind in SHOWN:
        unread = {field.name for field in dataclasses.fields(kind)} - read  # type: ignore[arg-type]
        assert not unread, f"{kind.__name__}: {unread}"


def test_an_end_that_is_asked_for_waits_for_what_the_source_answers_then() -> None:
    bench = Bench()
    bench.session_at(Phase.STABLE_SYNC)
    bench.confirm(0, 1, 2, 3)
    job = bench.job
    job._stop_wanted_at = 10.0
    job.source_answered = 9.9  # asked before, so it may have written since
    assert job._nearly_there()
    job.source_answered = 10.1
    assert not job._nearly_there()


def test_a_batch_that_waits_for_the_rate_limit_is_late() -> None:
    state = Bench().job.flows[0]
    nothing = SimpleNamespace(oldest_arrival=lambda: 0.0)
    state.writer = nothing  # type: ignore[assignment]
    state.dispatcher = SimpleNamespace(  # type: ignore[assignment]
        held_arrival=time.monotonic() - 7, accumulator=nothing, channel=nothing
    )
    assert state.oldest_wait() > 6
