"""The headless front end as an operator, a pipe and a service manager meet it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from df2redis_tui import headless
from df2redis_tui.settings import Endpoint, Settings
from df2redis_tui.telemetry.snapshot import Phase
from tests.ui.fake_engine import FakeEngine
engine = FakeEngine({engine})
end = Endpoint((("127.0.0.1", 1),))
code = headless.run(engine, Settings(source=end, target=end, status_interval=0.2, {settings}))
print("stops", engine.stops, "textual" in sys.modules, file=sys.stderr)
sys.exit(code)
"""

STEADY = "flows=3, stop_takes=0.4"
ENDS = "flows=3, script=((Phase.FULL_SYNC, 0.4), (Phase.STABLE_SYNC, 0.4), (Phase.DONE, 9)), start_at=5"
FAILS = "flows=3, script=((Phase.FULL_SYNC, 0.4), (Phase.FAILED, 9)), end=(Phase.FAILED, 4, 'target answered OOM')"


def start(engine: str, settings: str = "", **popen: object) -> subprocess.Popen[str]:
    program = PROGRAM.format(root=str(ROOT), engine=engine, settings=settings)
    defaults: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, **(defaults | popen))  # type: ignore[call-overload]


def test_a_pipe_gets_status_lines_and_the_exit_code_is_the_engines() -> None:
    process = start(ENDS)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert re.search(r"T\d\d:\d\d:\d\d full sync · .* keys · .* op/s", out)
    assert "stable sync · lag" in out
    assert "\x1b" not in out


def test_a_failure_gives_its_exit_code() -> None:
    process = start(FAILS)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 4, err
    assert "target answered OOM" in out


def test_json_lines_are_snapshots() -> None:
    process = start(ENDS, "log_format='json'")
    out, _ = process.communicate(timeout=20)
    snaps = [json.loads(line) for line in out.splitlines()]
    assert snaps[0]["phase"] == "full sync"
    assert snaps[-1]["exit_code"] == 0
    assert [s["seq"] for s in snaps] == sorted(s["seq"] for s in snaps)
    assert len(snaps[0]["flows"]) == 3
    batches = [batch["seq"] for snap in snaps for batch in snap["batches"]]
    assert batches
    assert len(batches) == len(set(batches))  # each is told of once


CUT_SHORT = STEADY + ", end=(Phase.DONE, 6, '')"


@pytest.mark.parametrize(
    ("engine", "number", "code"),
    [
        (CUT_SHORT, signal.SIGTERM, 143),
        (CUT_SHORT, signal.SIGINT, 130),
        (STEADY, signal.SIGTERM, 0),
        (STEADY, signal.SIGINT, 0),
        (STEADY + ", end=(Phase.DONE, 7, '')", signal.SIGTERM, 7),
    ],
)
def test_a_signal_drains_and_says_so(engine: str, number: int, code: int) -> None:
    process = start(engine)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert "draining" in out
    assert "stops [30.0]" in err


def test_a_second_signal_ends_it_now() -> None:
    process = start("flows=3, stop_takes=60, end=(Phase.DONE, 7, '')")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    while "draining" not in process.stdout.readline():
        pass
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 3
    assert process.returncode == 7
    assert "stops [30.0, 0]" in err


def test_a_reader_that_goes_away_does_not_stop_the_replication() -> None:
    process = start(ENDS.replace("0.4", "1"))
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait(20) == 0, err
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_headless_never_imports_textual() -> None:
    process = start(ENDS)
    _, err = process.communicate(timeout=20)
    assert "stops [] False" in err


def read_all(fd: int) -> str:
    out = b""
    while True:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        out += data
    return out.decode(errors="replace")


def test_a_terminal_shows_a_live_status() -> None:
    main, side = pty.openpty()
    process = start(
        ENDS, stdout=side, stderr=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    )
    os.close(side)
    text = read_all(main)
    os.close(main)
    assert process.wait(20) == 0
    assert "FULL SYNC" in text
    assert "limiter" in text
    assert "\x1b[?25h" in text  # the cursor is back


def test_a_terminal_that_vanishes_leaves_the_replication_running() -> None:
    main, side = pty.openpty()
    process = start(
        STEADY,
        stdout=side,
        stdin=side,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"},
    )
    os.close(side)
    os.read(main, 1)
    process.send_signal(signal.SIGHUP)
    os.close(main)
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
