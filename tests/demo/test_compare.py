"""The comparison finds every kind of difference, and nothing else."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

from df2redis_tui.demo.embedded import EmbeddedValkey
from df2redis_tui.settings import Endpoint
from df2redis_tui.verify.compare import compare

pytestmark = pytest.mark.asyncio


async def test_each_difference_is_told() -> None:
    one, two = await asyncio.gather(EmbeddedValkey.start(), EmbeddedValkey.start())
    try:
        left, right = (redis.asyncio.Redis(port=server.port, protocol=2) for server in (one, two))
        for side in (left, right):
            await side.set("same", b"\x00\xff", px=60_000)
            await side.zadd("zset", {"a": 1.5, "b": 2})
            await side.xadd("stream", {"f": 1}, id="1-1")
            await side.xgroup_create("stream", "g", "0")
        await left.sadd("set", 1, 2, 3)
        await right.sadd("set", 3, 2, 1)
        await left.set("missing", 1)
        await right.set("extra", 1)
        await left.set("value", "abc")
        await right.set("value", "abd")
        await left.set("type", "abc")
        await right.rpush("type", "abc")
        await left.set("ttl", 1, px=60_000)
        await right.set("ttl", 1)
        await right.zadd("zset", {"b": 3})
        await left.xreadgroup("g", "c", {"stream": ">"})
        await left.hset("hash", "f", 1)
        await right.hset("hash", "f", 1)
        await left.execute_command("HEXPIRE", "hash", 100, "FIELDS", 1, "f")
        await right.set("df2redis:own", 1)
        endpoints = [Endpoint((("127.0.0.1", server.port),)) for server in (one, two)]
        result = await compare(*endpoints, ignore_prefixes=(b"df2redis",))
        assert (result.keys, result.equal, result.missing, result.extra, result.different) == (10, 2, 1, 1, 6)
        told = {sample.key.decode(): sample.reason for sample in result.samples}
        assert set(told) == {"missing", "extra", "value", "type", "ttl", "zset", "stream", "hash"}
        assert not any("abd" in reason for reason in told.values()), "values are never shown"
        assert not result.same
        await asyncio.gather(left.aclose(), right.aclose())
    finally:
        await asyncio.gather(one.stop(), two.stop())
