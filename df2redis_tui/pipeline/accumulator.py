"""Gathers a FLOW's blocks into batches: by size, by bytes, by time, or at once when idle (adaptive flush)."""

from __future__ import annotations

import time
from collections.abc import Callable

from df2redis_tui.pipeline.batch import Batch, cut
from df2redis_tui.pipeline.block import Block, Global
from df2redis_tui.pipeline.channel import Channel
from df2redis_tui.pipeline.knobs import FlowKnobs
from df2redis_tui.pipeline.signal import Signal

MAX_BATCH_BYTES = 2 * 1024**2


class Accumulator:
    """`next` gives the next batch or global command, in order; None when the channel is closed and empty.

    `slot_free` says whether the limiter would let a batch go now; `held` whether sending is paused (then nothing is
    flushed early, and a full batch is still handed over so that the caller waits with it).
    """

    def __init__(
        self, flow: int, channel: Channel, knobs: FlowKnobs, wake: Signal, slot_free: Callable[[], bool]
    ) -> None:
        self._flow = flow
        self._channel = channel
        self._knobs = knobs
        self._wake = wake
        self._slot_free = slot_free
        self._rest: Block | None = None
        self._global: Global | None = None
        self._blocks: list[Block] = []
        self._number = 0
        self.count = 0
        self.size = 0
        self.opened_at = 0.0

    async def next(self) -> Batch | Global | None:
        while True:
            if self._fill():
                return self._flush()
            if self._global is not None:
                if self._blocks:
                    return self._flush()
                barrier, self._global = self._global, None
                return barrier
            if not self._blocks:
                if self._channel.closed and not len(self._channel):
                    return None
                await self._wake.wait()
                continue
            if self._channel.closed or (self._knobs.adaptive_flush and self._slot_free()):
                return self._flush()
            left = self.opened_at + self._knobs.flush_interval - time.monotonic()
            if left <= 0:
                return self._flush()
            await self._wake.wait(left)

    def _fill(self) -> bool:
        """Move blocks from the channel into the open batch; True when the batch is full."""
        while self._global is None:
            block = self._rest
            if block is None:
                item = self._channel.receive_nowait()
                if item is None:
                    return False
                if isinstance(item, Global):
                    self._global = item
                    return False
                block = item
            self._rest = None
            if not self._blocks:
                self.opened_at = time.monotonic()
            space = self._knobs.batch_size - self.count
            total = len(block.commands)
            if total and block.size > MAX_BATCH_BYTES - self.size:
                space = min(space, max(1, (MAX_BATCH_BYTES - self.size) * total // max(1, block.size)))
            if total > space:
                block, self._rest = cut(block, max(1, space))
            self._blocks.append(block)
            self.count += len(block.commands)
            self.size += block.size
            if self.count >= self._knobs.batch_size or self.size >= MAX_BATCH_BYTES:
                return True
        return False

    def _flush(self) -> Batch:
        blocks = self._blocks
        self._number += 1
        batch = Batch(
            self._flow,
            self._number,
            blocks,
            self.count,
            sum(b.entries for b in blocks),
            self.size,
            self.opened_at,
            next_lsn=max((b.next_lsn for b in blocks), default=0),
            ack_now=any(b.ack_now for b in blocks),
            once=any(b.once is not None for b in blocks),
        )
        for block in blocks:
            for kind, count in block.kinds.items():
                batch.kinds[kind] = batch.kinds.get(kind, 0) + count
        self._blocks = []
        self.count = self.size = 0
        return batch

    def waiting(self) -> int:
        """Commands gathered and not handed over."""
        return self.count + (len(self._rest.commands) if self._rest is not None else 0)

    @property
    def open(self) -> bool:
        """Whether something was gathered and not handed over."""
        return bool(self._blocks) or self._rest is not None or self._global is not None

    def oldest_arrival(self) -> float:
        """Monotonic time at which the oldest gathered command was read, 0 when there is none."""
        for block in self._blocks[:1]:
            return block.arrived
        return self._rest.arrived if self._rest is not None else 0.0

    def clear(self) -> None:
        """Forget what was gathered (its full sync became void)."""
        self._blocks = []
        self._rest = self._global = None
        self.count = self.size = 0
