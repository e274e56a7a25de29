"""A Dragonfly failover behind one address: a replica of the source becomes the source (protocol page §2.5, §5.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from df2redis_tui.demo.session import State
from tests.faults.trial import Trial
from tests.support.program import wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
Begin = Callable[..., Trial]
Rounds = Callable[[int, int], int]


def sessions(it: Trial, count: int) -> None:
    """Until so many sessions have begun."""
    wait_until(lambda: it.source.look_alike.replication.sessions_begun >= count, 60)


def stable(it: Trial) -> None:
    """Until a session is in stable sync: a TAKEOVER is refused before."""
    held = it.source.look_alike.journal.sessions
    wait_until(lambda: any(session.state is State.STABLE_SYNC for session in list(held.values())), 60)


@contextmanager
def not_yet_a_master(it: Trial) -> Iterator[None]:
    """Meanwhile it serves clients, but no replicas."""
    source = it.source.look_alike
    it.source.do(lambda: setattr(source, "is_replica", True))
    yield
    it.source.do(lambda: setattr(source, "is_replica", False))


@pytest.mark.parametrize("version", ["df-v1.40.1", pytest.param("df-v1.34.0", marks=pytest.mark.full_only)])
def test_a_takeover_needs_no_full_sync(trial: Begin, rounds: Rounds, version: str) -> None:
    it = trial(source={"version": version, "backlog": 100_000})
    it.start()
    for turn in range(rounds(2, 8)):
        it.pause(0.3, 1.0)
        stable(it)
        it.source.run(it.source.look_alike.fail_over(down=0.2))
        sessions(it, turn + 2)
        it.wait_moving()
    it.finish()
    assert it.source.look_alike.replication.failover_partials == 3 * rounds(2, 8)
    assert "taken over by one of its replicas" in it.program.log()
    assert it.source.full_syncs == 1


def test_a_takeover_and_connections_that_break_around_it(trial: Begin, rounds: Rounds) -> None:
    it = trial(source={"backlog": 100_000})
    it.start()
    for _ in range(rounds(3, 20)):
        it.pause(0.0, 0.6)
        it.target.drop_connections()
        it.source.run(it.source.look_alike.fail_over(down=0.1))
        it.pause(0.0, 0.4)
        it.source.do(it.source.look_alike.cut_control)
        it.pause(0.0, 0.4)
        it.target.drop_connections()
    it.wait_moving()
    it.finish()


@pytest.mark.full_only
def test_killed_after_a_takeover(trial: Begin) -> None:
    """The checkpoints are the new master's as soon as the FLOWs go on."""
    it = trial(source={"backlog": 100_000})
    it.start()
    it.source.run(it.source.look_alike.fail_over())
    sessions(it, 2)
    it.wait_moving()
    it.kill()
    it.start()
    it.finish()
    assert it.source.full_syncs == 1


def test_a_master_that_died_is_not_trusted_to_have_told_its_replica_everything(trial: Begin) -> None:
    it = trial(source={"backlog": 100_000})
    it.start()
    it.source.run(it.source.look_alike.lose_master(down=0.2))
    sessions(it, 2)
    it.program.wait_for("the source is another process now")
    it.finish()
    assert it.source.look_alike.replication.failover_partials == 0
    assert it.source.full_syncs == 2


def test_a_successor_without_our_history_means_a_full_sync(trial: Begin) -> None:
    """Its backlog is shorter than what was written before we were back."""
    it = trial(source={"backlog": 20})
    it.start()
    with not_yet_a_master(it):
        it.source.run(it.source.look_alike.fail_over())
        sent = it.workload.sent
        wait_until(lambda: it.workload.sent > sent + 1_000)
    it.program.wait_for("Partial sync refused", 20)
    it.finish()
    assert it.source.full_syncs == 2


@pytest.mark.full_only
@pytest.mark.parametrize("version", ["df-v1.33.0", "df-v1.30.0"])
def test_older_releases_are_not_asked(trial: Begin, version: str) -> None:
    it = trial(source={"version": version, "backlog": 100_000})
    it.start()
    it.source.run(it.source.look_alike.fail_over())
    sessions(it, 2)
    it.program.wait_for("the source is another process now")
    it.finish()
    assert it.source.look_alike.replication.failover_partials == 0


@pytest.mark.full_only
def test_stop_ends_after_a_failover_that_can_not_be_followed(trial: Begin) -> None:
    it = trial("--on-lost-backlog", "stop", source={"backlog": 100_000})
    it.start()
    it.source.run(it.source.look_alike.lose_master())
    assert it.program.wait(30) == 3, it.program.output()
    assert "the source is another process now" in it.program.output()


def test_the_next_master_is_waited_for_while_it_is_a_replica(trial: Begin) -> None:
    it = trial(source={"backlog": 100_000})
    it.start()
    with not_yet_a_master(it):
        it.source.run(it.source.look_alike.fail_over())
        it.program.wait_for("is itself a replica")
        assert it.program.process.poll() is None
    it.wait_moving()
    it.finish()
    assert it.source.full_syncs == 1
