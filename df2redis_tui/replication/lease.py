"""The lease: two runs of the same job at once would undo each other's exactness, so the second is refused."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Protocol

import psutil

from df2redis_tui.errors import TargetError
from df2redis_tui.streams import Arg, encode, is_error
from df2redis_tui.target.connection import error_text

LASTS = 15.0  # seconds after the last renewal
RENEW_EVERY = 4.0

# Renew or release only what is still ours.
_RENEW = "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('PEXPIRE',KEYS[1],ARGV[2]) else return 0 end"
_RELEASE = "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) else return 0 end"


class Caller(Protocol):
    async def call(self, *args: Arg) -> object: ...


class Lease:
    """Held on the target for as long as a run lives; taken over at once when its holder died on this machine."""

    def __init__(self, target: Caller, key: bytes, job: str, run: str) -> None:
        self._target = target
        self._key = key
        self._job = job
        me = psutil.Process()
        self._value = json.dumps(
            {
                "run": run,
                "host": socket.gethostname(),
                "pid": me.pid,
                "started": me.create_time(),
                "at": int(time.time()),
            }
        )
        self.held = False

    async def take(self) -> None:
        """Raises TargetError when another run holds it."""
        for _ in range(2):
            self.held = True  # an answer that never comes may be OK: `release` looks whose it is
            reply = await self._target.call("SET", self._key, self._value, "NX", "PX", int(LASTS * 1000))
            if reply == b"OK":
                return
            if is_error(reply):
                raise TargetError(f"the target refused the job's lease: {error_text(reply)}")
            holder = await self._target.call("GET", self._key)
            if isinstance(holder, bytes):
                if not _dead_here(holder):
                    raise TargetError(
                        f"job {self._job!r} is already running ({_described(holder)}): stop it first, or give this run "
                        f"another --job; a run that died elsewhere gives its lease up within {LASTS:g} s"
                    )
                await self._target.call("EVAL", _RELEASE, 1, self._key, holder)
        raise TargetError(f"the lease of job {self._job!r} can't be taken: another run took it in this moment")

    async def renew(self) -> None:
        """Raises TargetError when another run has taken over."""
        reply = await self._target.call("EVAL", _RENEW, 1, self._key, self._value, int(LASTS * 1000))
        if reply == 1:
            return
        if is_error(reply):
            return  # the target can't now; the next renewal tries again
        again = await self._target.call("SET", self._key, self._value, "NX", "PX", int(LASTS * 1000))
        if again != b"OK":
            raise TargetError(f"another run took over job {self._job!r}: this one ends")

    async def check(self) -> None:
        """Before a new connection writes. Raises TargetError when another run has taken over."""
        holder = await self._target.call("GET", self._key)
        if holder != self._value.encode():
            await self.renew()

    def record(self) -> bytes:
        """The command that writes it again, for where everything is removed."""
        return encode("SET", self._key, self._value, "PX", int(LASTS * 1000))

    async def release(self) -> None:
        if self.held:
            self.held = False
            await self._target.call("EVAL", _RELEASE, 1, self._key, self._value)


def _dead_here(holder: bytes) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    try:
        found = json.loads(holder)
        if found["host"] != socket.gethostname():
            return False
        process: psutil.Process = psutil.Process(int(found["pid"]))
        reused: bool = abs(process.create_time() - float(found["started"])) > 2.0
        return reused or process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (ValueError, KeyError, TypeError, psutil.Error):
        return False


def _described(holder: bytes) -> str:
    try:
        found = json.loads(holder)
        return f"host {found['host']}, process {int(found['pid'])}"
    except (ValueError, KeyError, TypeError):
        return "holder unknown"
