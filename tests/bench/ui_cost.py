"""What the application costs, measured in a real pseudo-terminal: CPU, bytes, first paint, key to paint.

    python -m tests.bench.ui_cost [--seconds 10]

The engine is the tests' fake one, on its own thread; CPU is that of the main thread (where Textual's loop runs) and of
the thread that writes to the terminal, from /proc/PID/task/*/schedstat. Bytes are what came out of the terminal.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Terminal:
    """The program in a pty of a size; `drain` reads what it draws."""

    def __init__(self, options: dict[str, object], width: int, height: int, kind: str = "tui") -> None:
        self.main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
        env.pop("NO_COLOR", None)
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.ui.program", kind, json.dumps(options)],
            cwd=ROOT,
            env=env,
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
        )
        os.close(side)
        self.seen = b""

    def drain(self, seconds: float, until: bytes | None = None) -> int:
        """Read for so long, or until a text comes; returns the bytes read."""
        end = time.monotonic() + seconds
        count = 0
        while (left := end - time.monotonic()) > 0:
            if select.select([self.main], [], [], left)[0]:
                try:
                    data = os.read(self.main, 1 << 16)
                except OSError:
                    break
                count += len(data)
                self.seen = (self.seen + data)[-200_000:]
                if until is not None and until in self.seen:
                    break
        return count

    def key(self, text: str) -> None:
        os.write(self.main, text.encode())

    def cpu(self) -> float:
        """Seconds used by all threads but the engine's, as the scheduler counts them (in nanoseconds)."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            if (task / "comm").read_text().strip() != "engine":
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.main)


def steady(
    label: str, options: dict[str, object], width: int, height: int, seconds: float, keys: str = "", warm: float = 0
) -> str:
    terminal = Terminal(options, width, height)
    try:
        terminal.drain(3.0)
        for key in keys:
            terminal.key(key)
            terminal.drain(1.0)
        terminal.drain(warm)
        before, began = terminal.cpu(), time.monotonic()
        count = terminal.drain(seconds)
        took = time.monotonic() - began
        cpu = (terminal.cpu() - before) / took
        return f"{label:<58} {cpu * 100:6.2f} % CPU  {count / took / 1024:8.1f} KiB/s"
    finally:
        terminal.close()


def first_paint(options: dict[str, object], runs: int = 5) -> str:
    times = []
    for _ in range(runs):
        terminal = Terminal(options, 120, 40)
        terminal.drain(10.0, b"FLOW 0")
        times.append(time.monotonic() - terminal.began)
        terminal.close()
    label = "first paint after the command (5 runs)"
    return f"{label:<58} median {statistics.median(times):.2f} s, worst {max(times):.2f} s"


def key_to_paint(options: dict[str, object], presses: int, label: str) -> str:
    """From writing a key to the first byte the terminal gets, at random times between two looks at the engine."""
    terminal = Terminal(options, 120, 40)
    times = []
    try:
        terminal.drain(3.0)
        for index in range(presses):
            terminal.drain(0.21 + (index % 7) * 0.013)
            began = time.monotonic()
            terminal.key("\x1b[C" if index % 2 == 0 else "\x1b[D")
            if select.select([terminal.main], [], [], 5.0)[0]:
                times.append(time.monotonic() - began)
        times.sort()
        p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
        return f"{label:<58} median {statistics.median(times) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, n={len(times)}"
    finally:
        terminal.close()


def turns(kind: str, seconds: float) -> float:
    """Turns per second of an engine thread that is pure Python and never waits, behind a front end."""
    with tempfile.TemporaryDirectory() as directory:
        beats = Path(directory) / "beats"
        options: dict[str, object] = {"engine": {"flows": 16, "busy": True, "every": 0.45}, "beats": str(beats)}
        terminal = Terminal(options, 120, 40, kind=kind)
        try:
            terminal.drain(3.0)
            before = beats.read_text().split()[-2:]
            terminal.drain(seconds)
            after = beats.read_text().split()[-2:]
            return (int(after[1]) - int(before[1])) / (float(after[0]) - float(before[0]))
        finally:
            terminal.close()


def throughput(seconds: float, rounds: int = 3) -> str:
    """Alternating, so that a noisy machine is noisy to both."""
    pairs = [(turns("tui", seconds), turns("headless", seconds)) for _ in range(rounds)]
    ratio = statistics.median(tui / headless for tui, headless in pairs)
    label = f"engine with the application : headless ({rounds} rounds)"
    return f"{label:<58} median {ratio:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--presses", type=int, default=200)
    wanted = parser.parse_args()
    s = wanted.seconds
    moving = {"engine": {"flows": 16, "every": 0.45}, "settings": {"glyphs": "unicode"}}
    still = {"engine": {"flows": 16, "moving": False}, "settings": {"glyphs": "unicode"}}
    print(steady("16 FLOWs moving, table, 120x40", moving, 120, 40, s))
    print(steady("16 FLOWs moving, panels, 200x60", moving, 200, 60, s, "t"))
    low = {**moving, "settings": {"glyphs": "unicode", "low_bandwidth": True}}
    print(steady("16 FLOWs moving, table, 120x40, --low-bandwidth", low, 120, 40, s))
    print(steady("16 FLOWs, nothing moving, table, 120x40", still, 120, 40, s, warm=32))
    print(steady("16 FLOWs, nothing moving, panels, 200x60", still, 200, 60, s, "t", warm=32))
    print(first_paint({"engine": {"flows": 8}}))
    busy = {"engine": {"flows": 16, "busy": True, "every": 0.45}}
    print(key_to_paint({"engine": {"flows": 16, "moving": False}}, wanted.presses, "key to paint, engine idle"))
    print(key_to_paint(busy, wanted.presses, "key to paint, engine thread at 100 %"))
    print(throughput(s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
