"""One run at a time for a job's files, whatever target it copies into."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from df2redis_tui.errors import ConfigError
from df2redis_tui.replication.state_lock import StateLock

HOLDER = """
import sys
from pathlib import Path
from df2redis_tui.replication.state_lock import StateLock
StateLock(Path(sys.argv[1]), "job", "a:1").take(leased=True)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_one_is_told_who_has_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=rf"in use by another run \(process {holder.pid} on host .*--state-dir"):
            StateLock(state, "job", "b:1").take(leased=True)
        other = StateLock(state, "another", "b:1")
        other.take(leased=True)
        other.release()
        holder.kill()
    lock = StateLock(state, "job", "b:1")
    lock.take(leased=True)  # a killed holder has none
    assert (state / "job.lock").stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700
    lock.release()
    lock.release()
    assert list(state.iterdir()) == []


def test_it_can_be_taken_again_and_again(tmp_path: Path) -> None:
    for _ in range(3):
        lock = StateLock(tmp_path, "job", "a:1")
        lock.take(leased=True)
        with pytest.raises(ConfigError, match=f"process {os.getpid()}"):
            StateLock(tmp_path, "job", "a:1").take(leased=False)
        lock.release()


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_is_no_file_is_an_error_and_no_hang(tmp_path: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(tmp_path / "job.lock")
    else:
        (tmp_path / "job.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="not a regular file"):
        StateLock(tmp_path, "job", "a:1").take(leased=False)
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_that_has_lost_its_lease_has_lost_the_lock_too(tmp_path: Path) -> None:
    stopped, next_one = (StateLock(tmp_path, "job", "a:1") for _ in range(2))
    stopped.take(leased=True)
    with pytest.raises(ConfigError, match="in use"):
        next_one.take(leased=False)
    assert not stopped.lost
    next_one.take(leased=True)
    assert stopped.lost
    stopped.release()
    assert not next_one.lost
    with pytest.raises(ConfigError, match="in use"):
        StateLock(tmp_path, "job", "b:1").take(leased=True)
    next_one.release()
    assert list(tmp_path.iterdir()) == []
