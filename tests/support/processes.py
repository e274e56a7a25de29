"""Child processes that end with the test run, whatever ends it."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from df2redis_tui.demo.embedded import free_port as loopback_port

_PR_SET_PDEATHSIG = 1  # Linux prctl(2)
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_running: set[subprocess.Popen[bytes]] = set()


def _die_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limited(limits: Mapping[int, int]) -> None:
    _die_with_parent()
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))


def spawn(
    argv: Sequence[str | Path],
    *,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.STDOUT,
    stdin: int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    own_group: bool = False,
    limits: Mapping[int, int] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child that the kernel kills when the thread that started it ends; `stop` it when done."""
    process = subprocess.Popen(
        [str(a) for a in argv],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=None if env is None else dict(env),
        cwd=cwd,
        process_group=0 if own_group else None,
        preexec_fn=functools.partial(_limited, limits) if limits else _die_with_parent,
    )
    _running.add(process)
    return process


def stop(process: subprocess.Popen[bytes], *, patience: float = 5.0) -> None:
    """End a child: SIGTERM, and SIGKILL when it does not listen. Safe on one that has ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    _running.discard(process)


@atexit.register
def _stop_all() -> None:
    for process in list(_running):
        with contextlib.suppress(OSError):
            process.kill()


_given: set[int] = set()


def free_port(free: Callable[[], int] = loopback_port) -> int:
    """A loopback TCP port nobody listens on, never given twice in one run."""
    while True:
        port = free()
        if port not in _given:
            _given.add(port)
            return port


@contextlib.contextmanager
def spawned(argv: Sequence[str | Path], **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`spawn` and always `stop`."""
    process = spawn(argv, **how)
    try:
        yield process
    finally:
        stop(process)
