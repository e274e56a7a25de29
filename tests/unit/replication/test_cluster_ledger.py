"""What a resume leaves out of its batches on a cluster, and what it is not certain about."""

from __future__ import annotations

from typing import cast

import hiredis
import pytest

from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Block
from df2redis_tui.replication.checkpoint import Checkpoint, JobKeys
from df2redis_tui.replication.cluster_ledger import ClusterLedger
from df2redis_tui.streams import encode
from df2redis_tui.target.cluster_router import ClusterRouter
from df2redis_tui.target.router import Ledger
from df2redis_tui.translate.keys import slot_of

pytestmark = pytest.mark.anyio


class Guards:
    """A router to a cluster with these guards, which has refused `refusals`."""

    def __init__(self, lsns: dict[int, int], refusals: str) -> None:
        self.lsns = lsns
        self.refusals = refusals
        self.asked: list[int] = []

    async def applied_lsns(self, ledger: Ledger, slots: list[int]) -> dict[int, int]:
        self.asked += slots
        return {slot: self.lsns.get(slot, 0) for slot in slots}

    async def refusals_at_last(self) -> str:
        return self.refusals


def resumed(refusals: str) -> ClusterLedger:
    ledger = ClusterLedger(JobKeys("df2redis", "job", True), 0, 1, "run")
    ledger.resume(Checkpoint("master", 1, 0, 10, "before", 0, refusals))
    ledger.begin("master", 10)
    return ledger


def batch_of(first: int, *keys: bytes) -> Batch:
    wires = [encode("INCR", key) for key in keys]
    lsns = list(range(first, first + len(keys)))
    block = Block(0, wires, [slot_of(key) for key in keys], lsns, [True] * len(keys))
    return Batch(0, 1, [block], len(wires), len(wires), 0, 0.0, next_lsn=first + len(keys))


async def left(ledger: ClusterLedger, batch: Batch, guards: Guards, until: int = 20) -> tuple[list[int], list[bytes]]:
    """LSNs that are sent, and keys in doubt."""
    doubts = await ledger.before_dispatch(batch, cast(ClusterRouter, guards), until)
    return batch.blocks[0].lsns or [], [doubt.key for doubt in doubts]


async def test_what_a_guard_covers_is_left_out() -> None:
    guards = Guards({slot_of(b"a"): 12}, "same")
    ledger = resumed("same")
    assert await left(ledger, batch_of(10, b"a", b"b", b"a", b"a"), guards) == ([11, 13], [])
    assert set(guards.asked) == {slot_of(b"a"), slot_of(b"b")}
    assert ledger.resuming
    assert await left(ledger, batch_of(14, b"a", *[b"c"] * 6), guards) == (list(range(14, 21)), [])
    assert not ledger.resuming


async def test_all_guards_are_read_when_the_source_does_not_say_where_it_is() -> None:
    guards = Guards({slot_of(b"a"): 12}, "same")
    ledger = resumed("same")
    assert await left(ledger, batch_of(10, b"b"), guards, 0) == ([10], [])
    assert len(guards.asked) == 16384
    assert ledger.resuming
    assert await left(ledger, batch_of(11, b"a", b"a", b"a"), guards, 0) == ([13], [])
    assert not ledger.resuming


async def test_a_source_that_says_it_is_behind_a_guard_is_not_believed() -> None:
    guards = Guards({slot_of(b"a"): 12, slot_of(b"b"): 15}, "same")
    ledger = resumed("same")
    assert await left(ledger, batch_of(10, b"a"), guards, 10) == ([], [])
    assert ledger.resuming
    assert await left(ledger, batch_of(11, *[b"b"] * 6), guards, 10) == ([16], [])
    assert not ledger.resuming


@pytest.mark.parametrize(("before", "now"), [("some", "more"), ("", "some"), ("some", ""), ("", "")])
async def test_after_refusals_what_is_left_out_is_in_doubt(before: str, now: str) -> None:
    guards = Guards({slot_of(b"a"): 12}, now)
    assert await left(resumed(before), batch_of(10, b"a", b"b"), guards) == ([11], [b"a"])


async def test_a_resume_that_the_source_interrupts_goes_on_in_the_next_session() -> None:
    guards = Guards({slot_of(b"a"): 15}, "same")
    ledger = resumed("same")
    await left(ledger, batch_of(10, b"b"), guards)
    ledger.begin("master", 11)
    assert ledger.resuming
    assert await left(ledger, batch_of(11, b"a"), guards) == ([], [])
    ledger.begin("master", 0)
    assert not ledger.resuming


def refusals_in(record: bytes) -> str:
    reader = hiredis.Reader()
    reader.feed(record)
    checkpoint = Checkpoint.parse(cast(list[bytes], reader.gets())[2])
    assert checkpoint is not None
    return checkpoint.refusals


async def test_checkpoints_keep_the_former_runs_count_until_its_records_are_passed() -> None:
    """A run that dies in the middle of a resume must not hide what the one before it was not certain of."""
    guards = Guards({slot_of(b"a"): 12}, "more")
    ledger = resumed("some")
    assert refusals_in(ledger.record(10)) == "some"
    await left(ledger, batch_of(10, b"a"), guards)
    assert refusals_in(ledger.record(11)) == "some"
    await left(ledger, batch_of(11, *[b"a"] * 9), guards)
    ledger.posted(20)
    assert refusals_in(ledger.record(20)) == "more"


def test_a_guard_does_not_forget_what_ran_in_front_of_it() -> None:
    ledger = resumed("same")
    ledger.ran_early(5, 14)
    for lsn, said in ((12, 14), (15, 15)):
        assert b":%d:run:" % said in ledger.guard(5, lsn, 1)
    assert b":12:run:" in ledger.guard(6, 12, 1)


def test_the_jobs_keys_share_a_slot_on_a_cluster_only() -> None:
    def names(keys: JobKeys) -> list[bytes]:
        return [keys.job_record, keys.lease, keys.flow(0), keys.flow(17)]

    cluster, one = names(JobKeys("df2redis", "job", True)), names(JobKeys("df2redis", "job"))
    assert len({slot_of(name) for name in cluster}) == 1
    assert all(name.startswith(b"df2redis:job:") for name in cluster + one)
    assert one[2] == b"df2redis:job:flow:0"
