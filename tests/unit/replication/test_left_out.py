"""What a copy lacks, over its runs: what the job's record keeps of it."""

from __future__ import annotations

import json

import pytest

from df2redis_tui.replication.left_out import Evictions, LeftOut, LeftOutOverRuns


class Run:
    """Counts what it leaves out."""

    def __init__(self) -> None:
        self.left_out = LeftOut()
        self.lacks = LeftOutOverRuns(lambda: self.left_out)


def later(run: Run) -> Run:
    """The next run, that knows what the record says."""
    another = Run()
    another.lacks.earlier = LeftOut.read(json.loads(json.dumps(run.lacks.as_json())))
    return another


def test_it_adds_up_over_runs_that_resume() -> None:
    run = Run()
    run.left_out = LeftOut(3, 2, 1, True)
    second = later(run)
    second.left_out = LeftOut(1, 0, 10)
    assert second.lacks.now() == LeftOut(4, 2, 11, True)
    assert later(second).lacks.now() == LeftOut(4, 2, 11, True)


def test_a_new_full_sync_begins_at_none() -> None:
    run = Run()
    run.left_out = LeftOut(3, 2, 1)
    second = later(run)
    second.left_out = LeftOut(5, 5, 5)
    second.lacks.begin_anew()
    assert not second.lacks.now()
    second.left_out = LeftOut(6, 5, 5)
    assert second.lacks.now() == LeftOut(1)
    second.left_out = LeftOut(4, 0, 5)  # keys of before were copied since; other FLOWs count anew
    assert not second.lacks.now()


@pytest.mark.parametrize("found", [None, [], {"dead_letters": -1, "unverified": 0, "evicted": 0, "spared": False}])
def test_what_is_none_is_not_read(found: object) -> None:
    with pytest.raises(ValueError, match=r"not what|whole number"):
        LeftOut.read(found)


def test_evictions_are_counted_between_two_looks() -> None:
    evictions = Evictions()
    assert evictions.saw([("a", 100), ("b", 0), ("c", None)]) == 0
    assert evictions.saw([("a", 100), ("b", 4), ("c", None)]) == 4
    assert evictions.saw([("a", 3), ("b", 4), ("d", 70)]) == 3  # one was started anew, one is new
    assert evictions.keys == 7
    next_run = Evictions()
    next_run.read(evictions.counts)
    assert next_run.saw([("b", 9)]) == 5
