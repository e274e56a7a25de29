"""Asks the source for the keys that wait for a re-read: beside the journal, and never so much that a lag can't fall."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import anyio

from df2redis_tui.errors import SourceError, SourceLost
from df2redis_tui.replication.key_reader import PATIENCE, Key, Reading
from df2redis_tui.replication.reread import RESTLESS, Rereads, Wanted

log = logging.getLogger(__name__)

TOGETHER = 64  # keys in one pipeline
TOGETHER_BYTES = 512 * 1024  # of values in one pipeline; a larger value comes alone
LATE = 1.0  # seconds of lag from which re-reads are rationed
SHARE = 0.05  # of what the target confirms meanwhile
TRICKLE = 2.0  # a second, at least
AGAIN_AT_MOST = 10.0  # seconds


class Reader(Protocol):
    """`KeyReader`."""

    async def sizes(self, keys: list[Key]) -> list[int | None]: ...

    async def read(self, keys: list[Key], size: int = 0, patience: float = PATIENCE) -> dict[Key, Reading]: ...

    async def read_alone(self, key: Key, size: int = 0, patience: float = PATIENCE) -> Reading: ...

    async def aclose(self) -> None: ...


class Rereading:
    """One per FLOW and session. `lag` in seconds, `confirmed` commands so far; `failed` is told of keys that can't be
    read, and may raise NotCopied."""

    def __init__(
        self,
        rereads: Rereads,
        reader: Reader,
        *,
        lag: Callable[[], float],
        confirmed: Callable[[], int],
        failed: Callable[[int, bytes, str], None],
    ) -> None:
        self._rereads = rereads
        self._reader = reader
        self._lag = lag
        self._confirmed = confirmed
        self._failed = failed
        self._ration = 0.0
        self._rationed_at, self._confirmed_then = time.monotonic(), confirmed()
        self._failures = 0

    async def run(self) -> None:
        """Until cancelled. Raises NotCopied."""
        rereads = self._rereads
        rereads.begin()
        try:
            while True:
                wait = rereads.waits(time.monotonic())
                if wait is None or wait > 0:
                    await rereads.wake.wait(wait)
                    continue
                most = self._allowed()
                if not most or (rereads.held and rereads.held >= rereads.held_most):
                    await anyio.sleep(0.1)
                    continue
                began = time.monotonic()
                await self._round(rereads.next(began, most))
                # As long again for everything else that the source and this program do.
                await anyio.sleep(min(0.5, time.monotonic() - began))
        finally:
            await self._reader.aclose()

    def _allowed(self) -> int:
        """How many keys may be asked for now."""
        now, confirmed = time.monotonic(), self._confirmed()
        self._ration += TRICKLE * (now - self._rationed_at) + SHARE * (confirmed - self._confirmed_then)
        self._ration = min(self._ration, TOGETHER)
        self._rationed_at, self._confirmed_then = now, confirmed
        if self._failures:
            return 1
        if self._lag() < LATE:
            return TOGETHER
        return int(self._ration)

    async def _round(self, some: list[Wanted]) -> None:
        self._ration -= len(some)
        try:
            try:
                sizes = await self._reader.sizes([wanted.key for wanted in some])
            except SourceLost:
                raise
            except SourceError as error:
                self._have_read(some, {wanted.key: Reading(0, 0, None, str(error)) for wanted in some})
                return
            if later := self._large(some, sizes):
                self._rereads.postpone(later, 0.0)
                kept = [(w, size) for w, size in zip(some, sizes, strict=True) if w not in later]
                some, sizes = [w for w, _ in kept], [size for _, size in kept]
            for group, size in _groups(some, sizes):
                await self._group(group, size)
                if self._rereads.held >= self._rereads.held_most:
                    break
            self._failures = 0
        except SourceLost as lost:
            # The source is slow, or a value is large: the FLOWs tell whether it is gone.
            self._failures += 1
            pause = min(AGAIN_AT_MOST, 0.2 * 2.0**self._failures)
            log.warning(
                "Re-read failed, again later",
                extra={"fields": {"flow": self._rereads.flow, "reason": str(lost), "seconds": round(pause, 1)}},
            )
            self._rereads.postpone(some, time.monotonic() + pause)
            await anyio.sleep(pause)

    def _large(self, some: list[Wanted], sizes: list[int | None]) -> list[Wanted]:
        """Those that the smaller ones should not have to wait for."""
        if self._rereads.count == 1:
            return []
        found = [w for w, size in zip(some, sizes, strict=True) if not w.large and (size or 0) > TOGETHER_BYTES]
        for wanted in found:
            wanted.large = True
        return found

    async def _group(self, group: list[Wanted], size: int) -> None:
        patience = PATIENCE * 2.0 ** min(self._failures, 6)
        try:
            if group[0].tries >= RESTLESS:
                readings = {group[0].key: await self._reader.read_alone(group[0].key, size, patience)}
            else:
                readings = await self._reader.read([wanted.key for wanted in group], size, patience)
        except SourceLost:
            raise
        except SourceError as error:
            readings = {wanted.key: Reading(0, 0, None, str(error)) for wanted in group}
        self._have_read(group, readings)

    def _have_read(self, group: list[Wanted], readings: dict[Key, Reading]) -> None:
        for wanted in group:
            if problem := self._rereads.read(wanted, readings[wanted.key]):
                self._failed(*wanted.key, problem)


def _groups(some: list[Wanted], sizes: list[int | None]) -> Iterator[tuple[list[Wanted], int]]:
    """Keys whose values are small together, and how large those are; then, each alone, large ones and those whose size
    is not known."""
    group: list[Wanted] = []
    alone: list[tuple[Wanted, int]] = []
    total = 0
    for wanted, size in zip(some, sizes, strict=True):
        if size is None or size > TOGETHER_BYTES:
            alone.append((wanted, size or 0))
            continue
        if total + size > TOGETHER_BYTES:
            yield group, total
            group, total = [], 0
        group.append(wanted)
        total += size
    if group:
        yield group, total
    for wanted, size in alone:
        yield [wanted], size
