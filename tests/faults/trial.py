"""One trial: source, target, workload, and our program between them, which may be killed and started again."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.faults.targets import KINDS, Cluster, Standalone, TrialTarget
from tests.support.fault_source import FaultSource
from tests.support.program import Program
from tests.support.workload import Workload

both_targets = pytest.mark.parametrize("target_kind", KINDS, indirect=True)
cluster_in_full = pytest.mark.parametrize(
    "target_kind", ["standalone", pytest.param("cluster", marks=pytest.mark.full_only)], indirect=True
)
on_a_cluster = pytest.mark.parametrize("target_kind", ["cluster"], indirect=True)


class Trial:
    """`start`, `kill`, make faults, then `finish`, which compares."""

    def __init__(
        self,
        directory: Path,
        rng: random.Random,
        target: TrialTarget,
        arguments: Sequence[str],
        *,
        source: dict[str, Any] | None = None,
        rate: float = 3_000,
        flushes: bool = True,
    ) -> None:
        self.rng = rng
        self.target = target
        self.arguments = list(arguments)
        self.directory = directory
        self.source = FaultSource(**{"flows": 3, **(source or {})})
        self.workload = Workload(
            self.source.client, rng.randrange(1 << 30), rate=rate, flushes=flushes, databases=target.databases
        )
        self.program: Program
        self.said: list[str] = []
        self._full_syncs = 0
        self._checkpoints: dict[bytes, int] = {}

    def __enter__(self) -> Trial:
        self.target.begin()
        self.source.__enter__()
        self.workload.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.workload.stop()
        if hasattr(self, "program"):
            self.program.__exit__()
        self.source.__exit__()
        self.target.close()

    @property
    def standalone(self) -> Standalone:
        """The target, in a test of a single server."""
        assert isinstance(self.target, Standalone)
        return self.target

    @property
    def cluster(self) -> Cluster:
        """The target, in a test of a cluster."""
        assert isinstance(self.target, Cluster)
        return self.target

    # The program

    def start(self, *more: str, wait: bool = True) -> Program:
        arguments = [
            "--source",
            self.source.url,
            "--target",
            self.target.url,
            "--log-format",
            "text",
            *self.arguments,
            *more,
        ]
        self.program = Program(arguments, self.directory / "run")
        if wait:
            self.wait_moving()
        self._full_syncs = self._full_syncs or self.source.full_syncs
        return self.program

    def assert_resumed(self) -> None:
        """Nothing since the first `start` has cost a full sync. (A flush during the first one repeats it.)"""
        assert self.source.full_syncs == self._full_syncs

    def kill(self) -> None:
        self.program.process.kill()
        self._ended()

    def _ended(self) -> None:
        self.program.process.wait()
        self.said.append(self.program.output())
        self.program.__exit__()

    def position(self) -> int:
        """How far all checkpoints are together."""
        now: dict[bytes, int] = {}
        for server in self.target.servers:
            with server.client() as client:
                for key in client.keys("df2redis:*:flow:*"):
                    try:
                        found = re.search(rb'"lsn":(\d+)', client.get(key) or b"")
                        now[key] = int(found[1]) if found else 0
                    except redis.ResponseError:  # its slot is on its way
                        now[key] = self._checkpoints.get(key, 0)
        self._checkpoints = now
        return sum(now.values())

    def wait_moving(self, timeout: float = 30.0) -> float:
        """Until the checkpoints move; returns the seconds it took."""
        began = time.monotonic()
        first = self.position()
        while self.position() <= first:
            said = self.program.output()[-3000:] if hasattr(self, "program") else ""
            assert not said or self.program.process.poll() is None, said
            assert time.monotonic() - began < timeout, f"nothing moves:\n{said}"
            time.sleep(0.02)
        return time.monotonic() - began

    def pause(self, low: float, high: float) -> None:
        time.sleep(self.rng.uniform(low, high))

    # The end

    def finish(self, timeout: float = 60.0) -> None:
        """Stop the workload, wait until the program has applied everything, end it, compare."""
        self.workload.stop()
        assert self.program.process.poll() is None, self.program.output()[-3000:]
        try:
            self.source.wait_level(timeout)
        except AssertionError as why:
            raise AssertionError(f"{why}\n{self.program.output()[-3000:]}") from None
        self._wait_equal()
        self.program.signal(signal.SIGTERM)
        assert self.program.wait(40) == 0, self.program.output()[-3000:]
        self._ended()
        self.check()

    def _wait_equal(self) -> None:
        """Keys in doubt are read from the source again once all else is done; `check` judges."""
        for _ in range(10):
            if self.source.compare(self.target.endpoint).same:
                return
            time.sleep(0.5)

    def check(self) -> None:
        """Both sides are equal and nothing was said that should not be."""
        log = self.program.log()
        assert "Traceback" not in "".join(self.said) + log
        assert "LSN gap" not in log
        assert not self.program.dead_letters()
        self.compare()
        assert self.source.look_alike.crashes == 0

    def compare(self) -> None:
        compared = self.source.compare(self.target.endpoint)
        assert compared.keys > 10
        assert compared.same, f"{compared}\n" + "\n".join(map(str, compared.samples))
