"""df2redis-tui as a user runs it: a process, its output, its files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.support.processes import spawn, stop


class Program:
    """A running df2redis-tui; use it as a context manager. All its files are below `directory`."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        directory: Path,
        env: Mapping[str, str] | None = None,
        *,
        own_group: bool = False,  # which job control can stop, wherever the tests themselves run
        module: str = "df2redis_tui",  # the program, with words that stand in front of the arguments
        limits: Mapping[int, int] | None = None,  # resource → its hard limit
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.state_dir = directory / "state"
        self.log_dir = directory / "log"
        self.summary_file = directory / "summary.json"
        self.output_file = directory / "output.txt"
        self.peak_rss = 0  # bytes, sampled
        self.cpu_seconds = 0.0  # user + system, at the end
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("DF2REDIS_")}
        argv: list[str | Path] = [sys.executable, "-m", *module.split(), *arguments, "--no-ui"]
        argv += ["--state-dir", self.state_dir, "--log-dir", self.log_dir, "--summary", self.summary_file]
        self.argv = [str(a) for a in argv]
        self._output = self.output_file.open("wb")
        self._before = os.times()
        self.started_at = time.monotonic()
        self.process = spawn(
            argv,
            stdout=self._output,
            env=inherited | dict(env or {}),
            cwd=directory,
            own_group=own_group,
            limits=limits,
        )
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        stop(self.process)
        self._output.close()
        self._watcher.join(5)

    def wait(self, timeout: float = 60.0) -> int:
        """The exit code; a program that takes longer is killed and what it said is the error."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"not done after {timeout:g} s. It said:\n{self.output()[-4000:]}") from None
        self._watcher.join(5)
        return code

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def output(self) -> str:
        """Everything on stdout and stderr so far."""
        return self.output_file.read_text(errors="replace")

    def log(self) -> str:
        """Everything in the log directory so far."""
        return (
            "".join(p.read_text(errors="replace") for p in sorted(self.log_dir.glob("*")))
            if self.log_dir.is_dir()
            else ""
        )

    def summary(self) -> dict[str, Any]:
        """The JSON of --summary."""
        summary: dict[str, Any] = json.loads(self.summary_file.read_text())
        return summary

    def dead_letters(self) -> list[dict[str, Any]]:
        """What could not be copied."""
        file = self.state_dir / "dead-letters.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def wait_for(self, text: str, timeout: float = 30.0) -> None:
        """Until the log or the output has `text`."""
        give_up = time.monotonic() + timeout
        while text not in self.log() and text not in self.output():
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode} before {text!r}:\n{self.output()[-4000:]}")
            if time.monotonic() > give_up:
                raise AssertionError(f"no {text!r} after {timeout:g} s:\n{self.output()[-4000:]}")
            time.sleep(0.02)

    def _watch(self) -> None:
        try:
            seen = psutil.Process(self.process.pid)
            while self.process.poll() is None:
                with seen.oneshot():
                    self.peak_rss = max(self.peak_rss, seen.memory_info().rss)
                    times = seen.cpu_times()
                    self.cpu_seconds = times.user + times.system
                time.sleep(0.02)
        except psutil.Error:
            pass


def run_program(arguments: Sequence[str | Path], directory: Path, *, timeout: float = 60.0, **how: Any) -> Program:
    """Run it to its end; `process.returncode` is the exit code."""
    with Program(arguments, directory, **how) as program:
        program.wait(timeout)
    return program


def copy_arguments(source: str, target: str, *more: str) -> list[str]:
    """The command line most tests use: end when caught up, go on after what can't be copied."""
    return ["--source", source, "--target", target, "--until", "caught-up", "--on-error", "skip", *more]


def wait_until(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    """Poll until it holds; an AssertionError when it does not in time."""
    give_up = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < give_up, f"it did not happen within {timeout:g} s"
        time.sleep(0.02)
