"""Devices, FIFOs, links and full disks where the program's files go: what is there stays, the copy's exit code too."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server
from tests.support.synthetic import STRING, entry, flow, record, string

pytestmark = pytest.mark.real
Start = Callable[..., Program]
SCRIPT = Script((flow([entry(STRING, b"k", string(b"v"))]),))


def copied(target: Server, start: Start, *more: str) -> Program:
    with Player(SCRIPT) as player:
        program = start(copy_arguments(player.url, target.url, *more))
        program.wait()
    return program


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    return directory


def test_a_summary_on_a_full_disk_is_a_warning(any_target: Server, start: Start, run_dir: Path) -> None:
    before = os.stat("/dev/full").st_mode
    (run_dir / "summary.json").symlink_to("/dev/full")
    program = copied(any_target, start)
    assert program.process.returncode == 0, program.output()
    assert "warning: the summary" in program.output()
    assert "No space left on device" in program.output()
    assert os.stat("/dev/full").st_mode == before


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of its own with next to no room."""
    place = tmp_path / "tiny"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip(f"no file system of its own can be mounted here: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_file_system_that_is_full_is_a_warning(tiny: Path, any_target: Server, start: Start, run_dir: Path) -> None:
    summary = tiny / "summary.json"
    summary.write_text("old")
    (tiny / "filler").write_bytes(b"x" * (56 << 10))
    (run_dir / "summary.json").symlink_to(summary)
    program = copied(any_target, start)
    assert program.process.returncode == 0, program.output()
    assert "warning: the summary" in program.output() or json.loads(summary.read_text())
    assert sorted(p.name for p in tiny.iterdir()) == ["filler", "summary.json"]


def test_a_full_log_is_a_warning(any_target: Server, start: Start, run_dir: Path) -> None:
    (run_dir / "log").mkdir()
    before = os.stat("/dev/full").st_mode
    (run_dir / "log" / "replicate.log").symlink_to("/dev/full")
    program = copied(any_target, start)
    assert program.process.returncode == 0, program.output()
    assert "of the log could not be written" in program.output()
    assert os.stat("/dev/full").st_mode == before


def test_a_summary_in_a_fifo_is_read_there(any_target: Server, start: Start, run_dir: Path) -> None:
    os.mkfifo(run_dir / "summary.json")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append((run_dir / "summary.json").read_text()))
    reader.start()
    program = copied(any_target, start)
    reader.join(10)
    assert program.process.returncode == 0, program.output()
    assert json.loads(got[0])["verdict"] == "complete"
    assert stat.S_ISFIFO((run_dir / "summary.json").stat().st_mode)


def test_a_summary_on_standard_output(any_target: Server, start: Start, run_dir: Path) -> None:
    (run_dir / "summary.json").symlink_to("/dev/stdout")
    program = copied(any_target, start)
    assert program.process.returncode == 0, program.output()
    said = program.output()
    assert "everything was copied" in said[: said.index("{\n")]
    assert json.loads(said[said.index("{\n") :])["verdict"] == "complete"


def test_a_log_in_a_fifo_that_nobody_reads_is_refused_at_once(any_target: Server, start: Start, run_dir: Path) -> None:
    (run_dir / "log").mkdir()
    os.mkfifo(run_dir / "log" / "replicate.log")
    with Player(SCRIPT) as player:
        program = start(copy_arguments(player.url, any_target.url))
        assert program.process.wait(30) == 2
    assert "nobody reads it" in program.output()


NAMES = ("default.existing", "default.old", "default.lock", "default.json", "dead-letters.jsonl", "default.spool")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_is_no_file_in_the_state_directory(
    kind: str, name: str, any_target: Server, start: Start, run_dir: Path, tmp_path: Path
) -> None:
    """Neither followed nor waited for nor replaced: an error at the start, but a warning for the copy for people."""
    state = run_dir / "state"
    state.mkdir(mode=0o700)
    elsewhere = tmp_path / "elsewhere"
    if kind == "fifo":
        os.mkfifo(state / name)
    else:
        elsewhere.mkdir()
        (elsewhere / "mine").write_text("mine")
        (state / name).symlink_to(elsewhere if name.endswith("spool") else elsewhere / "mine")
    program = copied(any_target, start, "--backpressure", "spill")
    if name == "default.json":
        assert program.process.returncode == 0, program.output()
        assert "not a regular file" in program.log()
    else:
        assert program.process.returncode == 2, program.output()
        assert name in program.output()
    assert kind == "link" or stat.S_ISFIFO((state / name).stat().st_mode)
    assert kind == "fifo" or (state / name).is_symlink()
    if kind == "link":
        assert [p.name for p in elsewhere.iterdir()] == ["mine"]
        assert (elsewhere / "mine").read_text() == "mine"


def test_spill_makes_a_private_directory(any_target: Server, start: Start, run_dir: Path) -> None:
    program = copied(any_target, start, "--backpressure", "spill")
    assert program.process.returncode == 0, program.output()
    assert stat.S_IMODE((run_dir / "state").stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_dead_letters_that_a_full_disk_does_not_take(any_target: Server, start: Start, run_dir: Path) -> None:
    """The copy goes on, what is recorded nowhere is counted and said, and the next run meets it again."""
    state = run_dir / "state"
    state.mkdir(mode=0o700)
    letters = state / "dead-letters.jsonl"
    os.mknod(letters, stat.S_IFCHR | 0o600, os.stat("/dev/full").st_rdev)
    journal = [record(b"LPUSH", b"text", b"x"), record(b"SET", b"after", b"2")]
    refusing = Script((flow([entry(STRING, b"text", string(b"not a list"))], journal),))
    with Player(refusing, refusing) as player:
        program = start(copy_arguments(player.url, any_target.url))
        assert program.wait() == 5, program.output()
        said = " ".join(program.output().split())
        assert "1 of the keys or commands could not be copied, 1 of which are in no dead letter" in said
        assert "No space left on device" in said
        assert "text" in next(line for line in program.log().splitlines() if "nor recorded in" in line)
        assert any_target.client().get("after") == b"2"
        assert stat.S_ISCHR(letters.stat().st_mode)
        letters.unlink()
        again = start(copy_arguments(player.url, any_target.url))
        assert again.wait() == 5, again.output()
    assert "1 keys or commands that no dead letter names" in again.log()
    assert [letter["key"] for letter in again.dead_letters()] == ["text"]
