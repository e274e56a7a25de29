"""What a run says at its end is true: ended early, with a target that stands still, refuses, or is only slow."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from df2redis_tui.replication.engine import Engine
from df2redis_tui.settings import Endpoint, Settings
from df2redis_tui.telemetry.snapshot import Phase, Verdict
from tests.support.fault_source import FaultSource
from tests.support.program import Program, wait_until
from tests.support.servers import Server

pytestmark = pytest.mark.real
KEYS = 30_203
Start = Callable[..., Program]


@pytest.fixture
def source() -> Iterator[FaultSource]:
    with FaultSource(flows=3) as it:
        yield it


def fill(source: FaultSource, keys: int = KEYS) -> None:
    with source.client() as client:
        pipe = client.pipeline(transaction=False)
        for i in range(keys):
            pipe.set(f"key:{i}", i)
        pipe.execute()


@contextlib.contextmanager
def writing(source: FaultSource) -> Iterator[None]:
    """A few hundred increments a second."""
    end = threading.Event()

    def write() -> None:
        with source.client() as client:
            while not end.wait(0.02):
                pipe = client.pipeline(transaction=False)
                for i in range(20):
                    pipe.incr(f"n:{i}")
                pipe.execute()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(20)


def copied(target: Server) -> int:
    """Keys of the source that the target holds."""
    return sum(1 for _ in target.client().scan_iter("key:*", count=5_000))


def assert_honest(program: Program, verdict: str, *words: str) -> dict[str, Any]:
    """The report, the log and the summary say the same, and nothing of it is a promise."""
    summary, said = program.summary(), " ".join(program.output().split())
    assert summary["verdict"] == verdict, said
    assert summary["exit_code"] == program.process.returncode
    for word in words:
        assert word in summary["outcome"]
        assert word in said
        assert word in program.log()
    if verdict != "complete":
        assert "everything was copied" not in said + program.log()
        assert "not copied none" not in said
        assert summary["not_copied"] not in ("", "none", "nothing")
        assert "run the same command again" in summary["hint"]
    return summary


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_full_sync_that_is_cut_short_says_how_far_it_came(
    number: signal.Signals, code: int, source: FaultSource, any_target: Server, start: Start
) -> None:
    fill(source)
    program = start(["--source", source.url, "--target", any_target.url, "--rate-limit", "1000"])
    wait_until(lambda: copied(any_target) > 2_000)
    program.signal(number)
    assert program.wait(15) == code, program.output()
    summary = assert_honest(program, "interrupted", "interrupted: ", f" of ~{KEYS:,} keys")
    assert 0 < copied(any_target) < KEYS
    assert abs(summary["keys_copied"] - copied(any_target)) <= 3  # a batch may end in the middle of a block
    assert summary["snapshot_confirmed"] is False
    assert "begins the full sync again" in summary["hint"]


def test_stable_sync_is_shown_when_the_target_has_the_snapshot(
    source: FaultSource, any_target: Server, start: Start
) -> None:
    """All of it is read in a moment; a rate limit holds the target back."""
    fill(source, 6_000)
    program = start(
        ["--source", source.url, "--target", any_target.url, "--rate-limit", "1500", "--status-interval", "200ms"]
    )
    program.wait_for("stable sync")
    assert copied(any_target) == 6_000
    full_sync = [line for line in program.output().splitlines() if " full sync · " in line]
    assert any("%" in line for line in full_sync[1:])
    assert source.look_alike.journal.sessions  # which has been in its stable sync for seconds
    program.signal(signal.SIGTERM)
    assert program.wait(15) == 0, program.output()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_end_with_everything_confirmed_is_0(
    number: signal.Signals, source: FaultSource, any_target: Server, start: Start
) -> None:
    fill(source, 3_000)
    program = start(["--source", source.url, "--target", any_target.url])
    with writing(source):
        program.wait_for("stable sync")
        wait_until(lambda: int(any_target.client().get("n:1") or 0) > 50)
    source.wait_level()
    program.signal(number)
    assert program.wait(20) == 0, program.output()
    summary = assert_honest(program, "complete", "everything was copied")
    assert (summary["lag_records"], summary["commands_waiting"], summary["not_copied"]) == (0, 0, "none")
    assert any_target.client().get("n:1") == source.client().get("n:1")


def test_a_target_that_stands_still_in_stable_sync(source: FaultSource, any_target: Server, start: Start) -> None:
    fill(source, 1_000)
    program = start(["--source", source.url, "--target", any_target.url, "--status-interval", "200ms"])
    with writing(source):
        program.wait_for("stable sync")
        any_target.process.send_signal(signal.SIGSTOP)
        program.wait_for("the target has")  # ... confirmed nothing, or not answered, for so long
        program.signal(signal.SIGTERM)
        program.wait_for("draining")
        program.signal(signal.SIGTERM)
        assert program.wait(15) == 7, program.output()
        any_target.process.send_signal(signal.SIGCONT)
    summary = assert_honest(
        program,
        "unconfirmed",
        "the drain was cut short",
        "commands not confirmed",
        "behind",
    )
    assert summary["lag_records"] > 0
    assert "goes on from the last checkpoint" in summary["hint"]


def test_a_target_that_is_full_in_the_full_sync(source: FaultSource, any_target: Server, start: Start) -> None:
    fill(source)
    any_target.client().config_set("maxmemory", "2mb")
    program = start(["--source", source.url, "--target", any_target.url, "--status-interval", "200ms"])
    program.wait_for("the target refuses for")
    assert "healthy" not in program.output().splitlines()[-1]
    program.signal(signal.SIGINT)
    program.wait_for("draining")
    program.signal(signal.SIGINT)
    assert program.wait(15) == 7, program.output()
    any_target.client().config_set("maxmemory", "0")
    assert_honest(program, "unconfirmed", "the drain was cut short", f" of ~{KEYS:,} keys")


def test_a_source_that_stands_still_is_not_known_to_be_copied(
    source: FaultSource, any_target: Server, start: Start
) -> None:
    fill(source, 1_000)
    program = start(["--source", source.url, "--target", any_target.url, "--status-interval", "200ms"])
    program.wait_for("stable sync")
    release = threading.Event()
    source.do(lambda: release.wait(60))  # its loop answers nobody
    try:
        program.wait_for("the source has not answered")
        program.signal(signal.SIGTERM)
        assert program.wait(15) == 143, program.output()
    finally:
        release.set()
    assert_honest(program, "interrupted", "an unknown number of records behind")


@pytest.mark.parametrize("peer", ["source", "target"])
def test_ctrl_c_while_connecting_ends_it_at_once(peer: str, any_target: Server, start: Start) -> None:
    with FaultSource(flows=1) as source:
        frozen = threading.Event()
        if peer == "source":
            source.do(lambda: frozen.wait(60))
        else:
            any_target.process.send_signal(signal.SIGSTOP)
        try:
            program = start(["--source", source.url, "--target", any_target.url])
            program.wait_for("handshake" if peer == "source" else "connecting")
            program.signal(signal.SIGINT)
            assert program.wait(5) == 130, program.output()
        finally:
            frozen.set()
            any_target.process.send_signal(signal.SIGCONT)
    summary = assert_honest(program, "interrupted", "interrupted: 0 of ")
    assert "begins where this run did" in summary["hint"]


def test_keys_that_are_read_again_are_not_keys_of_the_full_sync(
    source: FaultSource, any_target: Server, start: Start
) -> None:
    fill(source, 500)
    program = start(["--source", source.url, "--target", any_target.url])
    program.wait_for("stable sync")
    with source.client() as client:
        for i in range(40):
            client.execute_command("BITFIELD", f"bits:{i}", "OVERFLOW", "SAT", "INCRBY", "u8", "0", "200")
    wait_until(lambda: any_target.client().exists(*(f"bits:{i}" for i in range(40))) == 40)
    source.wait_level()
    program.signal(signal.SIGTERM)
    assert program.wait(20) == 0, program.output()
    summary = program.summary()
    assert summary["keys_copied"] == 500
    assert summary["keys_by_type"] == {"string": 500}
    assert summary["rereads"] >= 40
    assert summary["rereads_waiting"] == 0


def test_a_paused_run_is_whole_only_when_all_that_was_read_is_confirmed(
    source: FaultSource, any_target: Server, tmp_path: Path
) -> None:
    fill(source, 500)
    engine = Engine(
        Settings(
            Endpoint((("127.0.0.1", source.look_alike.port),)),
            Endpoint((("127.0.0.1", any_target.port),)),
            state_dir=tmp_path / "state",
        )
    )
    engine.start()
    wait_until(lambda: engine.snapshot().phase is Phase.STABLE_SYNC)
    engine.pause()
    with source.client() as client:
        for i in range(300):
            client.incr(f"n:{i}")
    wait_until(lambda: (engine.snapshot().lag_records or 0) >= 300)
    snap = engine.snapshot()
    assert snap.phase is Phase.PAUSED
    assert snap.outcome.verdict is Verdict.RUNNING
    any_target.process.send_signal(signal.SIGSTOP)
    try:
        engine.request_stop(0.5)
        assert engine.wait(10)
    finally:
        any_target.process.send_signal(signal.SIGCONT)
    ended = engine.snapshot()
    assert (ended.outcome.verdict, ended.exit_code) == (Verdict.UNCONFIRMED, 7)
    assert "300 records behind" in ended.outcome.text
