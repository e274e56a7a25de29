"""The source comes back as another one: another id, another number of FLOWs, without the journal we need."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.faults.trial import Trial
from tests.support.fault_source import FaultSource
from tests.support.program import copy_arguments, run_program, wait_until
from tests.support.servers import available_targets, start_server

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
Begin = Callable[..., Trial]
Rounds = Callable[[int, int], int]
BYSTANDER = "df2redis-bystander"  # on the target before the job; the comparison does not look at it


def resyncs(it: Trial, count: int) -> None:
    """Until so many full syncs have begun."""
    wait_until(lambda: it.source.full_syncs >= count, 60)


def checkpoints(it: Trial) -> set[bytes]:
    with it.standalone.servers[0].client() as client:
        return set(client.keys("df2redis:*:flow:*"))


def behind(it: Trial) -> redis.Redis:
    """A client that reaches the source's data while the source itself is not there."""
    return redis.Redis("127.0.0.1", it.source.look_alike.port_of_backend, protocol=2)


def fill(it: Trial) -> None:
    with it.source.client() as client:
        client.mset({f"gone:{i}": i for i in range(500)})


def come_back(it: Trial, flows: int, *, same_id: bool = False, first: int = 0) -> None:
    """The source restarts with so many shards, and a hundred keys are deleted while nobody can see it."""
    source = it.source.look_alike
    restarted = it.source.begin(source.restart(down=0.4, flows=flows, same_id=same_id))
    wait_until(lambda: not source.journal.enabled, 10)
    with behind(it) as client:
        client.delete(*(f"gone:{i}" for i in range(first, first + 100)))
    restarted.result(30)


FULL_ONLY = pytest.mark.full_only


@pytest.mark.parametrize(
    ("flows", "same_id"),
    [(4, False), pytest.param(2, False, marks=FULL_ONLY), pytest.param(4, True, marks=FULL_ONLY), (2, True)],
)
def test_another_number_of_flows_while_we_run(trial: Begin, flows: int, same_id: bool) -> None:
    it = trial(flushes=False)  # one in the first full sync would repeat it
    fill(it)
    with it.standalone.servers[0].client() as client:
        client.set(BYSTANDER, "x")
    it.start()
    come_back(it, flows, same_id=same_id)
    resyncs(it, 2)
    it.finish()
    assert it.source.full_syncs == 2
    assert f"the source has {flows} FLOWs now, it had 3" in it.program.log()
    assert checkpoints(it) == {b"df2redis:default:flow:%d" % flow for flow in range(flows)}
    with it.standalone.servers[0].client() as client:
        assert client.get(BYSTANDER) == b"x"


@pytest.mark.parametrize("flows", [pytest.param(4, marks=FULL_ONLY), 2])
def test_another_number_of_flows_while_we_were_dead(trial: Begin, flows: int) -> None:
    it = trial(flushes=False)  # one in the first full sync would repeat it
    fill(it)
    it.start()
    it.kill()
    come_back(it, flows)
    it.start(wait=False)
    resyncs(it, 2)
    it.finish()
    assert it.source.full_syncs == 2
    assert checkpoints(it) == {b"df2redis:default:flow:%d" % flow for flow in range(flows)}


def test_numbers_of_flows_again_and_again(trial: Begin, rounds: Rounds) -> None:
    it = trial()
    fill(it)
    it.start()
    for turn, flows in enumerate(it.rng.choice((1, 2, 3, 5)) for _ in range(rounds(2, 20))):
        dead = it.rng.random() < 0.5
        if dead:
            it.kill()
        come_back(it, flows, first=turn % 5 * 100)
        it.pause(0.0, 1.0)  # it may be in the middle of the full sync that follows
        if dead:
            it.start(wait=False)
            it.pause(0.0, 1.0)
    it.finish()


@FULL_ONLY
def test_a_target_of_ours_is_emptied_of_what_the_source_lacks(trial: Begin) -> None:
    it = trial("--target-owned")
    fill(it)
    with it.standalone.servers[0].client() as client:
        client.set(BYSTANDER, "x")
    it.start()
    come_back(it, 4)
    resyncs(it, 2)
    it.program.wait_for("keys looked at")
    it.finish()
    with it.standalone.servers[0].client() as client:
        assert not client.exists(BYSTANDER)


