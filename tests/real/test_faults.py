"""What happens to servers and to our program while writes go on: flushes, kill -9, restart, failover, a slow target."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.real.copying import Copying
from tests.real.sources import SourceServer
from tests.real.targets import Target
from tests.support.workload import Workload

pytestmark = pytest.mark.real


@pytest.fixture
def workload(source: SourceServer, real_target: Target) -> Iterator[Workload]:
    """Commands that must be applied exactly once, on few keys, in two databases where the target has them."""
    databases = (0, 0, 0, 0) if real_target.cluster else (0, 0, 0, 1)
    with Workload(source.client, 11 + source.flows, rate=1_500, flushes=False, databases=databases) as work:
        yield work


def test_flushes(
    source: SourceServer, real_target: Target, copying: Callable[..., Copying], workload: Workload
) -> None:
    databases = real_target.databases
    copy = copying()
    copy.start()
    copy.wait_stable()
    for flush in ("FLUSHDB", "FLUSHALL", "FLUSHDB"):
        for db in databases:
            with source.client(db) as client:
                pipe = client.pipeline(transaction=False)
                for number in range(500):
                    pipe.set(f"gone:{number}", flush)
                pipe.execute()
        with source.client(databases[-1]) as client:
            client.execute_command(flush)
            client.set(f"after:{flush}", 1)
        time.sleep(0.3)
    workload.stop()
    with source.client(databases[-1]) as client:
        assert client.get("gone:0") is None
    copy.finish(least=3)


@pytest.mark.real_or_full  # tests/faults has it for the look-alike
def test_kill_in_a_row_and_resume(copying: Callable[..., Copying], workload: Workload) -> None:
    copy = copying()
    for _ in range(3):
        copy.start()
        copy.wait_stable()
        time.sleep(0.5)
        copy.kill()
    copy.start()
    copy.wait_stable()
    workload.stop()
    copy.finish()
    copy.run_until_caught_up()  # there is nothing left to do, and it says so
    copy.check_equal()


def test_resume_costs_no_full_sync(source: SourceServer, real_target: Target, copying: Callable[..., Copying]) -> None:
    with source.client() as client:
        client.mset({f"k:{number}": "v" for number in range(2_000)})
        copy = copying()
        copy.run_until_caught_up()
        client.mset({f"k:{number}": "w" for number in range(500)})
        client.incr("k:new")
        copy.run_until_caught_up()
    assert copy.program.summary()["keys_copied"] == 0
    assert "full sync" not in copy.program.summary()["phase_seconds"]
    copy.check_equal(2_000)


def test_restart_of_the_source(source: SourceServer, copying: Callable[..., Copying], workload: Workload) -> None:
    copy = copying()
    copy.start()
    copy.wait_stable()
    workload.stop()
    copy.wait_level()
    source.restart()
    copy.wait_stable()
    with source.client() as client:
        client.set("after the restart", 1)
    copy.finish()


def test_failover_by_takeover(source: SourceServer, copying: Callable[..., Copying], workload: Workload) -> None:
    copy = copying()
    copy.start()
    copy.wait_stable()
    time.sleep(0.5)
    source.fail_over()
    workload.stop()
    copy.wait_stable()
    with source.client() as client:
        client.set("after the failover", 1)
        client.incr("num:0")
    copy.finish()


def test_a_target_that_stops_holds_the_source_back(
    source: SourceServer, real_target: Target, copying: Callable[..., Copying]
) -> None:
    """Backpressure: the program's memory stays bounded, the source goes on, and everything arrives."""
    value = b"x" * 20_000
    copy = copying("--channel-bytes", "1MiB", "--max-in-flight", "2", "--batch-size", "20")
    program = copy.start()
    copy.wait_stable()
    with source.client() as client:

        def write(numbers: range) -> None:
            pipe = client.pipeline(transaction=False)
            for number in numbers:
                pipe.set(f"k:{number % 500}", b"%d" % number + value)
                pipe.rpush(f"l:{number % 7}", number)
            pipe.execute()

        write(range(200))
        with real_target.stopped():
            for begin in range(1_000, 2_600, 200):  # 32 MB
                write(range(begin, begin + 200))
            program.wait_for("Parser blocked", 20)
        write(range(3_000, 3_200))
    copy.finish(least=500)
    assert program.peak_rss < 250e6
