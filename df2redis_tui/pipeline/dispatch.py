"""Moves one FLOW's batches from its accumulator to its writer: pause, rate limit, limiter, barrier."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from df2redis_tui.pipeline.accumulator import Accumulator
from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Global
from df2redis_tui.pipeline.channel import Channel
from df2redis_tui.pipeline.knobs import FlowKnobs
from df2redis_tui.pipeline.limiter import Limiter, RateLimit
from df2redis_tui.pipeline.signal import Signal

IDLE_BELOW = 4  # batches in flight up to which a partial batch goes at once: more would only be many small ones


class Gate:
    """Open or closed for all FLOWs (pause and resume)."""

    def __init__(self) -> None:
        self._open = anyio.Event()
        self._open.set()

    @property
    def closed(self) -> bool:
        return not self._open.is_set()

    def close(self) -> None:
        if self._open.is_set():
            self._open = anyio.Event()

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        while self.closed:
            await self._open.wait()


class BatchWriter(Protocol):
    """Where batches go (`target.writer.Writer`)."""

    async def ready(self) -> None: ...

    def dispatch(self, batch: Batch) -> None: ...

    async def settle(self) -> None: ...


class Dispatcher:
    """The pipeline of one FLOW in one session: owns its channel, accumulator and limiter."""

    def __init__(
        self,
        flow: int,
        knobs: FlowKnobs,
        writer: BatchWriter,
        gate: Gate,
        rate: RateLimit,
        on_global: Callable[[Global], Awaitable[None]],
        check_databases: Callable[[set[int]], Awaitable[None]],
    ) -> None:
        self.flow = flow
        self.knobs = knobs
        self.wake = Signal()
        self.channel = Channel(flow, knobs, self.wake)
        self.limiter = Limiter(knobs.max_in_flight, self.wake.set)
        self.accumulator = Accumulator(flow, self.channel, knobs, self.wake, self._slot_free)
        self.at_barrier: Global | None = None
        self.ended = False
        self.rate_limited = False
        self.holds_batch = False  # gathered, not sent yet
        self.held = 0  # commands of that batch
        self.held_arrival = 0.0  # monotonic time at which its oldest command was read
        self.void = False
        self._rate_wait: anyio.CancelScope | None = None
        self.before_dispatch: Callable[[Batch], Awaitable[None]] | None = None
        self._writer = writer
        self._gate = gate
        self._rate = rate
        self._on_global = on_global
        self._check_databases = check_databases
        self._databases: set[int] = set()

    async def run(self) -> None:
        """Until the channel is closed and everything is confirmed."""
        while (item := await self.accumulator.next()) is not None:
            if isinstance(item, Global):
                await self._writer.settle()
                await self._gate.passed()
                self.at_barrier = item
                await self._on_global(item)
                self.at_barrier = None
            else:
                await self._send(item)
        await self._writer.settle()
        self.ended = True

    def discard(self) -> None:
        """Drop what was not sent: the full sync it belongs to is void."""
        self.void = True
        self.channel.clear()
        self.accumulator.clear()
        if self._rate_wait is not None:
            self._rate_wait.cancel()
        self.wake.set()

    def confirmed(self, batch: Batch) -> None:
        """The writer has seen the last reply: give the slot back."""
        self.limiter.release(batch, batch.size)

    def knobs_changed(self) -> None:
        """Let every stage look at its knobs again."""
        if self.limiter.limit != self.knobs.max_in_flight:
            self.limiter.limit = self.knobs.max_in_flight
        self.channel.room_changed()
        self.wake.set()

    async def _send(self, batch: Batch) -> None:
        self.holds_batch, self.held = True, batch.commands
        self.held_arrival = next((block.arrived for block in batch.blocks), 0.0)
        await self._send_when_allowed(batch)
        self.holds_batch, self.held, self.held_arrival = False, 0, 0.0

    async def _send_when_allowed(self, batch: Batch) -> None:
        unknown = {b.db for b in batch.blocks if b.commands} - self._databases
        if unknown:
            await self._check_databases(unknown)
            self._databases |= unknown
        if self.before_dispatch is not None:
            await self.before_dispatch(batch)
        with anyio.CancelScope() as self._rate_wait:
            await self._rate.passed(batch.entries, self._wait_for_rate)
        self.rate_limited = False
        while not self.void:
            await self._gate.passed()
            await self._writer.ready()
            if self._gate.closed:
                continue
            if self.limiter.try_acquire(batch, batch.size):
                self._writer.dispatch(batch)
                return
            await self.wake.wait()

    def _wait_for_rate(self) -> None:
        self.rate_limited = True

    def _slot_free(self) -> bool:
        return not self._gate.closed and self.limiter.in_flight < min(self.limiter.limit, IDLE_BELOW)
