"""The lease: two runs of the same job at once would undo each other's exactness, so the second is refused."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import time
from pathlib import Path
from typing import Protocol

import anyio
import psutil

from df2redis_tui.errors import TargetError, TargetLost
from df2redis_tui.replication.json_record import read_record, whole, words
from df2redis_tui.streams import Arg, encode, is_error
from df2redis_tui.target.connection import error_text
from df2redis_tui.target.replies import Verdict, verdict

log = logging.getLogger(__name__)

LASTS = 15.0  # seconds after the last renewal
RENEW_EVERY = 4.0
TRIES = 3  # at a lease that goes between two questions
LOOK_EVERY = 0.5  # seconds between two looks at a lease that may lapse

# Release only what is still the dead holder's.
_RELEASE = "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) else return 0 end"


class _NotNow(TargetLost):
    """The target answers, but refuses for the time being."""


class Caller(Protocol):
    async def call(self, *args: Arg) -> object: ...

    async def pipeline(self, commands: list[bytes]) -> list[object]: ...


class Lease:
    """Held on the target for as long as a run lives; taken over at once when its holder died on this machine.

    Renewed without a script, which not every user may run: a transaction reads whose it is and prolongs it. Where it is
    another run's by then, that one has it for a moment longer, and this one ends.
    """

    def __init__(self, target: Caller, key: bytes, job: str, run: str) -> None:
        self._target = target
        self._key = key
        self._job = job
        pid = os.getpid()
        who = {"run": run, **_machine(), "pid": pid, "started": _started(pid), "at": int(time.time())}
        self._value = json.dumps(who).encode()
        self._one_at_a_time = anyio.Lock()
        self._ours_at = -math.inf  # it was ours when this was asked (monotonic)
        self.held = False

    async def take(self) -> None:
        """Raises TargetError when another run holds it, TargetLost."""
        give_up = time.monotonic() + 2 * LASTS
        while time.monotonic() < give_up:
            self.held = True  # an answer that never comes may be OK: `release` looks whose it is
            if await self._set_if_free():
                return
            holder = self._checked(await self._target.call("GET", self._key))
            if holder == self._value:  # the answer to an earlier SET was lost, and it was sent again
                return
            if holder is not None:
                await self._wait_for_its_end(holder)
        raise TargetError(f"the lease of job {self._job!r} can't be taken: another run took it in this moment")

    async def renew(self) -> None:
        """Raises TargetError when another run has taken over or the target refuses for good, TargetLost when it can't
        tell now."""
        async with self._one_at_a_time:
            asked = time.monotonic()
            self._must_be_ours(await self._prolong() or await self._holder_when_lapsed(), asked)

    def must_not_be_of_others(self, holder: bytes | None) -> None:
        """Raises TargetError where this value is that of another run, which may live."""
        if holder not in (None, self._value) and not _dead_here(holder):
            raise self._taken_over(holder)

    async def check(self) -> None:
        """Before a new connection writes, which whoever takes over from now on can end. Raises TargetError when another
        run has taken over, TargetLost. Whoever comes while another asks shares the next answer."""
        wanted = time.monotonic()
        async with self._one_at_a_time:
            if self._ours_at >= wanted:
                return
            asked = time.monotonic()
            holder = self._checked(await self._target.call("GET", self._key))
            try:
                holder = holder or await self._holder_when_lapsed()
            except _NotNow:
                return  # it is nobody's, and a target that does not take the lease is as it is for this run's writes
            self._must_be_ours(holder, asked)

    def record(self) -> bytes:
        """The command that writes it again, for where everything is removed."""
        return encode("SET", self._key, self._value, "PX", _LASTS_MS)

    async def release(self) -> None:
        """Raises TargetError, TargetLost."""
        if self.held:
            self.held = False
            async with self._one_at_a_time:
                if await self._prolong() == self._value:  # so nobody else can have it before it is removed
                    self._checked(await self._target.call("DEL", self._key))

    async def _holder_when_lapsed(self) -> bytes | None:
        """The target could not be reached for long: the first that comes has it. What a lost connection has sent and is
        sent again finds its own."""
        for _ in range(TRIES):
            if await self._set_if_free():
                return self._value
            if (holder := self._checked(await self._target.call("GET", self._key))) is not None:
                return holder
        return None

    def _must_be_ours(self, holder: bytes | None, asked: float) -> None:
        if holder is None:
            raise TargetLost(f"the lease of job {self._job!r} is gone from the target again and again")
        if holder != self._value:
            raise self._taken_over(holder)
        self._ours_at = asked

    def _taken_over(self, holder: bytes) -> TargetError:
        error = TargetError(f"another run took over job {self._job!r} ({_described(holder)}): this one ends")
        error.advice = "the other run goes on from what this one has confirmed; start this one again when it has ended"
        return error

    async def _set_if_free(self) -> bool:
        reply = await self._target.call("SET", self._key, self._value, "NX", "PX", _LASTS_MS)
        return self._checked(reply) == b"OK"

    async def _prolong(self) -> bytes | None:
        """Whose it is, None when it has lapsed; it lasts anew."""
        asked = [encode("MULTI"), encode("GET", self._key), encode("PEXPIRE", self._key, _LASTS_MS), encode("EXEC")]
        replies = await self._target.pipeline(asked)
        for reply in replies:
            self._refuse(reply)
        if not isinstance(replies[-1], list) or len(replies[-1]) != 2:
            raise TargetError("the target answered the transaction of the job's lease with something else")
        self._refuse(replies[-1][1])
        return self._checked(replies[-1][0])

    def _checked(self, reply: object) -> bytes | None:
        self._refuse(reply)
        return reply if isinstance(reply, bytes) else None

    def _refuse(self, reply: object) -> None:
        if is_error(reply):
            text = error_text(reply)
            later = verdict(text) in (Verdict.RETRY, Verdict.MOVED, Verdict.ASK)
            raise (_NotNow if later else TargetError)(f"the target refused the job's lease: {text}")

    async def _wait_for_its_end(self, holder: bytes) -> None:
        """Return when its holder is known to have ended. Raises TargetError when it lives, or may live elsewhere."""
        if _dead_here(holder):
            reply = await self._target.call("EVAL", _RELEASE, 1, self._key, holder)
            if not is_error(reply):
                return
            log.warning(
                "The last run has ended, and its lease has to run out", extra={"fields": {"reason": error_text(reply)}}
            )
        elif not _perhaps_here(holder):
            raise self._taken(holder)
        if await self._outlives():
            raise self._taken(holder)

    async def _outlives(self) -> bool:
        """Whether somebody renews a lease that may be a dead run's."""
        left = int(LASTS * 1000) + 1
        while True:
            reply = await self._target.call("PTTL", self._key)
            if reply == -2:
                return False
            if not isinstance(reply, int) or not 0 <= reply <= left:
                return True
            left = reply
            await anyio.sleep(min(LOOK_EVERY, left / 1000 + 0.01))

    def _taken(self, holder: bytes) -> TargetError:
        return TargetError(
            f"job {self._job!r} is already running ({_described(holder)}): stop it first, or give this run "
            f"another --job; a run that died elsewhere gives its lease up within {LASTS:g} s"
        )


