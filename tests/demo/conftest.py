"""Fixtures: a look-alike, an empty target, a model replica between them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
import redis.asyncio

from df2redis_tui.demo.embedded import EmbeddedValkey
from df2redis_tui.demo.source import LookAlike
from df2redis_tui.settings import Endpoint
from df2redis_tui.verify.compare import Comparison, Tolerance, compare
from tests.demo.replica import Applier, Replica


@pytest_asyncio.fixture
async def source() -> AsyncIterator[LookAlike]:
    async with LookAlike(flows=3) as look_alike:
        yield look_alike


@pytest_asyncio.fixture
async def copy() -> AsyncIterator[EmbeddedValkey]:
    server = await EmbeddedValkey.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture
async def replica(source: LookAlike, copy: EmbeddedValkey) -> AsyncIterator[Replica]:
    target = redis.asyncio.Redis(port=copy.port, protocol=2, single_connection_client=True)
    replica = Replica(source.port, Applier(target))
    try:
        yield replica
    finally:
        if hasattr(replica, "control"):
            await replica.close()
        await target.aclose()


async def compared(source: LookAlike, copy: EmbeddedValkey) -> Comparison:
    here, there = (Endpoint((("127.0.0.1", port),)) for port in (source.port_of_backend, copy.port))
    return await compare(here, there, tolerance=Tolerance(field_ttl_ms=5_000))
