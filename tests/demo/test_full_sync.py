"""The full sync under writers whose commands can't be repeated ends with exactly the source's content."""

from __future__ import annotations

import asyncio
import random

import pytest
import redis.asyncio

from df2redis_tui.demo.embedded import EmbeddedValkey
from df2redis_tui.demo.source import LookAlike
from tests.demo.conftest import compared
from tests.demo.replica import Replica

pytestmark = pytest.mark.asyncio


async def write_until(stop: asyncio.Event, port: int, seed: int, keys: int) -> None:
    rng = random.Random(seed)
    client = redis.asyncio.Redis(port=port, protocol=2)

    def one(pipe: redis.asyncio.client.Pipeline) -> None:
        key = rng.randrange(keys)
        match rng.randrange(12):
            case 0:
                pipe.incrby(f"n{key}", rng.randrange(100))
            case 1:
                pipe.append(f"a{key}", rng.randbytes(5))
            case 2:
                pipe.lpush(f"l{key}", rng.randrange(1000), "x" * rng.randrange(40))
            case 3:
                pipe.rpop(f"l{key}")
            case 4:
                pipe.zincrby(f"z{key}", rng.randrange(9), rng.randrange(20))
            case 5:
                pipe.sadd(f"s{key}", rng.randrange(50), rng.randbytes(3))
            case 6:
                pipe.spop(f"s{key}", 2)
            case 7:
                pipe.hincrby(f"h{key}", rng.randrange(20), 3)
            case 8:
                pipe.lmove(f"l{key}", f"l{rng.randrange(keys)}")
            case 9:
                pipe.set(f"n{key}", rng.randrange(100))
            case 10:
                pipe.delete(f"a{key}", f"s{rng.randrange(keys)}")
            case 11:
                pipe.xadd(f"x{key}", {"f": rng.randrange(9)}, maxlen=20, approximate=False)

    try:
        while not stop.is_set():
            pipe = client.pipeline(transaction=rng.random() < 0.2)
            for _ in range(rng.randrange(1, 12)):
                one(pipe)
            await pipe.execute(raise_on_error=False)
            await asyncio.sleep(0.005)
    finally:
        await client.aclose()


@pytest.mark.parametrize("seed", range(3))
async def test_concurrent_writers(source: LookAlike, copy: EmbeddedValkey, replica: Replica, seed: int) -> None:
    source.snapshot_pace = 0.005
    source.chunk_limit = 700
    stop = asyncio.Event()
    writers = [asyncio.create_task(write_until(stop, source.port, seed * 10 + w, 120)) for w in range(3)]
    try:
        await asyncio.sleep(0.5)
        await replica.full_sync()
        await asyncio.sleep(0.5)
    finally:
        stop.set()
        await asyncio.gather(*writers)
    await replica.caught_up()
    result = await compared(source, copy)
    assert result.same, "\n".join(map(str, (result, *result.samples)))
    assert result.keys > 300
    assert replica.applier.blobs > 50
    assert replica.lsn_errors == 0
