"""The look-alike on a thread of its own, with its fault switches, for tests that run programs beside it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import redis

from df2redis_tui.demo.session import State
from df2redis_tui.demo.source import LookAlike
from df2redis_tui.settings import Endpoint
from df2redis_tui.verify.compare import Comparison, Tolerance, compare

T = TypeVar("T")


class FaultSource:
    """Use as a context manager. `options` are LookAlike's."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="look-alike", daemon=True)
        self.look_alike: LookAlike

    def __enter__(self) -> FaultSource:
        self._thread.start()
        assert self._ready.wait(30), "the look-alike does not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with LookAlike(**self._options) as self.look_alike:
            self._ready.set()
            await self._stop.wait()

    @property
    def url(self) -> str:
        return f"dragonfly://127.0.0.1:{self.look_alike.port}"

    def client(self, db: int = 0) -> redis.Redis:
        return redis.Redis("127.0.0.1", self.look_alike.port, db=db, protocol=2)

    def do(self, what: Callable[[], object]) -> None:
        """Run something quick on the look-alike's loop: `source.do(lambda: source.look_alike.cut_flow(0))`."""
        self._loop.call_soon_threadsafe(what)

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 60.0) -> T:
        return self.begin(work).result(timeout)

    @property
    def full_syncs(self) -> int:
        """Full syncs that began, in all sessions."""
        return self.look_alike.replication.full_syncs

    def wait_level(self, timeout: float = 60.0) -> None:
        """Until a session is in stable sync and has acknowledged everything that was journalled."""
        give_up = time.monotonic() + timeout
        while not self._level():
            assert time.monotonic() < give_up, f"not level after {timeout:g} s: {self._where()}"
            time.sleep(0.05)

    def _level(self) -> bool:
        async def look() -> bool:
            source = self.look_alike
            await source.journal.catch_up(await source.backend_offset())
            sessions = list(source.journal.sessions.values())
            return any(s.state is State.STABLE_SYNC and s.complete and s.lag() == 0 for s in sessions)

        return self.run(look())

    def _where(self) -> str:
        return "; ".join(
            f"{s.sync_id} {s.state.value} " + ",".join(f"{f.acked}/{f.shard.next_lsn}" for f in s.connected_flows)
            for s in list(self.look_alike.journal.sessions.values())
        )

    def compare(self, target: Endpoint) -> Comparison:
        here = Endpoint((("127.0.0.1", self.look_alike.port_of_backend),))
        return asyncio.run(compare(here, target, ignore_prefixes=(b"df2redis",), tolerance=Tolerance(3_000, 5_000)))