_LASTS_MS = int(LASTS * 1000)


def _machine() -> dict[str, str]:
    """What tells apart where process numbers mean something else: containers of one machine may share its name."""
    return {"host": socket.gethostname(), "boot": _boot(), "pids": _process_numbers()}


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _process_numbers() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> float:
    """When a process began: on Linux in ticks since the machine did, which setting its clock does not change. Raises
    psutil.Error."""
    try:
        return float(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        created: float = psutil.Process(pid).create_time()
        return created


def _dead_here(holder: bytes) -> bool:
    """Whether the holder was a process that we could see, and that has ended."""
    try:
        found = read_record(holder)
        if any(found[name] != value for name, value in _machine().items()):
            return False
        pid = whole(found["pid"], 1)
        reused = abs(_started(pid) - float(found["started"])) > 2.0
        return reused or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (ValueError, KeyError, TypeError, OverflowError, psutil.Error):
        return False


def _perhaps_here(holder: bytes) -> bool:
    """Whether the holder ran on a machine of this name, but in another container, or before this one was started anew:
    nobody can see whether it lives."""
    try:
        found = read_record(holder)
        here = found["host"] == socket.gethostname()
        return here and any(found.get(name) != value for name, value in _machine().items())
    except (ValueError, KeyError):
        return False


def _described(holder: bytes) -> str:
    try:
        found = read_record(holder)
        return f"host {words(found['host'])}, process {whole(found['pid'])}"
    except (ValueError, KeyError):
        return "holder unknown"
