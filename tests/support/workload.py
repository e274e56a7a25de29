"""A seeded workload of commands that must be applied exactly once, on few keys, so that every error shows."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis


class Workload:
    """Writes at about `rate` commands/s on a thread until `stop`; use it as a context manager."""

    def __init__(
        self,
        client: Callable[[int], redis.Redis],
        seed: int,
        *,
        rate: float = 3_000,
        keys: int = 12,
        flushes: bool = True,
        databases: Sequence[int] = (0, 0, 0, 1),
    ) -> None:
        """`databases`: one is chosen for each pipeline; the last one is flushed now and then."""
        self.sent = 0
        self._databases = databases
        self._client = client
        self._rng = random.Random(seed)
        self._rate = rate
        self._keys = keys
        self._flushes = flushes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="workload", daemon=True)
        self._id = 0

    def __enter__(self) -> Workload:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        clients = [self._client(db) for db in self._databases]
        while not self._stop.is_set():
            began = time.monotonic()
            count = self._rng.randrange(1, 120)
            try:
                pipe = self._rng.choice(clients).pipeline(transaction=self._rng.random() < 0.2)
                for _ in range(count):
                    self._one(pipe)
                if self._flushes and self._rng.random() < 0.002:
                    clients[-1].flushdb()
                pipe.execute(raise_on_error=False)
                self.sent += count
            except redis.RedisError:
                self._stop.wait(0.05)
            self._stop.wait(max(0.0, count / self._rate - (time.monotonic() - began)))
        for client in clients:
            with contextlib.suppress(redis.RedisError):
                client.close()

    def _key(self, kind: str) -> str:
        return f"{kind}:{self._rng.randrange(self._keys)}"

    def _one(self, pipe: Any) -> None:
        rng = self._rng
        self._id += 1
        match rng.randrange(19):
            case 0 | 1:
                pipe.incrby(self._key("num"), rng.randrange(1, 9))
            case 2:
                pipe.append(self._key("str"), f"{self._id},")
            case 3 | 4:
                pipe.lpush(self._key("list"), self._id, "x")
            case 5:
                pipe.rpop(self._key("list"))
            case 6:
                pipe.hincrby(self._key("hash"), f"f{rng.randrange(5)}", 3)
            case 7:
                pipe.zincrby(self._key("zset"), 1, f"m{rng.randrange(5)}")
            case 8:
                pipe.xadd(self._key("stream"), {"n": self._id}, maxlen=500, approximate=False)
            case 9:
                pipe.sadd(self._key("set"), self._id, self._id + 1, self._id + 2)
            case 10:
                pipe.spop(self._key("set"), 2)
            case 11:
                pipe.rename(self._key("str"), self._key("str"))
            case 12:
                pipe.setrange(self._key("str"), rng.randrange(200), str(self._id))
            case 13:
                pipe.set(self._key("ttl"), self._id, px=rng.choice((400, 3_000, 600_000)))
            case 14:
                pipe.expire(self._key("num"), rng.choice((1, 600)))
            case 15:
                pipe.persist(self._key("num"))
            case 16:
                # One name for several types: a command that is repeated after the type has changed fails.
                key = self._key("any")
                pipe.delete(key)
                match rng.randrange(3):
                    case 0:
                        pipe.hset(key, "f", self._id)
                    case 1:
                        pipe.sadd(key, self._id)
                    case 2:
                        pipe.set(key, "v")
            case 17:
                pipe.ltrim(self._key("list"), 0, 400)
            case 18:
                pipe.delete(self._key(rng.choice(("str", "set", "hash"))))
