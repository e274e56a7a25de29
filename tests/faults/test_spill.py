"""`--backpressure spill`: a target that stands still costs the source nothing; and disks that are full."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from df2redis_tui.replication.engine import Engine
from df2redis_tui.settings import Endpoint, Settings, TuningSettings
from tests.faults.trial import Trial
from tests.support.program import wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
Begin = Callable[..., Trial]
Rounds = Callable[[int, int], int]
NARROW = {"stall_timeout": 1.5, "output_limit": 64 * 1024, "backlog": 400_000}


@contextmanager
def big_appends(it: Trial, megabytes_per_second: float = 12) -> Iterator[None]:
    """Much more than the kernel's buffers and a small channel take."""
    stop = threading.Event()

    def write() -> None:
        with it.source.client() as client:
            while not stop.is_set():
                pipe = client.pipeline(transaction=False)
                for i in range(100):
                    pipe.append(f"big:{i % 7}", f"{i}".ljust(8_000, "."))
                    pipe.setrange(f"big:{i % 7}", 0, "x")
                pipe.delete(f"big:{it.rng.randrange(7)}")
                pipe.execute()
                stop.wait(0.8 / megabytes_per_second)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    yield
    stop.set()
    writer.join(60)


def latency(it: Trial) -> float:
    with it.source.client() as client:
        began = time.monotonic()
        client.set("probe", 1)
        return time.monotonic() - began


def test_a_target_that_stands_still_does_not_end_the_session(trial: Begin, rounds: Rounds) -> None:
    it = trial("--backpressure", "spill", "--channel-bytes", "1MiB", source=NARROW)
    it.start()
    with big_appends(it):
        it.standalone.server.process.send_signal(signal.SIGSTOP)
        slowest = 0.0
        until = time.monotonic() + rounds(6, 60)
        while time.monotonic() < until:
            slowest = max(slowest, latency(it))
            time.sleep(0.2)
        spooled = sum(f.stat().st_size for f in (it.directory / "run" / "state").rglob("*.spool") if f.is_file())
        it.standalone.server.process.send_signal(signal.SIGCONT)
    it.finish(120)
    assert spooled > 1024**2
    assert it.source.look_alike.replication.sessions_begun == 1
    assert slowest < 1.0, "the source's own clients waited"
    assert not list((it.directory / "run" / "state").rglob("*.spool"))


@pytest.mark.full_only
def test_a_spool_that_is_full_blocks_and_recovers(trial: Begin, rounds: Rounds) -> None:
    it = trial("--backpressure", "spill", "--channel-bytes", "1MiB", "--spool-bytes", "2MiB", source=NARROW)
    it.start()
    with big_appends(it, 60):
        it.standalone.server.process.send_signal(signal.SIGSTOP)
        it.program.wait_for("FLOW is not read", 60)
        time.sleep(rounds(3, 20))
        it.standalone.server.process.send_signal(signal.SIGCONT)
    it.finish(120)


def test_a_paused_engine_keeps_its_session(trial: Begin, rounds: Rounds, tmp_path: Path) -> None:
    it = trial(source=NARROW)
    settings = Settings(
        source=Endpoint((("127.0.0.1", it.source.look_alike.port),)),
        target=Endpoint((("127.0.0.1", it.standalone.port),)),
        state_dir=tmp_path / "state",
        backpressure="spill",
        tuning=TuningSettings(channel_bytes=1024**2),
    )
    engine = Engine(settings)
    engine.start()
    try:
        it.wait_moving()
        with big_appends(it):
            engine.pause()
            time.sleep(rounds(5, 60))
            engine.resume()
        it.workload.stop()
        it.source.wait_level(120)
    finally:
        engine.request_stop()
        assert engine.wait(40)
    assert engine.snapshot().exit_code == 0
    assert it.source.look_alike.replication.sessions_begun == 1
    it.compare()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """1 MiB."""
    place = tmp_path / "run" / "state"
    place.mkdir(parents=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.full_only
def test_a_full_disk_under_the_state_dir(trial: Begin, tiny_disk: Path) -> None:
    it = trial("--backpressure", "spill", source=NARROW)
    it.start()
    (tiny_disk / "filler").write_bytes(b"x" * (1024**2 - 64 * 1024))
    with pytest.raises(OSError, match="No space"):
        (tiny_disk / "more").write_bytes(b"x" * 1024**2)
    with big_appends(it):
        it.standalone.server.process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        it.standalone.server.process.send_signal(signal.SIGCONT)
    wait_until(lambda: "State file" in it.program.log(), 20)
    it.kill()
    it.start()
    it.finish(120)
