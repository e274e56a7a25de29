"""One run at a time for a job's files in a state directory, whatever target it copies into."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
from pathlib import Path

from df2redis_tui.errors import ConfigError, printable
from df2redis_tui.files import make_private, open_state
from df2redis_tui.replication.json_record import read_record, whole, words

log = logging.getLogger(__name__)

_SAID_MOST = 4096


class StateLock:
    """Held by the kernel for as long as this process lives and keeps it; the file says who has it."""

    def __init__(self, directory: Path, job: str, target: str) -> None:
        self._directory = directory
        self._job = job
        self._target = target
        self._path = directory / f"{job}.lock"
        self._descriptor: int | None = None

    def take(self, *, leased: bool) -> None:
        """Raises ConfigError when another process has it, or the directory can't be used.

        `leased`: this run has the job's lease on its target. A process that had it there before (it was stopped, or cut
        off) has lost the job, and with it the lock.
        """
        try:
            make_private(self._directory)
            while self._descriptor is None:
                try:
                    self._descriptor = self._locked()
                except _Held as held:
                    if not (leased and held.target == self._target):
                        raise ConfigError(
                            f"the state of job {self._job!r} in {self._directory} is in use by another run "
                            f"({held.holder}): stop it first, or give this run another --job or --state-dir"
                        ) from None
                    self._path.unlink(missing_ok=True)
            said = {"host": socket.gethostname(), "pid": os.getpid(), "target": self._target}
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(said).encode(), 0)
        except OSError as error:
            if self._descriptor is not None:
                log.info("The lock does not say whose it is", extra={"fields": {"reason": error.strerror}})
                return  # a full disk, for example: it is held all the same
            raise ConfigError(f"--state-dir: {self._path} can't be used: {error.strerror}") from None

    @property
    def lost(self) -> bool:
        """Another run of the job has taken over: its files are not ours to write any more."""
        return self._descriptor is not None and not _is_at(self._descriptor, self._path)

    def release(self) -> None:
        """May be called at any time."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            if not self.lost:
                self._path.unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def _locked(self) -> int | None:
        """The descriptor, None when the file was removed by whoever had it before. Raises _Held, OSError."""
        descriptor = open_state(self._path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                log.warning("The state directory can't be locked", extra={"fields": {"reason": error.strerror}})
                return descriptor
            held = _Held(os.pread(descriptor, _SAID_MOST, 0))
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise held from None
            raise
        if _is_at(descriptor, self._path):
            return descriptor
        os.close(descriptor)
        return None


class _Held(Exception):
    """By the process that the file names."""

    def __init__(self, said: bytes) -> None:
        self.holder, self.target = "which does not say who it is", ""
        with contextlib.suppress(ValueError, KeyError):
            found = read_record(said)
            self.holder = printable(f"process {whole(found['pid'])} on host {words(found['host'])}".encode())
            self.target = words(found["target"])


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
