"""Everything the demo fills and writes arrives: the rewrites of every command family end with the source's content."""

from __future__ import annotations

import asyncio

import pytest

from df2redis_tui.demo.embedded import EmbeddedValkey
from df2redis_tui.demo.fill import fill
from df2redis_tui.demo.source import LookAlike
from df2redis_tui.demo.writer import write
from tests.demo.conftest import compared
from tests.demo.replica import Replica

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("seed", [1, 2])
async def test_fill_and_writer(source: LookAlike, copy: EmbeddedValkey, replica: Replica, seed: int) -> None:
    keys = 2_000
    assert await fill(source.port, keys, seed) == keys
    stop = asyncio.Event()
    writing = asyncio.create_task(write(source.port, 1_500, seed, keys, (0, 1, 3), stop))
    await replica.full_sync()
    await asyncio.sleep(2)
    stop.set()
    assert await writing > 2_000
    await replica.caught_up()
    result = await compared(source, copy)
    assert result.same, "\n".join(map(str, (result, *result.samples)))
    assert replica.applier.big >= 3
    assert source.crashes == source.stray_replies == 0
