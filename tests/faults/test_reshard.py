"""Slots of a cluster move from master to master, key by key, while something else goes wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.trial import Trial

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(1800),
    pytest.mark.parametrize("target_kind", ["cluster"], indirect=True),
]
Begin = Callable[..., Trial]
Rounds = Callable[[int, int], int]


def test_kill_9_while_slots_move(trial: Begin, rounds: Rounds) -> None:
    it = trial()
    it.start()
    with it.cluster.reshard():
        for _ in range(rounds(3, 60)):
            it.pause(0.2, 1.5)
            it.kill()
            it.start()
    it.finish()
    assert it.source.full_syncs == 1


@pytest.mark.full_only
def test_slots_move_and_connections_break(trial: Begin, rounds: Rounds) -> None:
    it = trial(source={"backlog": 200_000})
    it.start()
    source = it.source.look_alike
    with it.cluster.reshard():
        for _ in range(rounds(5, 60)):
            it.pause(0.1, 0.7)
            it.target.drop_connections()
            if it.rng.random() < 0.3:
                it.source.do(lambda: source.cut_flow(1))
    it.finish()
    assert it.source.full_syncs == 1


@pytest.mark.full_only
def test_flushall_while_slots_move(trial: Begin, rounds: Rounds) -> None:
    it = trial()
    it.start()
    with it.cluster.reshard(0.003):
        for _ in range(rounds(3, 30)):
            with it.source.client() as client:
                client.flushall()
            it.pause(0.0, 0.1)
            if it.rng.random() < 0.5:
                it.kill()
                it.start()
            it.pause(0.3, 0.6)
    it.finish()
    assert it.source.full_syncs == 1


def test_a_master_dies_and_so_do_we(trial: Begin, rounds: Rounds) -> None:
    """While a master is away for long, the others refuse everything for a moment: CLUSTERDOWN."""
    it = trial(source={"backlog": 200_000})
    it.start()
    for turn in range(rounds(1, 15)):
        it.target.crash()
        it.pause(*((0.0, 0.5) if turn % 2 else (4.0, 5.0)))
        it.kill()
        it.target.restart()
        it.start()
    it.finish()
    assert it.source.full_syncs == 1
