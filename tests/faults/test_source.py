"""The source's connections break, it stalls, restarts, or has forgotten what we missed."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.faults.trial import Trial, both_targets, cluster_in_full
from tests.support.program import wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
Begin = Callable[..., Trial]
Rounds = Callable[[int, int], int]


@cluster_in_full
def test_connections_cut(trial: Begin, rounds: Rounds) -> None:
    it = trial(source={"backlog": 200_000})
    it.start()
    source = it.source.look_alike
    for _ in range(rounds(8, 100)):
        it.pause(0.1, 0.7)
        flow = it.rng.randrange(4)
        it.source.do(source.cut_control if flow == 3 else lambda flow=flow: source.cut_flow(flow))
    it.finish()
    it.assert_resumed()


@pytest.mark.full_only
def test_connections_cut_with_the_older_form_of_a_partial_sync(trial: Begin, rounds: Rounds) -> None:
    it = trial(source={"backlog": 200_000, "version": "df-v1.34.0"})
    it.start()
    source = it.source.look_alike
    for _ in range(rounds(5, 50)):
        it.pause(0.1, 0.7)
        it.source.do(lambda: source.cut_flow(1))
    it.finish()


@both_targets
def test_both_sides_at_once(trial: Begin, rounds: Rounds) -> None:
    it = trial(source={"backlog": 200_000})
    it.start()
    source = it.source.look_alike
    for _ in range(rounds(5, 60)):
        it.pause(0.1, 0.8)
        it.source.do(lambda: source.cut_flow(0))
        it.target.drop_connections()
        if it.rng.random() < 0.4:
            it.kill()
            it.start()
    it.finish()
    it.assert_resumed()


def test_a_stalled_flow(trial: Begin) -> None:
    it = trial()
    it.start()
    source = it.source.look_alike
    it.source.do(lambda: source.hold_flow(1))
    time.sleep(2)
    it.source.do(lambda: source.release_flow(1))
    it.finish()


@pytest.mark.full_only
@both_targets
def test_a_stalled_flow_and_a_kill(trial: Begin) -> None:
    it = trial(source={"backlog": 200_000})
    it.start()
    source = it.source.look_alike
    it.source.do(lambda: source.hold_flow(1))
    with it.source.client() as client:
        client.flushall()  # two FLOWs come to the barrier, the third does not
    time.sleep(1)
    it.kill()
    it.start()
    it.finish()


@cluster_in_full
def test_backlog_lost_and_keys_deleted_meanwhile(trial: Begin, rounds: Rounds) -> None:
    it = trial(source={"backlog": 50})
    with it.source.client() as client:
        for i in range(500):
            client.set(f"gone:{i}", i)
    it.start()
    for turn in range(rounds(2, 15)):
        it.kill()
        with it.source.client() as client:
            client.delete(*(f"gone:{i}" for i in range(turn * 30, turn * 30 + 30)))
        it.pause(0.3, 0.6)
        it.start(wait=False)
        it.program.wait_for("clean-up")
    it.finish()
    assert it.source.full_syncs > 1


@pytest.mark.full_only
@both_targets
def test_killed_between_the_resync_and_its_clean_up(trial: Begin, rounds: Rounds) -> None:
    it = trial(source={"backlog": 100_000})
    with it.source.client() as client:
        for i in range(3_000):
            client.set(f"gone:{i}", i)
    it.start()
    for turn in range(rounds(3, 20)):
        it.kill()
        with it.source.client() as client:
            client.delete(*(f"gone:{i}" for i in range(turn * 100, turn * 100 + 100)))
        it.source.do(lambda: [shard.backlog.clear() for shard in it.source.look_alike.journal.shards])
        it.start(wait=False)
        it.program.wait_for("stable sync") if it.rng.random() < 0.5 else it.pause(0.3, 1.0)
    it.kill()
    it.start()
    it.program.wait_for("clean-up")
    it.finish()


@cluster_in_full
def test_restarted_with_another_id(trial: Begin, rounds: Rounds) -> None:
    it = trial()
    it.start()
    for _ in range(rounds(2, 10)):
        it.source.run(it.source.look_alike.restart(down=0.5))
        it.pause(1.0, 1.5)
    it.finish()
    assert it.source.full_syncs > 1


@pytest.mark.full_only
@both_targets
def test_restarted_while_we_were_dead(trial: Begin) -> None:
    it = trial()
    it.start()
    it.kill()
    with it.source.client() as client:
        client.flushall()
    it.source.run(it.source.look_alike.restart())
    it.start()
    it.finish()


def test_on_lost_backlog_stop(trial: Begin) -> None:
    it = trial(source={"backlog": 50})
    it.start()
    it.kill()
    sent = it.workload.sent
    wait_until(lambda: it.workload.sent > sent + 1_000)
    it.start("--on-lost-backlog", "stop", wait=False)
    assert it.program.wait(30) == 3
    assert "--on-lost-backlog" in it.program.output()
