"""A new full sync over what an earlier one wrote: the target keeps serving it until the new one has delivered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fault_source import FaultSource
from tests.support.program import Program, copy_arguments, wait_until
from tests.support.servers import Server

pytestmark = pytest.mark.real
Start = Callable[..., Program]
KEYS = 3_000
GONE = 100
PACED = 0.05  # seconds for each page of the snapshot


def count(target: Server, pattern: str = "k:*") -> int:
    return sum(1 for _ in target.client().scan_iter(pattern, count=1_000))


def copy_all(source: FaultSource, target: Server, start: Start, *more: str) -> None:
    with source.client() as client:
        client.mset({f"k:{i}": i for i in range(KEYS)})
    program = start(copy_arguments(source.url, target.url, *more))
    assert program.wait() == 0, program.output()


def lose(source: FaultSource) -> None:
    """Another process of the source, without some of the keys; its snapshot takes long."""
    with source.client() as client:
        client.delete(*(f"k:{i}" for i in range(GONE)))
    source.run(source.look_alike.restart(down=0.05))
    source.do(lambda: setattr(source.look_alike, "snapshot_pace", PACED))


@pytest.mark.parametrize("more", [(), ("--target-owned",)], ids=["", "owned"])
def test_nothing_goes_before_the_full_sync_has_come(any_target: Server, start: Start, more: tuple[str, ...]) -> None:
    with FaultSource(flows=2) as source:
        copy_all(source, any_target, start, *more)
        lose(source)
        program = start(["--source", source.url, "--target", any_target.url, *more])
        wait_until(lambda: source.full_syncs == 2)
        least = KEYS
        while "clean-up: keys" not in program.log():
            least = min(least, count(any_target))
            assert program.process.poll() is None, program.output()
        assert least == KEYS
        program.wait_for("keys looked at")
        assert f"{GONE} that the source no longer has are removed" in program.log()
        assert count(any_target) == KEYS - GONE


def test_killed_in_the_middle_all_is_still_there(any_target: Server, start: Start) -> None:
    with FaultSource(flows=2) as source:
        copy_all(source, any_target, start)
        lose(source)
        for turn in (2, 3):
            program = start(["--source", source.url, "--target", any_target.url])
            wait_until(lambda turn=turn: source.full_syncs == turn)
            program.process.kill()
            program.process.wait()
            assert count(any_target) == KEYS
        source.do(lambda: setattr(source.look_alike, "snapshot_pace", 0.0))
        last = start(copy_arguments(source.url, any_target.url))
        assert last.wait() == 0, last.output()
        assert count(any_target) == KEYS - GONE


def test_what_is_made_anew_does_not_meet_its_old_value(any_target: Server, start: Start) -> None:
    with FaultSource(flows=2) as source:
        copy_all(source, any_target, start)
        lose(source)
        program = start(["--source", source.url, "--target", any_target.url])
        wait_until(lambda: source.full_syncs == 2)
        with source.client() as client:
            client.incr("k:7")
            client.append("k:8", "new")
            client.rpush("k:9", "new")
        program.wait_for("keys looked at")
        with source.client() as client:
            client.incr("k:10")
        source.wait_level()
        with any_target.client() as client:
            assert client.get("k:7") == b"1"
            assert client.get("k:8") == b"new"
            assert client.lrange("k:9", 0, -1) == [b"new"]
            assert client.get("k:10") == b"1"
        assert count(any_target) == KEYS - GONE + 4


def test_a_flush_in_the_full_sync_removes_nothing_before_the_next(any_target: Server, start: Start) -> None:
    with FaultSource(flows=2) as source:
        copy_all(source, any_target, start)
        lose(source)
        program = start(["--source", source.url, "--target", any_target.url])
        wait_until(lambda: source.full_syncs == 2)
        with source.client() as client:
            client.flushall()
            client.mset({f"k:{i}": i for i in range(50)})
        program.wait_for("Full sync starts again")
        wait_until(lambda: source.full_syncs == 3)
        assert count(any_target) == KEYS
        program.wait_for("keys looked at")
        source.wait_level()
        assert count(any_target) == 50


def test_a_target_without_any_of_it_is_not_walked(any_target: Server, start: Start, tmp_path: Path) -> None:
    with FaultSource(flows=2) as source:
        copy_all(source, any_target, start)
    assert "clean-up" not in "".join(p.read_text() for p in tmp_path.rglob("replicate.log"))
