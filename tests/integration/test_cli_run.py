"""How a run ends: exit codes, one clear line, orderly drains on signals, and no secret anywhere."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.player import Behaviour, Player, Script
from tests.support.program import Program, copy_arguments, wait_until
from tests.support.proxy import Proxy
from tests.support.servers import Server, available_targets, start_server
from tests.support.synthetic import STRING, entry, flow, record, string

pytestmark = pytest.mark.real

KEYS = 20_000
SNAPSHOT = [entry(STRING, b"k:%06d" % i, string(b"value %d" % i)) for i in range(KEYS)]
JOURNAL = [record(b"SET", b"j:%06d" % i, b"1") for i in range(1000)]
SCRIPT = Script((flow(SNAPSHOT, JOURNAL), flow([entry(STRING, b"other", string(b"x"))], [record(b"INCR", b"n")] * 10)))
Run = Callable[..., Program]


def assert_one_clear_line(program: Program, *words: str) -> None:
    said = program.output()
    assert "Traceback" not in said + program.log()
    failure = [line for line in said.splitlines() if all(w.lower() in line.lower() for w in words)]
    assert failure, f"no line with {words} in:\n{said}"


def test_a_copy_ends_with_0_and_a_report(target: Server, run: Run) -> None:
    with Player(SCRIPT) as player:
        program = run(copy_arguments(player.url, target.url))
    assert program.process.returncode == 0, program.output()
    assert target.client().dbsize() >= KEYS + 1000 + 2
    assert target.client().get("n") == b"10"
    summary = program.summary()
    assert summary["version"] == 1
    assert summary["verdict"] == "complete"
    assert summary["keys_copied"] == KEYS + 1
    assert summary["entries"] == KEYS + 1 + 1010
    assert summary["exit_code"] == 0
    assert summary["dead_letters"] == 0
    assert player.last_acks() == [1001, 11]
    assert player.violations == []


def test_snapshot_mode_ends_after_the_full_sync(any_target: Server, run: Run) -> None:
    with Player(SCRIPT) as player:
        program = run(["--source", player.url, "--target", any_target.url, "--mode", "snapshot"])
    assert program.process.returncode == 0, program.output()
    assert player.violations == []
    keys = {k for k in any_target.client().scan_iter() if not k.startswith(b"df2redis")}
    assert {k for k in keys if k.startswith(b"k:")} == {b"k:%06d" % i for i in range(KEYS)}
    assert b"other" in keys


def test_json_lines_for_programs(any_target: Server, run: Run) -> None:
    with Player(SCRIPT) as player:
        program = run(copy_arguments(player.url, any_target.url, "--log-format", "json"))
    lines = [line for line in program.output().splitlines() if line.startswith("{")]
    assert lines
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_source_refused(any_target: Server, run: Run, unused_port: int) -> None:
    program = run(copy_arguments(f"dragonfly://127.0.0.1:{unused_port}", any_target.url, "--no-reconnect"))
    assert program.process.returncode == 3, program.output()
    assert_one_clear_line(program, f"127.0.0.1:{unused_port}")


def test_source_is_no_dragonfly(any_target: Server, run: Run) -> None:
    with start_server(available_targets()[0]) as redis:
        program = run(copy_arguments(f"dragonfly://127.0.0.1:{redis.port}", any_target.url))
    assert program.process.returncode == 3, program.output()
    assert_one_clear_line(program, "dragonfly", str(redis.port))


def test_source_password_wrong(any_target: Server, run: Run) -> None:
    with Player(SCRIPT, behaviour=Behaviour(password="right")) as player:
        program = run(copy_arguments(player.url, any_target.url), env={"DF2REDIS_SOURCE_PASSWORD": "not-the-right-one"})
    assert program.process.returncode == 3, program.output()
    assert_one_clear_line(program, "password")
    assert "not-the-right-one" not in program.output() + program.log() + program.summary_file.read_text()


def test_source_password_missing(any_target: Server, run: Run) -> None:
    with Player(SCRIPT, behaviour=Behaviour(password="right")) as player:
        program = run(copy_arguments(player.url, any_target.url))
    assert program.process.returncode == 3, program.output()
    assert_one_clear_line(program, "password")


@pytest.mark.parametrize("after", [0, 100, 50_000], ids="{} bytes".format)
def test_source_lost_in_the_full_sync(after: int, any_target: Server, run: Run) -> None:
    with Player(SCRIPT, behaviour=Behaviour(cut_after={0: after})) as player:
        program = run(copy_arguments(player.url, any_target.url, "--no-reconnect"))
    assert program.process.returncode == 3, program.output()
    assert_one_clear_line(program, "source")
    assert not player.acks[0] or player.acks[0][-1][1] == 0


def test_source_lost_in_stable_sync(any_target: Server, start: Run) -> None:
    with Player(SCRIPT) as player:
        program = start(["--source", player.url, "--target", any_target.url, "--no-reconnect"])
        wait_until(lambda: player.last_acks() == [1001, 11])
        player.lose(flow=1)
        assert program.wait() == 3, program.output()
    assert_one_clear_line(program, "source")
    assert any_target.client().get("n") == b"10"


def test_target_down(run: Run, unused_port: int) -> None:
    with Player(SCRIPT) as player:
        program = run(copy_arguments(player.url, f"redis://127.0.0.1:{unused_port}"))
    assert program.process.returncode == 4, program.output()
    assert_one_clear_line(program, f"127.0.0.1:{unused_port}")


@pytest.mark.parametrize("password", ["", "not-the-right-one"], ids=["missing", "wrong"])
def test_target_password(password: str, run: Run) -> None:
    with Player(SCRIPT) as player, start_server(available_targets()[0], password="right") as server:
        program = run(
            copy_arguments(player.url, f"redis://127.0.0.1:{server.port}"),
            env={"DF2REDIS_TARGET_PASSWORD": password} if password else {},
        )
    assert program.process.returncode == 4, program.output()
    assert_one_clear_line(program, "password")
    assert "not-the-right-one" not in program.output() + program.log()


def test_an_unknown_key_of_the_file_names_the_nearest(tmp_path: Path, run: Run) -> None:
    config = tmp_path / "copy.toml"
    config.write_text("[tuning]\nbatch_sise = 5\n")
    program = run(["--config", str(config), "--source", "dragonfly://h:1", "--target", "redis://h:2"])
    assert program.process.returncode == 2
    assert_one_clear_line(program, "batch_sise", "batch_size")


def test_secrets_never_show(run: Run, start: Run, tmp_path: Path) -> None:
    """URLs with passwords; also nothing this program starts may carry them in its arguments."""
    with (
        Player(SCRIPT, behaviour=Behaviour(password="s3cret-source", hold_stable=True)) as player,
        start_server(available_targets()[0], password="s3cret-target") as server,
    ):
        source = player.url.replace("://", "://:s3cret-source@")
        program = start(copy_arguments(source, server.url, "--log-format", "json"))
        assert player.stable_started.wait(30), program.output()
        for child in psutil.Process(program.process.pid).children(recursive=True):
            assert "s3cret" not in " ".join(child.cmdline())
        player.release_stable()
        assert program.wait() == 0, program.output()
    for text in (program.output(), program.log(), program.summary_file.read_text()):
        assert "s3cret" not in text
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"s3cret" not in file.read_bytes(), file


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_drains_and_ends(number: signal.Signals, any_target: Server, start: Run) -> None:
    with Player(SCRIPT) as player, Proxy(any_target.port, delay=0.05) as slow:
        program = start(["--source", player.url, "--target", f"redis://127.0.0.1:{slow.port}"])
        assert player.played.wait(30), program.output()
        wait_until(lambda: all(player.acks[f] for f in (0, 1)))
        program.signal(number)
        assert program.wait() == 0, program.output()
        assert "Traceback" not in program.output() + program.log()
        acknowledged = player.last_acks()
    # Everything acknowledged is there.
    client = any_target.client()
    assert acknowledged[0] is not None
    assert all(client.exists(b"j:%06d" % i) for i in range(acknowledged[0] - 1))
    # What was read and is newer than the last ACK was drained.
    assert all(client.exists(b"j:%06d" % i) for i in range(1000))
    assert program.summary()["verdict"] == "complete"


def test_a_second_signal_ends_it_now(any_target: Server, start: Run) -> None:
    with Player(SCRIPT) as player, Proxy(any_target.port, rate=20_000) as proxy:
        program = start(["--source", player.url, "--target", f"redis://127.0.0.1:{proxy.port}", "--batch-size", "100"])
        wait_until(lambda: any_target.client().exists("k:000000") == 1)
        proxy.hold_replies()
        time.sleep(0.3)
        program.signal(signal.SIGTERM)
        time.sleep(1)
        if program.process.poll() is None:
            program.signal(signal.SIGTERM)
        began = time.monotonic()
        assert program.wait(10) == 7, program.output()
        assert time.monotonic() - began < 5


def test_nothing_is_acknowledged_before_the_target_confirmed(any_target: Server, start: Run) -> None:
    with Player(SCRIPT, behaviour=Behaviour(hold_stable=True)) as player, Proxy(any_target.port) as proxy:
        start(["--source", player.url, "--target", f"redis://127.0.0.1:{proxy.port}"])
        assert player.stable_started.wait(30)
        wait_until(lambda: any_target.client().dbsize() > KEYS)
        time.sleep(0.2)
        proxy.hold_replies()
        player.release_stable()
        wait_until(lambda: any_target.client().exists("j:000999") == 1)
        time.sleep(2.5)  # two rounds of ACKs
        assert all(value is None or value <= 1 for value in player.last_acks()), player.last_acks()
        proxy.release_replies()
        wait_until(lambda: player.last_acks() == [1001, 11])
