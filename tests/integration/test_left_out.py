"""What earlier runs of a job have left out is no secret of theirs: the runs that go on from them say so too."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fault_source import FaultSource
from tests.support.program import Program, copy_arguments, run_program, wait_until
from tests.support.servers import Server

pytestmark = pytest.mark.real
Start = Callable[..., Program]
KEYS = 400
NOT_COPIED = "df2redis:default:named like the job's own"


@pytest.fixture
def source() -> Iterator[FaultSource]:
    with FaultSource(flows=2) as running:
        with running.client() as client:
            client.mset({f"k:{i}": i for i in range(KEYS)})
        yield running


def copy(source: FaultSource, target: Server, directory: Path, *more: str) -> Program:
    return run_program(copy_arguments(source.url, target.url, *more), directory)


def left_out(target: Server) -> dict[str, object]:
    found: dict[str, object] = json.loads(target.client().get("df2redis:default:job") or b"{}").get("left_out", {})
    return found


def test_dead_letters_are_open_until_a_full_sync_copies_anew(
    source: FaultSource, any_target: Server, tmp_path: Path
) -> None:
    with source.client() as client:
        client.set(NOT_COPIED, 1)
    first = copy(source, any_target, tmp_path)
    assert first.process.returncode == 5, first.output()
    for _ in range(2):
        again = copy(source, any_target, tmp_path)
        assert source.full_syncs == 1
        assert again.process.returncode == 5, again.output()
        assert "1 of the keys or commands could not be copied by an earlier run of this job" in again.output()
        summary = again.summary()
        assert (summary["verdict"], summary["dead_letters"], summary["dead_letters_before"]) == ("incomplete", 0, 1)
        assert "none" not in summary["not_copied"]
    with source.client() as client:
        client.delete(NOT_COPIED)
    source.run(source.look_alike.restart(down=0.05))
    anew = copy(source, any_target, tmp_path)
    assert source.full_syncs == 2
    assert anew.process.returncode == 0, anew.output()
    assert anew.summary()["dead_letters_before"] == 0


def test_a_run_that_is_killed_does_not_take_them_along(source: FaultSource, any_target: Server, start: Start) -> None:
    arguments = ["--source", source.url, "--target", any_target.url, "--on-error", "skip"]
    program = start(arguments)
    program.wait_for("stable sync")
    with source.client() as client:
        client.set(NOT_COPIED, 1)
        client.set("k:new", 1)
    wait_until(lambda: left_out(any_target).get("dead_letters") == 1)
    source.wait_level()
    program.process.kill()
    program.process.wait()
    again = start([*arguments, "--until", "caught-up"])
    assert again.wait() == 5, again.output()
    assert source.full_syncs == 1
    assert again.summary()["dead_letters_before"] == 1


def test_what_is_flushed_is_no_longer_missing(source: FaultSource, any_target: Server, start: Start) -> None:
    with source.client() as client:
        client.set(NOT_COPIED, 1)
    arguments = ["--source", source.url, "--target", any_target.url, "--on-error", "skip"]
    with start(arguments) as program:
        program.wait_for("stable sync")
        wait_until(lambda: left_out(any_target).get("dead_letters") == 1)
        with source.client() as client:
            client.flushall()
            client.set("k:new", 1)
        program.wait_for("Global command")
        source.wait_level()
    again = start([*arguments, "--until", "caught-up"])
    assert again.wait() == 0, again.output()
    assert source.full_syncs == 1


def test_a_run_that_did_not_begin_notes_nothing(source: FaultSource, any_target: Server, tmp_path: Path) -> None:
    any_target.client().set("theirs", 1)
    source.look_alike.users = ["user tom on #2d711642b726b04 ~* resetchannels +@all $all NAMESPACE:orders"]
    assert copy(source, any_target, tmp_path, "--on-existing", "skip").process.returncode == 3
    assert any_target.client().keys("*") == [b"theirs"]


def test_keys_left_alone_once_are_not_what_a_run_without_skip_has_copied(
    source: FaultSource, any_target: Server, tmp_path: Path
) -> None:
    client = any_target.client()
    client.set("k:1", "theirs")
    first = copy(source, any_target, tmp_path, "--on-existing", "skip")
    assert first.process.returncode == 0, first.output()
    same = copy(source, any_target, tmp_path, "--on-existing", "skip")
    assert same.process.returncode == 0, same.output()
    assert "everything was copied but keys that the target held before" in same.output()
    other = copy(source, any_target, tmp_path)
    assert client.get("k:1") == b"theirs"
    assert other.process.returncode == 5, other.output()
    assert other.summary()["verdict"] == "incomplete"
    assert "an earlier run of this job has left out keys that the target held before" in other.output()
    assert source.full_syncs == 1
    source.run(source.look_alike.restart(down=0.05))
    anew = copy(source, any_target, tmp_path)
    assert anew.process.returncode == 0, anew.output()
    assert client.get("k:1") == b"1"


def evict(target: Server) -> int:
    """Make it drop a few of the keys that expire, as the job's own do not, but for the lease; returns how many."""
    client = target.client()
    client.config_set("maxmemory-policy", "volatile-random")
    client.config_set("maxmemory", str(client.info("memory")["used_memory"] - 2_000))
    client.config_set("maxmemory", "0")
    count: int = client.info("stats")["evicted_keys"]
    assert count
    return count


def test_what_the_target_evicts_is_missing(source: FaultSource, target: Server, start: Start) -> None:
    """While a run looks, between two runs, and for those that go on from them."""
    with source.client() as client:
        for i in range(2_000):
            client.set(f"big:{i}", "x" * 200, ex=1_000_000)
    arguments = ["--source", source.url, "--target", target.url]
    with start(arguments) as program:
        program.wait_for("stable sync")
        source.wait_level()
        evicted = evict(target)
        program.signal(signal.SIGTERM)
        code = program.wait()
        assert code == 5, program.output()
        assert program.summary()["evicted"] == evicted
        assert f"the target has evicted {evicted:,} keys" in program.output()
        assert "maxmemory-policy noeviction" in program.output()
    evicted = evict(target)
    for _ in range(2):
        again = start([*arguments, "--until", "caught-up"])
        assert again.wait() == 5, again.output()
        assert again.summary()["evicted"] == evicted
    source.run(source.look_alike.restart(down=0.05))
    anew = start([*arguments, "--until", "caught-up"])
    assert anew.wait() == 0, anew.output()
    assert anew.summary()["evicted"] == 0
