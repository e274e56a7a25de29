"""Every type in every encoding, with and without TTLs, in several databases, by the full sync alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.real.copying import Copying
from tests.real.sources import SourceServer
from tests.real.targets import Target

pytestmark = [pytest.mark.real, pytest.mark.every_combination(short=1)]

Make = Callable[[Any, bytes], object]


def _stream(pipe: Any, key: bytes) -> None:
    for number in range(1, 300):
        pipe.xadd(key, {"n": number, "text": b"x" * (number % 40)}, id=f"{number}-1")
    pipe.xdel(key, "5-1", "299-1")
    pipe.xgroup_create(key, "g", "0")
    pipe.xgroup_create(key, "idle", "$")
    pipe.xreadgroup("g", "alice", {key: ">"}, count=20)
    pipe.xreadgroup("g", "bob", {key: ">"}, count=5)
    pipe.xack(key, "g", "1-1", "2-1")


def _emptied_stream(pipe: Any, key: bytes) -> None:
    pipe.xadd(key, {"f": "v"}, id="7-7")
    pipe.xdel(key, "7-7")


def _field_ttls(pipe: Any, key: bytes) -> None:
    pipe.hset(key, mapping={f"f{i}": i for i in range(9)})
    pipe.execute_command("HEXPIRE", key, 3600, "FIELDS", 3, "f0", "f1", "f8")


def _numbers(count: int, below: int) -> list[int]:
    rng = random.Random(below)
    return [rng.randrange(-below, below) for _ in range(count)]


def _push(*values: Any) -> Make:
    return lambda pipe, key: pipe.rpush(key, *values)


def _add(*members: Any) -> Make:
    return lambda pipe, key: pipe.sadd(key, *members)


def _fields(count: int, size: int) -> Make:
    return lambda pipe, key: pipe.hset(key, mapping={f"field {i}": b"%d" % i * size for i in range(count)})


def _ranks(scores: dict[str, float]) -> Make:
    return lambda pipe, key: pipe.zadd(key, scores)


def _text(value: Any) -> Make:
    return lambda pipe, key: pipe.set(key, value)


TYPES: dict[str, Make] = {
    "string": _text("hello"),
    "string of no bytes": _text(b""),
    "string of any bytes": _text(bytes(range(256))),
    "string of zeros and line ends": _text(b"\0\r\n\0"),
    "number": _text(42),
    "number, least": _text(-(1 << 63)),
    "number, greatest": _text((1 << 63) - 1),
    "number too great": _text(1 << 63),
    "number with leading zeros": _text(b"007"),
    "string that packs well": _text(b"abc" * 5_000),
    "string of 3 MB": _text(random.Random(1).randbytes(3_000_000)),
    "list": _push("a", "", "c"),
    "list of numbers": _push(*_numbers(20, 1 << 60), *range(130), -1),
    "list of nodes": _push(*(b"element %d" % i * 3 for i in range(5_000))),
    "list of great elements": _push(b"x" * 200_000, b"small", random.Random(2).randbytes(100_000)),
    "set": _add("a", "b", b"\0\xff", ""),
    "set of 16 bits": _add(*_numbers(50, 1 << 15)),
    "set of 32 bits": _add(*_numbers(50, 1 << 31)),
    "set of 64 bits": _add(*_numbers(50, 1 << 62)),
    "set of many numbers": _add(*range(5_000)),
    "set of many": _add(*(b"member %d" % i for i in range(5_000))),
    "hash": _fields(5, 3),
    "hash of many": _fields(3_000, 4),
    "hash of great values": _fields(4, 70_000),
    "hash with field TTLs": _field_ttls,
    "zset": _ranks({"a": 1, "b": 1.5, "c": -0.1, "d": float("inf"), "e": float("-inf"), "": 0}),
    "zset of many": _ranks({f"member {i}": i / 7 for i in range(4_000)}),
    "zset of exact scores": _ranks({"t": 1700000000123.0, "u": 0.1 + 0.2, "v": 2.0**53 + 2, "w": 5e-324}),
    "stream": _stream,
    "stream without entries": _emptied_stream,
    "sketch": lambda pipe, key: pipe.pfadd(key, *range(5)),
    "sketch of many": lambda pipe, key: pipe.pfadd(key, *range(5_000)),
    "places": lambda pipe, key: pipe.geoadd(key, (13.36, 38.11, "a", 15.08, 37.5, "b")),
}
NAMES = (b"", b"\0\xff key", b"line\r\nend", b"{tag}1", b"{tag}2", "ключ".encode(), b"x" * 1_000)


def fill(client: Callable[[int], redis.Redis], databases: tuple[int, ...]) -> int:
    """One key of each type without a TTL, one with, and strange names, in each database; returns how many."""
    for db in databases:
        with client(db) as connection:
            pipe = connection.pipeline(transaction=False)
            for name, make in TYPES.items():
                make(pipe, name.encode())
                key = b"ttl: " + name.encode()
                make(pipe, key)
                pipe.pexpire(key, 1_000_000)
            for key in NAMES:
                pipe.set(key, key)
                pipe.execute_command("SET", key + b"!", b"v", "PX", 900_000)
            pipe.execute()
    return len(databases) * 2 * (len(TYPES) + len(NAMES))


def test_every_type(source: SourceServer, real_target: Target, copying: Callable[..., Copying]) -> None:
    keys = fill(source.client, real_target.databases)
    copy = copying("--member-ttl", "drop")
    copy.run_until_caught_up()
    assert copy.program.summary()["keys_copied"] == keys
    copy.check_equal(keys)
