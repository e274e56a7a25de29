"""What the operator has tuned holds for the FLOWs of a source that comes back with another number of them."""

from __future__ import annotations

from pathlib import Path

from df2redis_tui.pipeline.knobs import FlowKnobs
from df2redis_tui.replication.configured import configured_knobs
from df2redis_tui.replication.flow_state import FlowState
from df2redis_tui.replication.handle import TuneRequest
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.tuning import tune
from df2redis_tui.settings import Endpoint, Settings


def job_with(flows: int, directory: Path) -> JobState:
    nowhere = Endpoint((("127.0.0.1", 1),))
    job = JobState(Settings(nowhere, nowhere, state_dir=directory))
    job.flows = make(job, flows)
    return job


def make(job: JobState, flows: int) -> list[FlowState]:
    def knobs(flow: int) -> FlowKnobs:
        return job.tuned.apply(flow, configured_knobs(job.settings, flows, stable=False))

    return [FlowState(flow, knobs(flow), None, job.dead_letters, job.records) for flow in range(flows)]


def test_tuning_of_all_flows_holds_for_more_of_them(tmp_path: Path) -> None:
    job = job_with(2, tmp_path)
    tune(job, TuneRequest(batch_size=10, adaptive_flush=False))
    assert {(state.knobs.batch_size, state.knobs.adaptive_flush) for state in make(job, 5)} == {(10, False)}


def test_tuning_of_one_flow_holds_for_that_flow(tmp_path: Path) -> None:
    job = job_with(3, tmp_path)
    tune(job, TuneRequest(flow=1, max_in_flight=7))
    assert [state.knobs.max_in_flight for state in make(job, 3)] == [50, 7, 50]


def test_tuning_of_all_flows_overrides_that_of_one(tmp_path: Path) -> None:
    job = job_with(2, tmp_path)
    tune(job, TuneRequest(flow=1, batch_size=7))
    tune(job, TuneRequest(batch_size=9))
    assert [state.knobs.batch_size for state in make(job, 2)] == [9, 9]


def test_what_is_asked_for_before_the_first_flow_holds_for_it(tmp_path: Path) -> None:
    job = job_with(0, tmp_path)
    (change,) = tune(job, TuneRequest(flush_interval=0.5))
    assert (change.old, change.new, change.takes_effect) == (0.05, 0.5, "with the first FLOW")
    assert [state.knobs.flush_interval for state in make(job, 2)] == [0.5, 0.5]


def test_values_are_kept_in_their_ranges(tmp_path: Path) -> None:
    job = job_with(1, tmp_path)
    (change,) = tune(job, TuneRequest(max_in_flight=10**9))
    assert change.new == make(job, 1)[0].knobs.max_in_flight == 10_000
