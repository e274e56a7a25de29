"""The channel between a FLOW's parser and its accumulator: whole blocks, bounded in commands and bytes."""

from __future__ import annotations

import logging
import time
from collections import deque

import anyio

from df2redis_tui.pipeline.block import Block, Global
from df2redis_tui.pipeline.knobs import FlowKnobs
from df2redis_tui.pipeline.signal import Signal

log = logging.getLogger(__name__)

WARN_AFTER = 1.0  # seconds a parser waits before the log says so
WARN_AGAIN = 10.0


class Channel:
    """Blocks in FLOW order. A send waits while either bound is reached; one block may overshoot it.

    `unbounded` lifts the bound while the source holds its global lock (STARTSTABLE): then the socket must be read.
    """

    def __init__(self, flow: int, knobs: FlowKnobs, wake: Signal) -> None:
        self.flow = flow
        self.knobs = knobs
        self.entries = 0
        self.bytes = 0
        self.blocked_since: float | None = None
        self.closed = False
        self.unbounded = False
        self._wake = wake
        self._queue: deque[Block | Global] = deque()
        self._space = Signal()

    @property
    def full(self) -> bool:
        return self.entries >= self.knobs.channel_entries or self.bytes >= self.knobs.channel_bytes

    def room_changed(self) -> None:
        """A knob changed or the bound was lifted: let a waiting sender look again."""
        self._space.set()

    def offer(self, item: Block | Global) -> None:
        """Put without waiting (the caller has seen to the bound)."""
        if isinstance(item, Block):
            self.entries += len(item.commands)
            self.bytes += item.size
        self._queue.append(item)
        self._wake.set()

    async def send(self, item: Block | Global) -> None:
        if self.full and not self.unbounded:
            await self._wait_for_room()
        self.offer(item)

    async def _wait_for_room(self) -> None:
        started = self.blocked_since = time.monotonic()
        said = 0.0
        try:
            while self.full and not self.unbounded:
                await self._space.wait(WARN_AFTER)
                waited = time.monotonic() - started
                if waited >= WARN_AFTER and (said == 0.0 or waited - said >= WARN_AGAIN):
                    said = waited
                    log.warning(
                        "Parser blocked: channel full",
                        extra={
                            "fields": {
                                "flow": self.flow,
                                "entries": self.entries,
                                "bytes": self.bytes,
                                "seconds": round(waited, 1),
                            }
                        },
                    )
        finally:
            self.blocked_since = None

    def receive_nowait(self) -> Block | Global | None:
        if not self._queue:
            return None
        item = self._queue.popleft()
        if isinstance(item, Block):
            self.entries -= len(item.commands)
            self.bytes -= item.size
            self._space.set()
        return item

    def oldest_arrival(self) -> float:
        """Monotonic time at which the oldest command in here was read, 0 when empty."""
        return self._queue[0].arrived if self._queue else 0.0

    def close(self) -> None:
        """No more sends; the accumulator drains what is there."""
        self.closed = True
        self._wake.set()

    def clear(self) -> int:
        """Drop everything (the full sync it belongs to became void). Returns the commands dropped."""
        dropped = self.entries
        self._queue.clear()
        self.entries = self.bytes = 0
        self._space.set()
        return dropped

    def __len__(self) -> int:
        return len(self._queue)


async def wait_until_below(channel: Channel, fill: float) -> None:
    """Wait until a channel is filled less than `fill` (0..1) of its bounds."""
    while channel.entries > channel.knobs.channel_entries * fill or channel.bytes > channel.knobs.channel_bytes * fill:
        await anyio.sleep(0.01)
