"""One state directory and one job name, used for several targets in turn: what each held before stays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fault_source import FaultSource
from tests.support.program import Program, copy_arguments, wait_until
from tests.support.servers import Server, available_targets, start_server

pytestmark = pytest.mark.real
Start = Callable[..., Program]
HELD = 60


@pytest.fixture
def targets() -> Iterator[tuple[Server, Server]]:
    with start_server(available_targets()[0]) as first, start_server(available_targets()[-1]) as second:
        with first.client() as client:
            client.mset({f"mine:{i}": "before" for i in range(HELD)})
        yield first, second


@pytest.fixture
def source() -> Iterator[FaultSource]:
    with FaultSource(flows=2) as running, running.client() as client:
        client.mset({f"k:{i}": i for i in range(500)})
        yield running


def copied(source: FaultSource, target: Server, start: Start, *more: str) -> Program:
    program = start(copy_arguments(source.url, target.url, *more))
    program.wait()
    return program


def held(target: Server) -> int:
    with target.client() as client:
        return sum(1 for _ in client.scan_iter("mine:*", count=1000))


def another_process(source: FaultSource) -> None:
    """The next run has to begin its full sync again, and to remove what the source has lost."""
    with source.client() as client:
        client.delete("k:1")
    source.run(source.look_alike.restart(down=0.05))


def test_a_b_a_keeps_what_a_held(source: FaultSource, targets: tuple[Server, Server], start: Start) -> None:
    a, b = targets
    for target in (a, b):
        assert copied(source, target, start).process.returncode == 0
    another_process(source)
    program = copied(source, a, start)
    assert program.process.returncode == 0, program.output()
    assert held(a) == HELD
    with a.client() as client:
        assert not client.exists("k:1")  # which this copy wrote
    another_process(source)
    assert copied(source, b, start).process.returncode == 0
    assert copied(source, a, start).process.returncode == 0
    assert held(a) == HELD


def test_the_file_of_the_other_target_in_its_place_is_refused(
    source: FaultSource, targets: tuple[Server, Server], start: Start, tmp_path: Path
) -> None:
    a, b = targets
    assert copied(source, a, start).process.returncode == 0
    assert copied(source, b, start).process.returncode == 0
    state = tmp_path / "run" / "state"
    (kept,) = state.glob("default.existing.*")
    kept.unlink()
    another_process(source)
    program = copied(source, a, start)
    assert program.process.returncode == 2, program.output()
    assert "belongs to another copy" in program.output()
    assert f"into 127.0.0.1:{b.port}" in program.output()
    assert "nothing was written or removed" in " ".join(program.output().split())
    assert held(a) == HELD


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "link", "fifo"])
def test_a_damaged_file_is_refused(
    source: FaultSource, targets: tuple[Server, Server], start: Start, tmp_path: Path, damage: str
) -> None:
    a, _ = targets
    assert copied(source, a, start).process.returncode == 0
    path = tmp_path / "run" / "state" / "default.existing"
    raw = path.read_bytes()
    if damage == "cut":
        path.write_bytes(raw[: len(raw) - 12])
    elif damage == "changed":
        path.write_bytes(raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:])
    elif damage == "emptied":
        path.write_bytes(b"")
    else:
        path.unlink()
        if damage == "link":
            (tmp_path / "copy").write_bytes(raw)
            path.symlink_to(tmp_path / "copy")
        else:
            os.mkfifo(path)
    another_process(source)
    program = copied(source, a, start)
    assert program.process.returncode == 2, program.output()
    assert "default.existing" in program.output()
    assert held(a) == HELD


def test_a_missing_file_removes_nothing_and_is_refused_where_keys_are_to_be_left_alone(
    source: FaultSource, targets: tuple[Server, Server], start: Start, tmp_path: Path
) -> None:
    a, _ = targets
    assert copied(source, a, start).process.returncode == 0
    (tmp_path / "run" / "state" / "default.existing").unlink()
    program = copied(source, a, start, "--on-existing", "skip")
    assert program.process.returncode == 2, program.output()
    assert f"default.existing is missing in {tmp_path / 'run' / 'state'} (--state-dir)" in program.output()
    assert held(a) == HELD
    another_process(source)
    program = copied(source, a, start)
    assert program.process.returncode == 0, program.output()
    assert f"default.existing is missing in {tmp_path / 'run' / 'state'} (--state-dir)" in program.output()
    assert held(a) == HELD


def test_two_targets_at_once_are_refused_with_the_name_of_the_other_process(
    source: FaultSource, targets: tuple[Server, Server], start: Start
) -> None:
    a, b = targets
    first = start(["--source", source.url, "--target", a.url])
    wait_until(lambda: source.full_syncs == 1)
    second = copied(source, b, start)
    assert second.process.returncode == 2, second.output()
    assert f"in use by another run (process {first.process.pid} on host " in second.output()
    with b.client() as client:
        assert client.dbsize() == 0


def forget(target: Server, state: Path) -> str:
    argv = [sys.executable, "-m", "df2redis_tui", "forget", "--target", target.url, "--state-dir", str(state)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def test_forgetting_one_target_leaves_the_files_of_the_other(
    source: FaultSource, targets: tuple[Server, Server], start: Start, tmp_path: Path
) -> None:
    a, b = targets
    state = tmp_path / "run" / "state"
    for target in (b, a):
        assert copied(source, target, start).process.returncode == 0
    assert str(state / "default.existing.") in forget(b, state)
    assert (state / "default.existing").exists()
    assert list(state.glob("default.existing.*")) == []
    another_process(source)
    assert copied(source, a, start).process.returncode == 0
    assert held(a) == HELD
    assert copied(source, b, start).process.returncode == 0
    said = forget(a, state)
    assert str(state / "default.existing.") in said
    assert (state / "default.existing").exists()
    forget(b, state)
    assert list(state.glob("default.*")) == []
