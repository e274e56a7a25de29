"""A seeded writer over every family of write commands, at a steady rate, and the child process that fills and
writes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import redis.asyncio

from df2redis_tui.demo.fill import fill, key_name

_TICK: Final = 0.02  # seconds
_SCRIPT: Final = (
    "redis.call('INCR', KEYS[1]) redis.call('APPEND', KEYS[2], 'lua') "
    "return redis.call('SET', KEYS[3], ARGV[1], 'PX', 60000)"
)


class Writer:
    """One connection to one database. `written` counts commands sent."""

    def __init__(self, port: int, seed: int, db: int, keys: int) -> None:
        self.written = 0
        self._client = redis.asyncio.Redis(port=port, db=db, protocol=2, single_connection_client=True)
        self._rng = random.Random(seed)
        self._keys = keys
        self._id = 10_000
        self._families: tuple[Callable[[Any], None], ...] = (
            self._strings, self._strings, self._counters, self._counters, self._lists, self._lists, self._hashes,
            self._hashes, self._sorted, self._sorted, self._sets, self._streams, self._expiries, self._keyspace,
            self._stores, self._sketches,
        )  # fmt: skip

    async def run(self, rate: float, stop: asyncio.Event) -> None:
        """Write `rate` commands a second until `stop`; what a slow source holds up is not caught up on."""
        loop = asyncio.get_running_loop()
        owed = 0.0
        try:
            last = loop.time()
            while not stop.is_set():
                await asyncio.sleep(_TICK)
                now = loop.time()
                owed = min(owed + (now - last) * rate, rate)
                last = now
                count = int(owed)
                if count:
                    owed -= await self._burst(count)
        finally:
            await self._client.aclose()

    async def _burst(self, count: int) -> int:
        pipe = self._client.pipeline(transaction=self._rng.random() < 0.1)
        while len(pipe) < count:
            self._rng.choice(self._families)(pipe)
        sent = len(pipe)
        # A key may have another type than the command wants, after a RENAME: such errors are part of the traffic.
        await pipe.execute(raise_on_error=False)
        self.written += sent
        return sent

    def _key(self, kind: str) -> str:
        return key_name(kind, self._rng.randrange(self._keys))

    def _strings(self, pipe: Any) -> None:
        rng, key = self._rng, self._key("str")
        match rng.randrange(8):
            case 0:
                pipe.set(key, rng.randbytes(rng.randrange(200)))
            case 1:
                pipe.append(key, rng.randbytes(6))
            case 2:
                pipe.set(key, "with ttl", px=rng.choice((300, 5_000, 600_000)))
            case 3:
                pipe.setrange(key, rng.randrange(60), "range")
            case 4:
                pipe.mset({self._key("str"): rng.randrange(1000), self._key("str"): "mset", self._key("str"): "x" * 50})
            case 5:
                pipe.getset(key, rng.randrange(100_000))
            case 6:
                pipe.setbit(key, rng.randrange(500), 1)
            case 7:
                pipe.set(key, "nx", nx=True)

    def _counters(self, pipe: Any) -> None:
        rng, key = self._rng, self._key("num")
        match rng.randrange(4):
            case 0:
                pipe.incr(key)
            case 1:
                pipe.decrby(key, rng.randrange(1000))
            case 2:
                pipe.incrby(key, rng.randrange(1000))
            case 3:
                pipe.eval(_SCRIPT, 3, key, self._key("str"), self._key("str"), rng.randrange(1000))

    def _lists(self, pipe: Any) -> None:
        rng, key = self._rng, self._key("list")
        match rng.randrange(9):
            case 0 | 1:
                pipe.lpush(key, *(rng.randbytes(8) for _ in range(3)))
            case 2:
                pipe.rpush(key, rng.randrange(100_000))
            case 3:
                pipe.rpop(key)
            case 4:
                pipe.lpop(key, 2)
            case 5:
                pipe.ltrim(key, 0, 60)
            case 6:
                pipe.lmove(key, self._key("list"), "LEFT", "RIGHT")
            case 7:
                pipe.lset(key, 0, "set")
            case 8:
                pipe.rpush("demo:big:list", rng.randbytes(12))

    def _hashes(self, pipe: Any) -> None:
        rng, key = self._rng, self._key("hash")
        field = f"f{rng.randrange(30)}"
        match rng.randrange(6):
            case 0 | 1:
                pipe.hset(key, mapping={field: rng.randbytes(10), "other": rng.randrange(100)})
            case 2:
                pipe.hdel(key, field, "f1")
            case 3:
                pipe.hincrby(key, "counter", rng.randrange(50))
            case 4:
                pipe.hset("demo:big:hash", f"field {rng.randrange(4000)}", rng.randbytes(40))
            case 5:
                pipe.execute_command("HEXPIRE", self._key("httl"), 3600, "FIELDS", 1, field)

    def _sorted(self, pipe: Any) -> None:
        rng, key = self._rng, self._key("zset")
        match rng.randrange(6):
            case 0 | 1:
                pipe.zadd(key, {f"m{rng.randrange(60)}": rng.randrange(100), "always": rng.random()})
            case 2:
                pipe.zincrby(key, rng.randrange(10), f"m{rng.randrange(60)}")
            case 3:
                pipe.zpopmin(key)
            case 4:
                pipe.zrem(key, f"m{rng.randrange(60)}")
            case 5:
                pipe.zincrby("demo:big:zset", 0.5, f"member {rng.randrange(8000)} of many")

    def _sets(self, pipe: Any) -> None:
        rng, key = self._rng, self._key("set")
        match rng.randrange(4):
            case 0 | 1:
                pipe.sadd(key, *(b"m%d" % rng.randrange(2000) for _ in range(3)))
            case 2:
                pipe.spop(key, 2)
            case 3:
                pipe.smove(key, self._key("set"), b"m%d" % rng.randrange(1000))

    def _streams(self, pipe: Any) -> None:
        rng, key = self._rng, self._key("stream")
        match rng.randrange(4):
            case 0 | 1:
                pipe.xadd(key, {"n": rng.randrange(100)}, maxlen=rng.choice((None, 30)), approximate=False)
            case 2:
                self._id += 1
                pipe.xadd(key, {"at": self._id})
                pipe.xdel(key, f"{rng.randrange(1, 60)}-1")
            case 3:
                pipe.xtrim(key, maxlen=20, approximate=False)

    def _expiries(self, pipe: Any) -> None:
        rng, key = self._rng, self._key(self._rng.choice(("str", "list", "hash", "zset")))
        match rng.randrange(4):
            case 0:
                pipe.pexpire(key, rng.choice((500, 5_000, 600_000)))
            case 1:
                pipe.expireat(key, int(time.time()) + 3600)
            case 2:
                pipe.persist(key)
            case 3:
                pipe.getex(self._key("str"), ex=300)

    def _keyspace(self, pipe: Any) -> None:
        rng, kind = self._rng, self._rng.choice(("str", "num", "list", "hash", "set", "zset", "stream"))
        match rng.randrange(5):
            case 0:
                pipe.delete(self._key(kind), self._key(kind))
            case 1:
                pipe.unlink(self._key(kind))
            case 2:
                pipe.rename(self._key(kind), self._key(kind))
            case 3:
                pipe.copy(self._key(kind), self._key(kind), replace=True)
            case 4:
                pipe.getdel(self._key("str"))

    def _stores(self, pipe: Any) -> None:
        match self._rng.randrange(5):
            case 0:
                pipe.sunionstore(self._key("set"), self._key("set"), self._key("iset"))
            case 1:
                pipe.sinterstore(self._key("set"), self._key("set"), self._key("set"))
            case 2:
                pipe.zunionstore("demo:union", ["demo:ranks:1", "demo:ranks:2"])
                pipe.zadd(f"demo:ranks:{self._rng.randrange(1, 3)}", {f"m{self._rng.randrange(40)}": 3})
            case 3:
                # Dragonfly keeps the TTL of the destination, and journals a SET without it: this one never has any.
                pipe.bitop("OR", self._key("bits"), self._key("str"), self._key("str"))
            case 4:
                pipe.rpoplpush(self._key("list"), self._key("list"))

    def _sketches(self, pipe: Any) -> None:
        if self._rng.random() < 0.8:
            pipe.pfadd(self._key("hll"), self._rng.randrange(1 << 30))
        else:
            # As with BITOP: no TTL here.
            pipe.pfmerge(self._key("merged"), self._key("hll"), self._key("hll"))


async def write(port: int, rate: float, seed: int, keys: int, dbs: Sequence[int], stop: asyncio.Event) -> int:
    """Write at `rate` commands a second, most of them to the first database; returns how many were sent."""
    shares = [1.0] if len(dbs) == 1 else [0.85, *[0.15 / (len(dbs) - 1)] * (len(dbs) - 1)]
    writers = [
        Writer(port, seed * 101 + db, db, max(1, int(keys * share))) for db, share in zip(dbs, shares, strict=True)
    ]
    await asyncio.gather(*(w.run(rate * share, stop) for w, share in zip(writers, shares, strict=True)))
    return sum(writer.written for writer in writers)


async def _main(options: argparse.Namespace) -> None:
    dbs = [int(db) for db in options.dbs.split(",")]
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    _say(filled=await fill(options.port, options.keys, options.seed, dbs))
    stop = asyncio.Event()
    # A line ends the writing; so does the end of stdin, when whoever started this process is gone.
    ended = asyncio.create_task(stdin.readline())
    ended.add_done_callback(lambda _: stop.set())
    written = 0
    if options.rate > 0:
        written = await write(options.port, options.rate, options.seed, options.keys, dbs, stop)
    await stop.wait()
    _say(written=written)


def _say(**what: int) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(argv: list[str] | None = None) -> int:
    """`python -m df2redis_tui.demo.writer`: fills, says so as a JSON line, writes until a line or the end of stdin."""
    parser = argparse.ArgumentParser(prog="python -m df2redis_tui.demo.writer", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--keys", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dbs", default="0,1,3")
    try:
        asyncio.run(_main(parser.parse_args(argv)))
    except (redis.exceptions.RedisError, OSError) as failure:
        sys.stderr.write(f"demo writer: {failure}\n")
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
