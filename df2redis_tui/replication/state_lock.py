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

from df2redis_tui.errors import ConfigError
from df2redis_tui.files import make_private, open_state
from df2redis_tui.replication.json_record import read_record, whole, words

log = logging.getLogger(__name__)

_SAID_MOST = 400


class StateLock:
    """Held by the kernel for as long as this process lives and keeps it; the file says who has it, for people."""

    def __init__(self, directory: Path, job: str) -> None:
        self._directory = directory
        self._job = job
        self._path = directory / f"{job}.lock"
        self._descriptor: int | None = None

    def take(self) -> None:
        """Raises ConfigError when another process has it, or the directory can't be used."""
        try:
            make_private(self._directory)
            while self._descriptor is None:
                self._descriptor = self._locked()
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)
        except OSError as error:
            if self._descriptor is not None:
                log.info("The lock does not say whose it is", extra={"fields": {"reason": error.strerror}})
                return  # a full disk, for example: it is held all the same
            raise ConfigError(f"--state-dir: {self._path} can't be used: {error.strerror}") from None

    def release(self) -> None:
        """May be called at any time."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(descriptor)

    def _locked(self) -> int | None:
        """The descriptor, None when the file was removed by whoever had it before."""
        descriptor = open_state(self._path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.path.samestat(os.fstat(descriptor), os.stat(self._path, follow_symlinks=False))
        except FileNotFoundError:
            same = False
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                holder = _described(os.pread(descriptor, _SAID_MOST, 0))
                os.close(descriptor)
                raise ConfigError(
                    f"the state of job {self._job!r} in {self._directory} is in use by another run ({holder}): stop it "
                    "first, or give this run another --job or --state-dir"
                ) from None
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                os.close(descriptor)
                raise
            log.warning("The state directory can't be locked", extra={"fields": {"reason": error.strerror}})
            return descriptor
        if same:
            return descriptor
        os.close(descriptor)
        return None


def _described(raw: bytes) -> str:
    try:
        found = read_record(raw)
        return f"process {whole(found['pid'])} on host {words(found['host'])}"
    except (ValueError, KeyError):
        return "which does not say who it is"
