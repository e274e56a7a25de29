"""Ctrl-Z: no FLOW stays open while the process is stopped; afterwards it goes on where it was."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.support.fault_source import FaultSource
from tests.support.program import Program, wait_until
from tests.support.servers import Server

pytestmark = pytest.mark.real
Start = Callable[..., Program]
SLOW = 0.02


@pytest.fixture
def source() -> Iterator[FaultSource]:
    with FaultSource(flows=2, backlog=50_000) as running:
        with running.client() as client:
            client.mset({f"k:{i}": i for i in range(2_000)})
        yield running


def stopped(program: Program) -> bool:
    return psutil.Process(program.process.pid).status() == psutil.STATUS_STOPPED


def sessions(source: FaultSource) -> int:
    return len(source.look_alike.journal.sessions)


def suspend(program: Program) -> None:
    program.signal(signal.SIGTSTP)
    wait_until(lambda: stopped(program))


def test_the_flows_are_closed_while_it_is_stopped_and_resumed_behind(
    source: FaultSource, any_target: Server, start: Start
) -> None:
    program = start(["--source", source.url, "--target", any_target.url], own_group=True)
    program.wait_for("stable sync")
    source.wait_level()
    suspend(program)
    wait_until(lambda: sessions(source) == 0, 5)
    with source.client() as client:
        for i in range(500):
            client.incr(f"counter:{i % 50}")
    program.signal(signal.SIGCONT)
    source.wait_level()
    assert source.full_syncs == 1
    with any_target.client() as client:
        assert [client.get(f"counter:{i}") for i in range(50)] == [b"10"] * 50
    assert "goes on where it was" in program.log()
    program.signal(signal.SIGTERM)
    assert program.wait(30) == 0, program.output()


def test_in_the_full_sync_it_begins_anew(any_target: Server, start: Start) -> None:
    with FaultSource(flows=2, snapshot_pace=SLOW) as source:
        with source.client() as client:
            client.mset({f"k:{i}": i for i in range(3_000)})
        program = start(["--source", source.url, "--target", any_target.url, "--until", "caught-up"], own_group=True)
        wait_until(lambda: source.full_syncs == 1)
        suspend(program)
        wait_until(lambda: sessions(source) == 0, 5)
        program.signal(signal.SIGCONT)
        assert program.wait(60) == 0, program.output()
        assert source.full_syncs == 2
        assert "begins its full sync anew" in program.log()
    assert sum(1 for _ in any_target.client().scan_iter("k:*")) == 3_000


def test_again_and_again(source: FaultSource, any_target: Server, start: Start) -> None:
    program = start(["--source", source.url, "--target", any_target.url], own_group=True)
    program.wait_for("stable sync")
    for turn in range(3):
        suspend(program)
        with source.client() as client:
            client.incr("counter", turn + 1)
        program.signal(signal.SIGCONT)
        if turn != 1:  # and once before it has reached the source again
            source.wait_level()
    source.wait_level()
    assert any_target.client().get("counter") == b"6"
    assert source.full_syncs == 1
    program.signal(signal.SIGTERM)
    assert program.wait(30) == 0, program.output()
