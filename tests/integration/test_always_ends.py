"""A signal that asks for the end ends the process within its deadline, whatever hangs in it, and claims nothing."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support import misbehaving
from tests.support.player import Player, Script
from tests.support.program import Program, wait_until
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.synthetic import STRING, entry, flow, record, string

pytestmark = pytest.mark.real

SCRIPT = Script((flow([entry(STRING, b"k:%03d" % i, string(b"v")) for i in range(500)], [record(b"INCR", b"n")] * 10),))
Start = Callable[..., Program]
PATIENCE = 20.0  # seconds; the machine is busy


def following(start: Start, player: Player, target: Server, *more: str, **how: str) -> Program:
    program = start(["--source", player.url, "--target", target.url, *more], **how)
    wait_until(lambda: player.last_acks() == [11])
    return program


@pytest.mark.parametrize("kind", ["loop", "task", "cancel"])
@pytest.mark.parametrize("signals", [1, 3])
def test_a_signal_ends_it_whatever_hangs(
    kind: str, signals: int, any_target: Server, start: Start, tmp_path: Path
) -> None:
    with Player(SCRIPT) as player:
        program = following(start, player, any_target, module=f"tests.support.misbehaving {kind}")
        (program.directory / "go").touch()
        wait_until(lambda: (program.directory / "gone").exists())
        began = time.monotonic()
        for _ in range(signals):
            program.signal(signal.SIGTERM)
        code = program.wait(PATIENCE)
    lasted = time.monotonic() - began
    assert code == (1 if kind == "cancel" else 7), program.output()
    if signals == 3:
        assert lasted < misbehaving.DRAIN + misbehaving.GRACE + 1.5
    if kind != "cancel":
        assert "ended by force with exit code 7" in program.output()
        assert "ended by force" in program.log()
        assert "stacks" in program.log()
    assert "verdict complete" not in program.output()


def test_a_defect_in_a_task_ends_the_run_by_itself(any_target: Server, start: Start) -> None:
    with Player(SCRIPT) as player:
        program = following(start, player, any_target, module="tests.support.misbehaving cancel")
        (program.directory / "go").touch()
        assert program.wait(PATIENCE) == 1, program.output()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF])
def test_other_signals_do_not_end_it(number: signal.Signals, any_target: Server, start: Start) -> None:
    with Player(SCRIPT) as player:
        program = following(start, player, any_target)
        program.wait_for("stable sync · ")
        program.signal(number)
        asks = number in (signal.SIGUSR1, signal.SIGUSR2)
        program.wait_for("confirmed_lsn=11" if asks else f"{number.name} came, it means nothing here and is ignored")
        program.signal(signal.SIGTERM)
        assert program.wait(60) == 0, program.output()
    assert program.summary()["verdict"] == "complete"


def test_quit_drains(any_target: Server, start: Start) -> None:
    with Player(SCRIPT) as player:
        program = following(start, player, any_target)
        program.signal(signal.SIGQUIT)
        assert program.wait(60) == 0, program.output()
    assert "SIGQUIT: draining" in program.output()


def test_a_second_without_file_descriptors_is_lived_through(any_target: Server, start: Start) -> None:
    with Player(SCRIPT) as player, Proxy(any_target.port) as proxy:
        program = start(["--source", player.url, "--target", f"redis://127.0.0.1:{proxy.port}"])
        wait_until(lambda: player.last_acks() == [11])
        pid = program.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, before[1]))
        proxy.cut()
        program.wait_for("Too many open files")
        time.sleep(1.0)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        any_target.client().delete("n")
        player.lose()  # the next session sends everything again
        wait_until(lambda: any_target.client().get("n") == b"10", 60)
        program.signal(signal.SIGTERM)
        assert program.wait(60) in (0, 143), program.output()
    assert "Traceback" not in program.log() + program.output()


def test_idle_clients_of_the_metrics_do_not_hold_up_a_copy(any_target: Server, start: Start, unused_port: int) -> None:
    with Player(SCRIPT) as player, contextlib.ExitStack() as clients:
        program = following(start, player, any_target, "--metrics", f"127.0.0.1:{unused_port}")
        for _ in range(300):
            clients.enter_context(socket.create_connection(("127.0.0.1", unused_port), timeout=30))
        assert psutil.Process(program.process.pid).num_fds() < 60
        program.signal(signal.SIGTERM)
        assert program.wait(60) == 0, program.output()


def test_too_few_file_descriptors_are_one_clear_error(any_target: Server, run: Callable[..., Program]) -> None:
    many = Script(tuple(flow([], []) for _ in range(100)))
    with Player(many) as player:
        program = run(
            ["--source", player.url, "--target", any_target.url, "--until", "caught-up"],
            limits={resource.RLIMIT_NOFILE: 200},
        )
    assert program.process.returncode == 2, program.output()
    assert "100 FLOWs of the source and 1 target server need 234 file descriptors" in program.output()
    assert "this process may have 200" in program.output()
    assert "Traceback" not in program.output() + program.log()
