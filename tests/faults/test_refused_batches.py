"""The target refuses one batch for the moment and runs the next one, which was sent right behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults.trial import Trial
from tests.support.grumbler import Grumbler
from tests.support.program import Program, wait_until

# Not in the short set: a kill may come before the batch is sent again, which is a full sync, and rightly so.
pytestmark = [pytest.mark.real, pytest.mark.full_only, pytest.mark.timeout(600)]
Begin = Callable[..., Trial]
SMALL = ("--batch-size", "20", "--no-adaptive-flush", "--flush-interval", "5ms")


@pytest.fixture
def it(trial: Begin) -> Trial:
    return trial(*SMALL, flushes=False)


@pytest.fixture
def grumbler(it: Trial) -> Iterator[Grumbler]:
    with Grumbler(it.standalone.port) as between:
        yield between


def start(it: Trial, grumbler: Grumbler) -> Program:
    return it.start("--target", f"redis://127.0.0.1:{grumbler.port}")


def refuse_one(it: Trial, grumbler: Grumbler, *, silent: bool) -> None:
    """Then wait until the ones behind it have run."""
    it.pause(0.3, 0.8)
    grumbler.then_silent = silent
    grumbler.refuse_next = True
    wait_until(lambda: not grumbler.refuse_next)
    before = it.position()
    wait_until(lambda: it.position() > before + 200)


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
    it.kill()
    it.start()
    it.finish()
    assert it.source.full_syncs == 1


def test_the_connection_breaks_before_anybody_knows(it: Trial, grumbler: Grumbler) -> None:
    """Which of the batches ran can't be told then, only that they are too few."""
    start(it, grumbler)
    refuse_one(it, grumbler, silent=True)
    grumbler.silent = False
    it.target.drop_connections()
    assert it.program.wait(30) == 4, it.program.output()
    assert "start the same command again" in it.program.output()
    it.start(wait=False)
    wait_until(lambda: it.source.full_syncs == 2)
    it.finish()
