"""The target's connections break, or the target dies and comes back with its data."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.trial import Trial, both_targets, cluster_in_full

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
Begin = Callable[..., Trial]
Rounds = Callable[[int, int], int]


@both_targets
def test_connections_killed(trial: Begin, rounds: Rounds) -> None:
    it = trial()
    it.start()
    for _ in range(rounds(15, 200)):
        it.pause(0.0, 0.4)
        it.target.drop_connections()
    it.finish()
    it.assert_resumed()


@pytest.mark.full_only
@both_targets
def test_connections_killed_in_small_batches(trial: Begin, rounds: Rounds) -> None:
    """Many batches in flight, of which some are known to be applied and some are not."""
    it = trial("--batch-size", "20", "--no-adaptive-flush", "--flush-interval", "5ms")
    it.start()
    for _ in range(rounds(8, 100)):
        it.pause(0.0, 0.4)
        it.target.drop_connections()
    it.finish()
    it.assert_resumed()


@cluster_in_full
def test_connections_killed_during_the_full_sync(trial: Begin, rounds: Rounds) -> None:
    """Big lists arrive in pieces, which must not be appended twice."""
    it = trial(source={"snapshot_pace": 0.02, "chunk_limit": 4096})
    with it.source.client() as client:
        for i in range(40):
            client.rpush(f"biglist:{i}", *(f"{i}-{j}" * 5 for j in range(5_000)))
    it.start(wait=False)
    it.program.wait_for("full sync")
    for _ in range(rounds(10, 60)):
        it.pause(0.0, 0.3)
        it.target.drop_connections()
    it.finish()


@both_targets
def test_server_killed_and_restarted_with_its_data(trial: Begin, rounds: Rounds) -> None:
    it = trial(source={"backlog": 200_000})
    it.start()
    for _ in range(rounds(2, 20)):
        it.pause(0.2, 1.0)
        it.target.crash()
        it.pause(0.0, 1.0)
        it.target.restart()
        it.wait_moving()
    it.finish()
    it.assert_resumed()


@pytest.mark.full_only
@both_targets
def test_server_killed_around_a_flushall(trial: Begin, rounds: Rounds) -> None:
    it = trial(source={"backlog": 200_000})
    it.start()
    for _ in range(rounds(2, 15)):
        with it.source.client() as client:
            client.flushall()
        it.pause(0.0, 0.05)
        it.target.crash()
        it.target.restart()
        it.wait_moving()
    it.finish()
    it.assert_resumed()
