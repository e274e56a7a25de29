"""One trial: source, target, workload, and our program between them, which may be killed and started again."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from df2redis_tui.settings import Endpoint
from tests.support.fault_source import FaultSource
from tests.support.processes import free_port
from tests.support.program import Program
from tests.support.servers import Server, start_server
from tests.support.workload import Workload

DURABLE = ("--appendfsync", "always")


class Trial:
    """`start`, `kill`, make faults, then `finish`, which compares."""

    def __init__(
        self,
        directory: Path,
        rng: random.Random,
        kind: str,
        arguments: Sequence[str],
        *,
        source: dict[str, Any] | None = None,
        rate: float = 3_000,
        flushes: bool = True,
    ) -> None:
        self.rng = rng
        self.kind = kind
        self.arguments = list(arguments)
        self.directory = directory
        self.port = free_port()
        self.source = FaultSource(**{"flows": 3, **(source or {})})
        self.workload = Workload(self.source.client, rng.randrange(1 << 30), rate=rate, flushes=flushes)
        self.server: Server
        self.program: Program
        self.said: list[str] = []
        self._server_stack = contextlib.ExitStack()
        self._data = directory / "target"

    def __enter__(self) -> Trial:
        self._data.mkdir()
        self.start_target()
        self.source.__enter__()
        self.workload.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.workload.stop()
        if hasattr(self, "program"):
            self.program.__exit__()
        self.source.__exit__()
        self._server_stack.close()

    # The target

    @property
    def target(self) -> Endpoint:
        return Endpoint((("127.0.0.1", self.port),))

    def start_target(self) -> None:
        options = ("--dir", str(self._data), *DURABLE)
        self.server = self._server_stack.enter_context(
            start_server(self.kind, port=self.port, appendonly=True, options=options)
        )

    def crash_target(self) -> None:
        self.server.process.kill()
        self.server.process.wait()

    def drop_target_connections(self) -> None:
        with self.server.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    # The program

    def start(self, *more: str, wait: bool = True) -> Program:
        target = f"redis://127.0.0.1:{self.port}"
        arguments = ["--source", self.source.url, "--target", target, "--log-format", "text", *self.arguments, *more]
        self.program = Program(arguments, self.directory / "run")
        if wait:
            self.wait_moving()
        return self.program

    def kill(self) -> None:
        self.program.process.kill()
        self._ended()

    def _ended(self) -> None:
        self.program.process.wait()
        self.said.append(self.program.output())
        self.program.__exit__()

    def position(self) -> int:
        """How far all checkpoints are together."""
        total = 0
        with self.server.client() as client:
            for key in client.keys("df2redis:*:flow:*"):
                found = re.search(rb'"lsn":(\d+)', client.get(key) or b"")
                total += int(found[1]) if found else 0
        return total

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
        self.program.signal(signal.SIGTERM)
        assert self.program.wait(40) == 143, self.program.output()[-3000:]
        self._ended()
        self.check()

    def check(self) -> None:
        """Both sides are equal and nothing was said that should not be."""
        log = self.program.log()
        assert "Traceback" not in "".join(self.said) + log
        assert "LSN gap" not in log
        assert not self.program.dead_letters()
        self.compare()
        assert self.source.look_alike.crashes == 0

    def compare(self) -> None:
        compared = self.source.compare(self.target)
        assert compared.keys > 10
        assert compared.same, f"{compared}\n" + "\n".join(map(str, compared.samples))
