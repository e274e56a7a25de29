"""A change of the rate limit concerns a batch that waits already."""

from __future__ import annotations

import anyio
import pytest

from df2redis_tui.pipeline.limiter import RateLimit


@pytest.mark.asyncio
@pytest.mark.parametrize("new", [0, 1_000_000], ids=["lifted", "raised"])
async def test_raising_it_frees_a_batch_that_waits_under_the_old_one(new: int) -> None:
    rate = RateLimit(1)
    await rate.passed(3600, lambda: None)  # the next one waits for an hour
    waits, passed = anyio.Event(), anyio.Event()

    async def send() -> None:
        await rate.passed(1, waits.set)
        passed.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await waits.wait()
            assert not passed.is_set()
            rate.change(new)
            await passed.wait()
