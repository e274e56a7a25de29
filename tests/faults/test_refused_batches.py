"""The target refuses one batch for the moment and runs the next one, which was sent right behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from redis.client import Pipeline

from tests.faults.trial import Trial
from tests.support.grumbler import Grumbler
from tests.support.program import Program, wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
Begin = Callable[..., Trial]
SMALL = ("--batch-size", "20", "--no-adaptive-flush", "--flush-interval", "5ms")


@pytest.fixture
def it(trial: Begin) -> Trial:
    return trial(*SMALL, flushes=False)


@pytest.fixture
def grumbler(it: Trial) -> Iterator[Grumbler]:
    with Grumbler(it.standalone.port) as between:
        yield between


def start(it: Trial, grumbler: Grumbler, *more: str) -> Program:
    return it.start("--target", f"redis://127.0.0.1:{grumbler.port}", *more)


def refuse_one(it: Trial, grumbler: Grumbler, *, silent: bool) -> None:
    """Then wait until ones behind it have run."""
    it.pause(0.3, 0.8)
    grumbler.then_silent = silent
    grumbler.refuse_next = True
    wait_until(lambda: not grumbler.refuse_next)
    wait_until(lambda: grumbler.behind > 0)
    before = it.position()
    wait_until(lambda: it.position() > before + 200)


LATE = 300  # commands that come as one burst: many batches are in flight


def write_what_must_not_come_late(pipe: Pipeline, i: int) -> None:
    """Each of these is refused by a server that has had the next ones."""
    pipe.xadd("late:stream", {"n": i})
    pipe.hincrby("late:hash", "f", 1)
    pipe.hset("late:hash", "f", "text")
    pipe.hset("late:hash", "f", str(i))
    pipe.sadd("late:set", i)
    pipe.pexpire("late:set", 600_000)
    pipe.srem("late:set", i)  # empties it: the next one has no TTL


def test_commands_that_the_target_refuses_when_they_come_late(it: Trial, grumbler: Grumbler) -> None:
    start(it, grumbler, "--on-error", "stop")
    with it.source.client(0) as client:
        for _ in range(5):
            grumbler.refuse_next = True
            with client.pipeline(transaction=False) as pipe:
                for i in range(LATE):
                    write_what_must_not_come_late(pipe, i)
                pipe.execute()
            wait_until(lambda: not grumbler.refuse_next)
            it.wait_moving()
        client.sadd("late:set", "last")
    it.finish()
    it.assert_resumed()


def test_killed_before_it_could_be_sent_again(it: Trial, grumbler: Grumbler) -> None:
    start(it, grumbler)
    refuse_one(it, grumbler, silent=True)
    it.kill()
    it.start(wait=False)
    it.program.wait_for("was not sent again before the run ended")
    wait_until(lambda: it.source.full_syncs == 2)
    it.finish()


def test_killed_after_it_was_sent_again(it: Trial, grumbler: Grumbler) -> None:
    start(it, grumbler)
    for _ in range(3):
        refuse_one(it, grumbler, silent=False)
    it.pause(2.0, 2.5)  # until it has been sent again; before that, a kill rightly costs a full sync
    it.kill()
    it.start()
    it.finish()
    assert it.source.full_syncs == 1


def test_the_connection_breaks_before_anybody_knows(it: Trial, grumbler: Grumbler) -> None:
    """Which of the batches ran can't be told then, only that they are too few."""
    start(it, grumbler)
    refuse_one(it, grumbler, silent=True)
    it.target.drop_connections()
    assert it.program.wait(30) == 4, it.program.output()
    assert "run the same command again" in " ".join(it.program.output().split())
    it.start(wait=False)
    wait_until(lambda: it.source.full_syncs == 2)
    it.finish()