@pytest.mark.parametrize("dead", [pytest.param(False, marks=FULL_ONLY), True], ids=["live", "killed"])
def test_another_number_of_flows_under_stop(trial: Begin, dead: bool) -> None:
    it = trial("--on-lost-backlog", "stop", flushes=False)
    it.start()
    if dead:
        it.kill()
    come_back(it, 4)
    if dead:
        it.start(wait=False)
    assert it.program.wait(30) == 3, it.program.output()
    said = it.program.output()
    assert "the source has 4 FLOWs now, it had 3" in said
    assert "--on-lost-backlog" in said
    assert it.source.full_syncs == 1


def test_restarts_with_a_new_id_and_kills_around_them(trial: Begin, rounds: Rounds) -> None:
    it = trial()
    fill(it)
    it.start()
    for turn in range(rounds(3, 20)):
        before = it.rng.random() < 0.4
        if before:
            it.kill()
        come_back(it, 3, first=turn % 5 * 100)
        if before:
            it.start(wait=False)
        for _ in range(it.rng.randrange(3)):
            it.pause(0.0, 0.4)
            it.target.drop_connections()
        if it.rng.random() < 0.6:
            it.pause(0.0, 0.8)
            it.kill()
            it.start(wait=False)
        it.pause(0.0, 1.0)
    it.finish()


def test_killed_in_the_middle_of_the_full_sync(trial: Begin, rounds: Rounds) -> None:
    """Each time over what the one before left behind, with the source's data changing meanwhile."""
    it = trial(source={"snapshot_pace": 0.05})
    with it.source.client() as client:
        client.mset({f"base:{i}": i for i in range(3_000)})
    for turn in range(rounds(2, 20)):
        it.start(wait=False)
        resyncs(it, turn + 1)
        it.pause(0.1, 1.2)
        it.kill()
        with it.source.client() as client:
            client.delete(*(f"base:{it.rng.randrange(3_000)}" for _ in range(50)))
    it.start()
    it.finish()


def test_the_backlog_is_lost_again_and_again(trial: Begin, rounds: Rounds) -> None:
    """The source answers FULL where PARTIAL was asked for, once to a living process, once to a new one."""
    it = trial()
    fill(it)
    it.start()
    source = it.source.look_alike
    for turn in range(rounds(2, 20)):
        killed = turn % 2 == 1
        it.source.do(lambda: setattr(source, "refuse_partial", True))
        if killed:
            it.kill()
        else:
            it.source.do(source.cut_control)
        with it.source.client() as client:
            client.delete(*(f"gone:{i}" for i in range(turn * 20, turn * 20 + 20)))
        if killed:
            it.start(wait=False)
        resyncs(it, turn + 2)
        it.source.do(lambda: setattr(source, "refuse_partial", False))
        it.pause(0.0, 1.5)
    it.finish()


def test_a_clean_up_that_is_still_due_does_not_empty_the_target_of_a_resume(trial: Begin) -> None:
    """Up to 1.34 a partial sync begins like a full one, but brings the missed records only."""
    it = trial(source={"version": "df-v1.34.0", "backlog": 100_000})
    fill(it)
    it.start()
    it.kill()
    with it.standalone.servers[0].client() as client:  # as if it had died between a resync and its clean-up
        record = json.loads(client.get("df2redis:default:job"))
        client.set("df2redis:default:job", json.dumps(record | {"clean_up": True}))
    it.start()
    it.program.wait_for("clean-up:")
    it.finish()
    it.assert_resumed()


def test_connections_of_flows_that_are_no_more_are_ended(trial: Begin) -> None:
    it = trial()
    it.start()
    with it.standalone.servers[0].client() as client:
        names = {line["name"] for line in client.client_list()}
        last = next(name for name in names if ":2:" in name)
        it.kill()
        late = it.standalone.servers[0].client()  # what the dead process wrote is still on its way
        late.client_setname(last)
        come_back(it, 2)
        it.start(wait=False)
        resyncs(it, 2)
        assert last not in {line["name"] for line in client.client_list()}
        late.close()
    it.finish()


def test_flows_without_a_single_batch_resume(tmp_path: Path) -> None:
    """What nobody wrote to since the full sync has a checkpoint, and no batch that could be missing."""
    with FaultSource(flows=4) as source, start_server(available_targets()[0]) as server:
        with source.client() as client:
            client.mset({f"k:{i}": i for i in range(50)})
        arguments = copy_arguments(source.url, server.url)
        assert run_program(arguments, tmp_path).process.returncode == 0
        with source.client() as client:
            client.incr("k:1")  # of one FLOW only
        again = run_program(arguments, tmp_path)
        assert again.process.returncode == 0
        assert "resuming job 'default' from its checkpoints" in again.output()
        assert source.full_syncs == 1
        with server.client() as client:
            assert client.get("k:1") == b"2"
