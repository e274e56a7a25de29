"""--db-policy merge-into-0: databases of the source flow together in a cluster, and one of them is flushed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from tests.support.fault_source import FaultSource
from tests.support.program import Program, wait_until
from tests.support.servers import Server, available_targets, start_cluster

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


@pytest.fixture
def nodes() -> Iterator[list[Server]]:
    with start_cluster(available_targets()[0]) as running:
        yield running


def program(source: FaultSource, nodes: list[Server], directory: Path, *more: str) -> Program:
    target = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    arguments = ["--source", source.url, "--target", target, "--log-format", "text", "--db-policy", "merge-into-0"]
    return Program([*arguments, *more], directory)


def held(nodes: list[Server]) -> dict[bytes, bytes | None]:
    """Every key of the cluster but the job's own."""
    found: dict[bytes, bytes | None] = {}
    for node in nodes:
        with node.client() as client:
            for key in client.scan_iter(count=1_000):
                if not key.startswith(b"df2redis:"):
                    found[key] = client.get(key)
    return found


def expected(source: FaultSource) -> dict[bytes, bytes | None]:
    found: dict[bytes, bytes | None] = {}
    for db in range(4):
        with source.client(db) as client:
            found |= {key: client.get(key) for key in client.keys("*")}
    return found


@contextmanager
def counting(source: FaultSource) -> Iterator[None]:
    """Counters that go on in databases 0 to 2 all the time, also while one of them is flushed."""
    stop = threading.Event()

    def count() -> None:
        with ExitStack() as stack:
            clients: list[redis.Redis] = [stack.enter_context(source.client(db)) for db in range(3)]
            while not stop.wait(0.005):
                for db, client in enumerate(clients):
                    client.incr(f"counter:{db}:{threading.get_native_id() % 7}")

    writer = threading.Thread(target=count, daemon=True)
    writer.start()
    yield
    stop.set()
    writer.join(20)


def test_a_flush_of_one_of_them_is_a_new_full_sync(nodes: list[Server], tmp_path: Path) -> None:
    with FaultSource(flows=3) as source:
        for db in range(3):
            with source.client(db) as client:
                client.mset({f"{db}:{i}": i for i in range(400)})
        with program(source, nodes, tmp_path / "run") as running, counting(source):
            wait_until(lambda: len(held(nodes)) >= 1_200)
            running.wait_for("stable sync")
            with source.client(1) as client:
                client.flushdb()
            wait_until(lambda: source.full_syncs >= 2)
            with source.client(3) as client:
                client.set("3:late", 1)
            running.wait_for("mixed with those of others")
            wait_until(lambda: b"3:late" in held(nodes))
            with source.client(2) as client:
                client.flushdb()
            wait_until(lambda: source.full_syncs >= 3)
            running.process.kill()
        with program(source, nodes, tmp_path / "run") as running:
            source.wait_level()
            wait_until(lambda: held(nodes) == expected(source), 20)
            running.signal(signal.SIGTERM)
            assert running.wait(40) == 0, running.output()
        assert len(expected(source)) < 500


def test_the_flush_of_the_only_one_spares_what_others_got_meanwhile(nodes: list[Server], tmp_path: Path) -> None:
    with FaultSource(flows=3) as source:
        with source.client(2) as client:
            client.mset({f"2:{i}": i for i in range(400)})
        with program(source, nodes, tmp_path / "run") as running:
            running.wait_for("stable sync")
            with source.client(0) as client:
                client.mset({f"0:{i}": i for i in range(400)})
            with source.client(2) as client:
                client.flushdb()
            wait_until(lambda: source.full_syncs >= 2)
            wait_until(lambda: held(nodes) == expected(source), 20)
            assert len(held(nodes)) == 400
            running.signal(signal.SIGTERM)
            assert running.wait(40) == 0, running.output()


def test_stop_says_why(nodes: list[Server], tmp_path: Path) -> None:
    with FaultSource(flows=3) as source:
        with source.client(2) as client:
            client.mset({f"2:{i}": i for i in range(400)})
        with program(source, nodes, tmp_path / "run", "--on-lost-backlog", "stop") as running:
            running.wait_for("stable sync")
            with source.client(2) as client:
                client.flushdb()
            assert running.wait(40) == 3, running.output()
            assert "FLUSHDB of db 2" in running.output()
            assert "--on-lost-backlog" in running.output()
            assert len(held(nodes)) == 400
