"""Several jobs with one target: what one of them removes is never another's."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fault_source import FaultSource
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server, available_targets, join_cluster, start_server

pytestmark = pytest.mark.real
Start = Callable[..., Program]
KEYS = 300
GONE = 50
JOBS = "df2redis:jobs"


@pytest.fixture
def sources() -> Iterator[tuple[FaultSource, FaultSource]]:
    with FaultSource(flows=2) as a, FaultSource(flows=2) as b:
        for name, source in (("a", a), ("b", b)):
            with source.client() as client:
                client.mset({f"{name}:{i}": i for i in range(KEYS)})
        yield a, b


def held(target: Server, job: str) -> int:
    return sum(1 for _ in target.client().scan_iter(f"{job}:*", count=1_000))


def copy(start: Start, source: FaultSource, target: Server, job: str, *more: str) -> Program:
    program = start(copy_arguments(source.url, target.url, "--job", job, *more), name=job)
    program.wait()
    return program


def follow(start: Start, source: FaultSource, target: Server, job: str, *more: str) -> Program:
    program = start(["--source", source.url, "--target", target.url, "--job", job, *more], name=job)
    program.wait_for("stable sync")
    source.wait_level()
    return program


def test_each_names_the_others(sources: tuple[FaultSource, FaultSource], target: Server, start: Start) -> None:
    alone = copy(start, sources[0], target, "a")
    assert alone.process.returncode == 0, alone.output()
    assert "also is the target of" not in alone.output() + alone.log()
    second = copy(start, sources[1], target, "b")
    assert second.process.returncode == 0, second.output()
    assert "also is the target of job 'a'" in second.output()
    first = copy(start, sources[0], target, "a")
    assert first.process.returncode == 0, first.output()
    assert "also is the target of job 'b'" in first.output()
    assert target.client().smembers(JOBS) == {b"a", b"b"}


def lose(source: FaultSource) -> None:
    """It is another process, without some of its keys."""
    with source.client() as client:
        client.delete(*(f"a:{i}" for i in range(GONE)))
    source.run(source.look_alike.restart(down=0.05))


def test_a_resync_leaves_the_keys_of_others(
    sources: tuple[FaultSource, FaultSource], any_target: Server, start: Start
) -> None:
    copy(start, sources[0], any_target, "a")
    copy(start, sources[1], any_target, "b")
    lose(sources[0])
    for _ in range(2):  # the second resumes, and still knows that there is something to remove
        program = copy(start, sources[0], any_target, "a")
        assert program.process.returncode == 5, program.output()
        assert held(any_target, "b") == KEYS
        assert held(any_target, "a") == KEYS
        assert "can't be told from those of job 'b'" in program.output()
        assert "--target-owned" in program.log()
    assert sources[0].full_syncs == 2
    any_target.client().delete(*(f"b:{i}" for i in range(KEYS)))
    any_target.client().srem(JOBS, "b")
    cleaned = copy(start, sources[0], any_target, "a")
    assert cleaned.process.returncode == 0, cleaned.output()
    assert held(any_target, "a") == KEYS - GONE


def test_what_is_owned_is_cleaned_up_whoever_wrote_it(
    sources: tuple[FaultSource, FaultSource], any_target: Server, start: Start
) -> None:
    copy(start, sources[0], any_target, "a")
    copy(start, sources[1], any_target, "b")
    lose(sources[0])
    program = copy(start, sources[0], any_target, "a", "--target-owned")
    assert program.process.returncode == 0, program.output()
    assert (held(any_target, "a"), held(any_target, "b")) == (KEYS - GONE, 0)


@pytest.mark.parametrize("flush", ["flushall", "flushdb"])
def test_a_flush_leaves_the_keys_of_others(
    sources: tuple[FaultSource, FaultSource], any_target: Server, start: Start, flush: str
) -> None:
    a, b = sources
    program = follow(start, a, any_target, "a")
    other = follow(start, b, any_target, "b")
    with a.client() as client:
        getattr(client, flush)()
        client.set("a:new", 1)
    assert program.wait() == 4, program.output()
    assert f"{flush.upper()} of the source would remove keys of job 'b'" in program.output()
    assert "--target-owned" in program.output()
    assert (held(any_target, "a"), held(any_target, "b")) == (KEYS, KEYS)
    with b.client() as client:
        client.set("b:new", 1)
    b.wait_level()
    assert other.process.poll() is None
    assert held(any_target, "b") == KEYS + 1
    again = copy(start, a, any_target, "a")
    assert again.process.returncode == 4, again.output()
    assert held(any_target, "a") == KEYS
    other.__exit__()
    wanted = copy(start, a, any_target, "a", "--target-owned")
    assert wanted.process.returncode == 0, wanted.output()
    assert (held(any_target, "a"), held(any_target, "b")) == (1, 0)
    assert any_target.client().smembers(JOBS) == {b"a"}


@pytest.mark.parametrize(("flush", "refused"), [("flushdb", False), ("flushall", True)])
def test_a_job_in_a_higher_database_is_not_in_the_way_of_a_flush_of_a_lower_one(
    sources: tuple[FaultSource, FaultSource], any_target: Server, start: Start, flush: str, refused: bool
) -> None:
    a, b = sources
    other = start(copy_arguments(b.url, f"{any_target.url}/3", "--job", "b"), name="b")
    assert other.wait() == 0, other.output()
    program = follow(start, a, any_target, "a")
    with a.client() as client:
        getattr(client, flush)()
    if refused:
        assert program.wait() == 4, program.output()
        assert "would remove keys of job 'b'" in program.output()
    else:
        program.wait_for("Global command")
    assert held(any_target, "a") == (KEYS if refused else 0)
    assert sum(1 for _ in any_target.client(3).scan_iter("b:*", count=1_000)) == KEYS


def test_on_a_cluster_too(sources: tuple[FaultSource, FaultSource], start: Start) -> None:
    kind = available_targets()[0]
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(start_server(kind, cluster=True)) for _ in range(3)]
        join_cluster(nodes)
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        other = start(copy_arguments(sources[1].url, url, "--job", "b"), name="b")
        assert other.wait() == 0, other.output()
        program = start(["--source", sources[0].url, "--target", url, "--job", "a"], name="a")
        program.wait_for("stable sync")
        with sources[0].client() as client:
            client.flushall()
        assert program.wait() == 4, program.output()
        assert "would remove keys of job 'b'" in program.output()
        lose(sources[0])
        resync = start(copy_arguments(sources[0].url, url, "--job", "a", "--min-source-keys", "0"), name="a")
        assert resync.wait() == 5, resync.output()
        for job in ("a", "b"):
            assert sum(held(node, job) for node in nodes) == KEYS


def forget(target: Server, job: str, directory: Path) -> None:
    argv = [sys.executable, "-m", "df2redis_tui", "forget", "--target", target.url, "--job", job]
    subprocess.run([*argv, "--state-dir", str(directory)], check=True, capture_output=True, timeout=60)


def test_the_keys_of_a_forgotten_job_stay_its_own(
    sources: tuple[FaultSource, FaultSource], any_target: Server, start: Start, tmp_path: Path
) -> None:
    copy(start, sources[0], any_target, "a")
    copy(start, sources[1], any_target, "b")
    forget(any_target, "b", tmp_path / "b" / "state")
    lose(sources[0])
    assert copy(start, sources[0], any_target, "a").process.returncode == 5
    assert held(any_target, "b") == KEYS
    any_target.client().srem(JOBS, "b")
    forget(any_target, "a", tmp_path / "a" / "state")
    assert not any_target.client().keys("df2redis:*")
