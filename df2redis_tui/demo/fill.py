"""Seeded mixed data: every type and encoding, TTLs, several databases, values above the chunk size."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, Final

import redis.asyncio

_BATCH: Final = 500
KINDS: Final = ("str", "num", "list", "set", "iset", "hash", "httl", "zset", "stream", "hll", "geo")
_WEIGHTS: Final = (34, 12, 10, 8, 4, 12, 3, 9, 4, 2, 2)
_BIG: Final = 6  # values of more than 64 KiB, one of each kind that has them


def key_name(kind: str, number: int) -> str:
    """`{number}` keys of one kind; the writer uses the same names."""
    return f"demo:{kind}:{number}"


async def fill(port: int, keys: int, seed: int, dbs: Sequence[int] = (0, 1, 3)) -> int:
    """Write about `keys` keys to the server on loopback; returns how many. Database 0 gets most of them."""
    rng = random.Random(seed)
    written = 0
    for db in dbs:
        share = keys if len(dbs) == 1 else keys * 85 // 100 if db == dbs[0] else keys * 15 // 100 // (len(dbs) - 1)
        client = redis.asyncio.Redis(port=port, db=db, protocol=2)
        try:
            if db == dbs[0] and share > _BIG:
                await _big_values(client, rng)
                share -= _BIG
                written += _BIG
            for begin in range(0, share, _BATCH):
                pipe = client.pipeline(transaction=False)
                for number in range(begin, min(share, begin + _BATCH)):
                    kind = rng.choices(KINDS, _WEIGHTS)[0]
                    key = key_name(kind, number)
                    _value(pipe, kind, key, rng)
                    if rng.random() < 0.1:
                        pipe.pexpireat(key, int(time.time() * 1000) + rng.choice((4_000, 60_000, 3_600_000)))
                await pipe.execute()
            written += share
        finally:
            await client.aclose()
    return written


def _text(rng: random.Random, most: int) -> bytes:
    size = rng.randrange(most)
    return rng.randbytes(size) if rng.random() < 0.3 else (b"lorem ipsum dolor sit amet " * (size // 27 + 1))[:size]


def _value(pipe: Any, kind: str, key: str, rng: random.Random) -> None:
    some = rng.choice((3, 3, 8, 8, 40, 200))
    match kind:
        case "str":
            pipe.set(key, _text(rng, rng.choice((20, 100, 100, 2000))))
        case "num":
            pipe.set(key, rng.choice((rng.randrange(100), rng.randrange(-(1 << 40), 1 << 40))))
        case "list":
            pipe.rpush(key, *(rng.choice((_text(rng, 30), b"%d" % rng.randrange(70000))) for _ in range(some)))
        case "set":
            pipe.sadd(key, *(b"m%d" % rng.randrange(1000) for _ in range(some)))
        case "iset":
            pipe.sadd(key, *(rng.randrange(1 << rng.choice((7, 15, 40))) for _ in range(some)))
        case "hash":
            pipe.hset(key, mapping={f"f{i}": _text(rng, 30) for i in range(some)})
        case "httl":
            pipe.hset(key, mapping={f"f{i}": i for i in range(5)})
            pipe.execute_command("HEXPIRE", key, 3600, "FIELDS", 2, "f0", "f1")
        case "zset":
            pipe.zadd(key, {f"m{i}": rng.choice((rng.randrange(100), rng.random())) for i in range(some)})
        case "stream":
            for i in range(1, 1 + some // 3):
                pipe.xadd(key, {"n": i, "text": _text(rng, 20)}, id=f"{i}-1")
            pipe.xgroup_create(key, "group", "0", mkstream=True)
            pipe.xreadgroup("group", "alice", {key: ">"}, count=2)
        case "hll":
            pipe.pfadd(key, *(rng.randrange(1 << 30) for _ in range(some)))
        case "geo":
            pipe.geoadd(key, [x for i in range(3) for x in (rng.uniform(-180, 180), rng.uniform(-85, 85), f"p{i}")])


async def _big_values(client: Any, rng: random.Random) -> None:
    pipe = client.pipeline(transaction=False)
    pipe.set("demo:big:str", rng.randbytes(300_000))
    pipe.rpush("demo:big:list", *(b"element %d " % i * 8 for i in range(3000)))
    pipe.sadd("demo:big:set", *(b"member %d " % i * 4 for i in range(4000)))
    pipe.hset("demo:big:hash", mapping={f"field {i}": rng.randbytes(60) for i in range(4000)})
    pipe.zadd("demo:big:zset", {f"member {i} of many": i / 7 for i in range(8000)})
    for i in range(1, 2001):
        pipe.xadd("demo:big:stream", {"number": i, "payload": rng.randbytes(40)}, id=f"{i}-0")
    await pipe.execute()
