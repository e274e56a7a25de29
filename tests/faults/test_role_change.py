"""A standalone target behind one name fails over: the old server turns replica, the name stands for the new one."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from df2redis_tui.settings import Endpoint
from df2redis_tui.target import patience
from tests.support.fault_source import FaultSource
from tests.support.program import Program
from tests.support.proxy import Proxy
from tests.support.servers import Server, available_targets, start_server

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def eventually(what: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class Pair:
    """A master and its replica behind a proxy, which is the name of the master."""

    def __init__(self, stack: ExitStack) -> None:
        kind = available_targets()[0]
        options = ["--repl-diskless-sync-delay", "0"]
        self.first: Server = stack.enter_context(start_server(kind, options=options))
        self.second: Server = stack.enter_context(start_server(kind, options=options))
        self.second.client().replicaof("127.0.0.1", self.first.port)
        assert eventually(lambda: self.second.client().info("replication")["master_link_status"] == "up")
        self.proxy = stack.enter_context(Proxy(self.first.port))

    def demote_first(self) -> None:
        """The replica gets all of it, then they change roles. Connections to the first one stay open."""
        with self.first.client() as client:
            client.set("last", 1)
            assert client.execute_command("WAIT", 1, 10_000) == 1
            client.delete("last")
            assert client.execute_command("WAIT", 1, 10_000) == 1
        self.second.client().execute_command("REPLICAOF", "NO", "ONE")
        self.first.client().replicaof("127.0.0.1", self.second.port)

    def fail_over(self) -> None:
        self.demote_first()
        self.proxy.upstream = self.second.port


@pytest.fixture
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(stack)


@pytest.fixture
def source() -> Iterator[FaultSource]:
    with FaultSource(flows=2) as source:
        yield source


def write(source: FaultSource, first: int) -> None:
    with source.client() as client, client.pipeline(transaction=False) as batch:
        for i in range(first, first + 500):
            batch.set(f"key:{i}", i)
            batch.incr(f"counter:{i % 7}")
        batch.execute()


def started(source: FaultSource, pair: Pair, directory: Path, *more: str) -> Program:
    program = Program(
        ["--source", source.url, "--target", f"redis://127.0.0.1:{pair.proxy.port}", "--log-format", "text", *more],
        directory,
    )
    program.wait_for("stable sync ·")
    write(source, 0)
    source.wait_level()
    return program


@pytest.mark.parametrize("more", [(), ("--no-exactly-once",)], ids=["exactly once", "plain"])
def test_it_goes_on_with_what_the_name_stands_for_now(
    source: FaultSource, pair: Pair, tmp_path: Path, more: tuple[str, ...]
) -> None:
    with started(source, pair, tmp_path, *more) as program:
        pair.fail_over()
        write(source, 500)
        try:
            source.wait_level(60)
        except AssertionError:
            raise AssertionError(program.output()[-3000:]) from None
        program.signal(signal.SIGTERM)
        assert program.wait(40) == 0
        compared = source.compare(Endpoint((("127.0.0.1", pair.second.port),)))
        assert compared.same, f"{compared}\n{program.log()[-6000:]}"
        assert source.full_syncs == 1


def test_the_lease_moves_with_the_name_when_nothing_is_written(source: FaultSource, pair: Pair, tmp_path: Path) -> None:
    with started(source, pair, tmp_path) as program:
        pair.fail_over()

        def named() -> bool:
            listed = pair.second.client().client_list()
            return any(":control:" in str(entry.get("name", "")) for entry in listed)

        assert eventually(named), program.output()[-3000:]


def test_one_that_stays_a_replica_ends_the_run_and_says_what_to_do(
    source: FaultSource, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patience is a minute: too long for a test, so the program gets a shorter one."""
    starter = tmp_path / "impatient"
    starter.mkdir()
    (starter / "sitecustomize.py").write_text(
        f"import {patience.__name__} as patience\npatience.STUCK_PATIENCE = 2.0\n"
    )
    program = Program(
        ["--source", source.url, "--target", f"redis://127.0.0.1:{pair.proxy.port}", "--log-format", "text"],
        tmp_path / "run",
        env={"PYTHONPATH": str(starter)},
    )
    with program:
        program.wait_for("stable sync ·")
        write(source, 0)
        source.wait_level()
        pair.demote_first()
        write(source, 500)
        assert program.wait(60) == 4
        said = program.output()
        assert "is a replica and takes no writes" in said
        assert "point --target at the master" in said
        assert "Traceback" not in said + program.log()
