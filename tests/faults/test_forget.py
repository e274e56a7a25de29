"""`df2redis-tui forget` removes what a job keeps, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.trial import Trial
from tests.support.servers import available_targets, start_cluster

pytestmark = pytest.mark.real
Begin = Callable[..., Trial]


def forget(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "df2redis_tui", "forget", *arguments, "--state-dir", str(state)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def test_it_refuses_while_a_run_lives_and_removes_everything_after(trial: Begin) -> None:
    it = trial()
    it.start()
    state = it.directory / "run" / "state"
    target = f"redis://127.0.0.1:{it.standalone.port}"
    refused = forget("--target", target, state=state)
    assert refused.returncode == 4
    assert "already running" in refused.stderr
    it.kill()
    with it.standalone.server.client() as client:
        data = {key for key in client.keys("*") if not key.startswith(b"df2redis:")}
        done = forget("--target", target, state=state)
        assert done.returncode == 0, done.stderr
        assert "3 checkpoints" in done.stdout
        assert str(state / "default.json") in done.stdout
        assert not client.keys("df2redis:*")
        assert data
        assert client.exists(*data) > 0
    assert not list(state.glob("default.*"))
    again = forget("--target", target, state=state)
    assert "nothing is known" in again.stdout


def test_other_jobs_keep_theirs(trial: Begin, tmp_path: Path) -> None:
    it = trial()
    with it.standalone.server.client() as client:
        client.mset({"df2redis:one:flow:0": "x", "df2redis:one-more:flow:0": "x", "elsewhere": "x"})
        done = forget("--target", f"redis://127.0.0.1:{it.standalone.port}", "--job", "one", state=tmp_path)
        assert "1 checkpoints" in done.stdout
        assert client.exists("df2redis:one-more:flow:0", "elsewhere") == 2


def test_guards_on_every_node_of_a_cluster(tmp_path: Path) -> None:
    with start_cluster(available_targets()[0]) as nodes:
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        for node in nodes:
            with node.client() as client:
                slots = client.execute_command("CLUSTER", "SLOTS")
                mine = next(s for s in slots if int(s[2][1]) == node.port)
                tag = next(
                    t
                    for t in map(str, range(100_000))
                    if mine[0] <= client.execute_command("CLUSTER", "KEYSLOT", t) <= mine[1]
                )
                client.set(f"df2redis:default:guard:0:{{{tag}}}", "x")
        done = forget("--target", url, state=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "3 guards" in done.stdout
        for node in nodes:
            with node.client() as client:
                assert client.dbsize() == 0


def test_a_source_is_not_asked_for(tmp_path: Path) -> None:
    done = forget(state=tmp_path)
    assert done.returncode == 2
    assert "target" in done.stderr
    assert "source" not in done.stderr
