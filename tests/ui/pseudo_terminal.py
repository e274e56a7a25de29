"""A program in a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from pathlib import Path


class Terminal:
    """A program in a pty; a session of its own, as a login shell has."""

    def __init__(self, command: list[str], cwd: Path, log: Path, width: int = 120, height: int = 40) -> None:
        self.main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.attributes = termios.tcgetattr(side)
        self.log = log
        # A size in the environment (pytest-xdist gives its workers one) would hide the terminal's own.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        env = inherited | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command,
            cwd=cwd, env=env, stdin=side, stdout=side, stderr=side, preexec_fn=take_terminal,
        )  # fmt: skip
        self.side = side
        self.seen = ""

    def see(self, text: str) -> str:
        """Read until this stands there; the time is for a busy machine."""
        return self.read(60, text)

    def read(self, seconds: float, until: str = "") -> str:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.main], [], [], min(left, 0.2))[0]:
                try:
                    self.seen += os.read(self.main, 1 << 16).decode(errors="replace")
                except OSError:
                    break
            if until and until in self.seen:
                break
        return self.seen

    def key(self, text: str) -> None:
        os.write(self.main, text.encode())

    def wait(self, seconds: float = 20.0) -> int:
        """The exit code; the terminal is read on, as a terminal does."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.1)
        self.read(0.3)
        assert self.process.returncode is not None, "it did not end"
        return self.process.returncode

    def let_go(self) -> None:
        """The window is closed: nobody holds the terminal any more."""
        for name in ("main", "side"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)

    def resize(self, width: int, height: int) -> None:
        """As a window manager does it; the kernel sends SIGWINCH."""
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def restored(self) -> bool:
        """The terminal is as it was found: modes, screen, cursor."""
        now = termios.tcgetattr(self.side)
        return now[:4] == self.attributes[:4] and "\x1b[?1049l" in self.seen and "\x1b[?25h" in self.seen

    def end(self) -> None:
        """Leave nothing running."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.let_go()
