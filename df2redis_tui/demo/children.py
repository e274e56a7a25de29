"""The demo's child processes: the source, and the one that fills it and writes to it.

They end when their stdin does, so they can't outlive this process; signals of the terminal don't reach them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from df2redis_tui.errors import SourceError, printable


class Child:
    """`python -m module arguments`; it speaks in lines of JSON."""

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        self._module = module
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._complaint = b""
        self._listener = threading.Thread(target=self._listen, name=f"{module} stderr", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._complaint = line.strip() or self._complaint

    def read(self) -> Mapping[str, object]:
        """Its next line. Raises SourceError with its last complaint when it ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._listener.join(1)
            why = printable(self._complaint) or f"exit code {self._process.wait(5)}"
            raise SourceError(f"the demo's {self._module.rpartition('.')[2]} ended: {why}")
        said: Mapping[str, object] = json.loads(line)
        return said

    def say_stop(self) -> None:
        """End its stdin."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(OSError):
                self._process.stdin.close()

    def end(self) -> None:
        """Ask it to end, kill it when it does not."""
        self.say_stop()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
