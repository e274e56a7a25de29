"""Blocks become batches: bounds, cuts, flush rules, the limiter."""

from __future__ import annotations

import time
from dataclasses import replace

import anyio
import pytest

from df2redis_tui.pipeline.accumulator import MAX_BATCH_BYTES, Accumulator
from df2redis_tui.pipeline.batch import Batch, cut
from df2redis_tui.pipeline.block import Block, Global
from df2redis_tui.pipeline.channel import Channel
from df2redis_tui.pipeline.knobs import FlowKnobs, default_channel_bytes, default_max_in_flight
from df2redis_tui.pipeline.limiter import IN_FLIGHT_BYTES, Limiter, RateLimit
from df2redis_tui.pipeline.signal import Signal

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


KNOBS = FlowKnobs(
    batch_size=10, max_in_flight=2, flush_interval=0.05, adaptive_flush=False, channel_entries=20, channel_bytes=10_000
)


def block(count: int, *, lsns: list[int] | None = None, size: int | None = None, next_lsn: int = 0) -> Block:
    commands = [b"c%d" % i for i in range(count)]
    return Block(
        0, commands, lsns=lsns, size=size if size is not None else 10 * count, entries=count, next_lsn=next_lsn
    )


def stage(knobs: FlowKnobs = KNOBS, free: bool = True) -> tuple[Channel, Accumulator]:
    wake = Signal()
    channel = Channel(0, knobs, wake)
    return channel, Accumulator(0, channel, knobs, wake, lambda: free)


async def next_batch(accumulator: Accumulator) -> Batch:
    with anyio.fail_after(2):
        found = await accumulator.next()
    assert isinstance(found, Batch)
    return found


async def test_a_full_channel_makes_the_sender_wait_until_there_is_room() -> None:
    channel, _ = stage()
    await channel.send(block(20))
    with anyio.move_on_after(0.05) as waited:
        await channel.send(block(1))
    assert waited.cancelled_caught
    assert channel.blocked_since is None
    channel.receive_nowait()
    with anyio.fail_after(1):
        await channel.send(block(1))
    assert channel.entries == 1


async def test_bytes_bound_the_channel_too() -> None:
    channel, _ = stage()
    await channel.send(block(1, size=10_000))
    with anyio.move_on_after(0.05) as waited:
        await channel.send(block(1))
    assert waited.cancelled_caught


async def test_a_raised_bound_frees_a_waiting_sender() -> None:
    knobs = replace(KNOBS)
    channel, _ = stage(knobs)
    await channel.send(block(20))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.send, block(1))
        await anyio.sleep(0.02)
        assert channel.blocked_since is not None
        knobs.channel_entries = 100
        channel.room_changed()
    assert channel.entries == 21


async def test_batches_have_the_size_asked_for_and_keep_the_order() -> None:
    channel, accumulator = stage()
    await channel.send(block(7))
    await channel.send(block(8))
    first = await next_batch(accumulator)
    assert first.commands == 10
    second = await next_batch(accumulator)
    assert [c for b in (first, second) for part in b.blocks for c in part.commands] == [
        *(b"c%d" % i for i in range(7)),
        *(b"c%d" % i for i in range(8)),
    ]


async def test_a_partial_batch_waits_for_the_flush_interval() -> None:
    channel, accumulator = stage()
    await channel.send(block(3))
    started = time.monotonic()
    assert (await next_batch(accumulator)).commands == 3
    assert time.monotonic() - started >= 0.045


async def test_adaptive_flush_sends_a_partial_batch_at_once_when_idle() -> None:
    channel, accumulator = stage(replace(KNOBS, adaptive_flush=True, flush_interval=5.0))
    await channel.send(block(3))
    started = time.monotonic()
    assert (await next_batch(accumulator)).commands == 3
    assert time.monotonic() - started < 1.0


async def test_a_batch_is_bounded_in_bytes() -> None:
    channel, accumulator = stage(replace(KNOBS, batch_size=1000, channel_bytes=1 << 30))
    await channel.send(block(8, size=2 * MAX_BATCH_BYTES))
    assert (await next_batch(accumulator)).commands == 4


async def test_a_global_command_is_a_batch_border() -> None:
    channel, accumulator = stage()
    await channel.send(block(2))
    await channel.send(Global(0, (b"FLUSHALL",), 5, 6))
    await channel.send(block(1))
    assert (await next_batch(accumulator)).commands == 2
    with anyio.fail_after(1):
        assert isinstance(await accumulator.next(), Global)
    assert (await next_batch(accumulator)).commands == 1


async def test_a_closed_channel_is_drained_then_over() -> None:
    channel, accumulator = stage(replace(KNOBS, flush_interval=5.0))
    await channel.send(block(2))
    channel.close()
    assert (await next_batch(accumulator)).commands == 2
    with anyio.fail_after(1):
        assert await accumulator.next() is None


def test_a_cut_never_parts_the_commands_of_one_record() -> None:
    head, tail = cut(block(5, lsns=[7, 8, 8, 8, 9], next_lsn=10), 2)
    assert (len(head.commands), head.next_lsn) == (4, 9)
    assert tail is not None
    assert (len(tail.commands), tail.next_lsn) == (1, 10)


def test_a_cut_snapshot_block_moves_no_position() -> None:
    head, tail = cut(block(5), 2)
    assert (len(head.commands), head.next_lsn, tail is not None) == (2, 0, True)
    assert cut(block(5), 5)[1] is None


def test_the_keys_of_a_cut_block_are_counted_once_and_about_where_they_are() -> None:
    whole = block(10)
    whole.kinds = {"string": 9, "hash": 1}
    head, tail = cut(whole, 4)
    assert tail is not None
    assert head.kinds == {"string": 3, "hash": 0}
    assert {kind: head.kinds[kind] + tail.kinds[kind] for kind in whole.kinds} == whole.kinds


async def test_the_limit_can_shrink_below_what_is_in_flight() -> None:
    freed: list[int] = []
    limiter = Limiter(3, lambda: freed.append(1))
    batches = [object(), object(), object()]
    assert all(limiter.try_acquire(b, 10) for b in batches)
    limiter.limit = 1
    for b in batches[:2]:
        limiter.release(b, 10)
        assert not limiter.try_acquire(object(), 10)
    limiter.release(batches[2], 10)
    assert limiter.try_acquire(object(), 10)


async def test_a_lone_batch_of_any_size_may_go() -> None:
    limiter = Limiter(3, lambda: None)
    assert limiter.try_acquire("huge", 10 * IN_FLIGHT_BYTES)
    assert not limiter.try_acquire("small", 1)


def test_the_rate_limit_spaces_batches_out() -> None:
    rate = RateLimit(1000)
    assert rate.take(500, 10.0) == 0.0
    assert rate.take(500, 10.0) == pytest.approx(0.5)
    rate.change(0)
    assert rate.take(10_000, 10.0) == 0.0


def test_defaults_follow_the_design() -> None:
    assert default_max_in_flight(False, 8) == 50
    assert default_max_in_flight(True, 8) == 50
    assert default_max_in_flight(True, 4) == 100
    assert default_channel_bytes(1) == 64 << 20
    assert default_channel_bytes(16) * 16 <= 64 << 20
