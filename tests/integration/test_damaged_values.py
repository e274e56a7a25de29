"""Damaged values and real servers: none is restored, and what is restored a server's own deep check takes too."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator

import pytest
import redis

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb.values import decode_elements
from df2redis_tui.errors import DecodeError
from df2redis_tui.translate.capabilities import capabilities_of
from df2redis_tui.translate.values import ValueWriter
from tests.support.damaged import Damaged, damaged_values
from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server, available_targets, start_server
from tests.support.synthetic import STRING, entry, flow, string
from tests.unit.translate.surroundings import parse

pytestmark = pytest.mark.real

TABLE = [value for value in damaged_values() if r.KIND[value.type] != "json"]
MUTATIONS = 6_000

# Of each encoding one that killed a server, or was restored as something else.
RUNS = {(value.type, "is there twice" in value.name): value for value in TABLE}


@pytest.mark.parametrize("value", RUNS.values(), ids=str)
def test_a_run_ends_at_a_damaged_value(any_target: Server, run: Callable[..., Program], value: Damaged) -> None:
    entries = [
        entry(STRING, b"before", string(b"1")),
        entry(bytes([value.type]), b"its:name", value.raw),
        entry(STRING, b"after", string(b"2")),
    ]
    with Player(Script((flow(entries),))) as player:
        ended = run(copy_arguments(player.url, any_target.url))
    assert ended.process.returncode == 3, ended.output()
    assert "malformed stream at byte" in ended.output()
    assert "its:name" in ended.output()
    assert "Traceback" not in ended.output() + ended.log()
    client = any_target.client()
    assert not client.exists("its:name", "after")


@pytest.mark.parametrize("value", {(value.type, value.intact): value for value in TABLE}.values(), ids=str)
def test_the_same_values_without_the_damage_are_copied(target: Server, value: Damaged) -> None:
    Written(target).check(value.type, value.intact)


@pytest.fixture(params=available_targets())
def strict(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that looks into every payload."""
    with start_server(request.param, options=["--sanitize-dump-payload", "yes"]) as server:
        yield server


def test_what_passes_the_deep_check_of_a_server_takes_too(strict: Server) -> None:
    """Random damage: most is refused; the rest (another text, another number) is as well-formed as before."""
    written = Written(strict)
    dice = random.Random(20)
    intact = sorted({(value.type, value.intact) for value in TABLE})
    passed = 0
    for _ in range(MUTATIONS):
        type, raw = dice.choice(intact)
        damaged = mutated(raw, dice)
        try:
            elements = decode_elements(type, damaged)
        except DecodeError:
            continue
        if type == r.LIST_QUICKLIST2 and b"" in elements:
            continue  # a plain node of no bytes is refused as a list without elements is
        written.check(type, damaged)
        passed += 1
    assert MUTATIONS / 10 < passed < MUTATIONS / 2


def mutated(raw: bytes, dice: random.Random) -> bytes:
    data = bytearray(raw)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        at = dice.randrange(len(data))
        what = dice.random()
        if what < 0.4:
            data[at] ^= 1 << dice.randrange(8)
        elif what < 0.8:
            data[at] = dice.choice((0, 1, 2, 127, 128, 255, dice.randrange(256)))
        elif what < 0.9:
            data.insert(at, dice.randrange(256))
        elif len(data) > 1:
            del data[at]
    return bytes(data)


class Written:
    """Writes values into a server as a full sync does, reads them and lets them grow into another encoding."""

    def __init__(self, server: Server) -> None:
        self._client = server.client()
        info = {name: str(field) for name, field in self._client.info("server").items()}
        self._writer = ValueWriter(capabilities_of(info, (), False), "drop")

    def check(self, type: int, raw: bytes) -> None:
        client = self._client
        for encoded in self._writer.commands(b"k", type, raw, 0):
            client.execute_command(*parse(encoded))
        kind = client.type("k").decode()
        if kind == "hash":
            client.hgetall("k")
            client.hset("k", "new field", b"v" * 1000)
        elif kind == "zset":
            client.zrange("k", 0, -1, withscores=True)
            client.zadd("k", {b"m" * 1000: 1})
        elif kind == "set":
            client.smembers("k")
            client.sadd("k", b"m" * 1000)
        elif kind == "list":
            client.lrange("k", 0, -1)
            client.rpush("k", b"e" * 1000)
            client.linsert("k", "BEFORE", b"e" * 1000, "x")
        elif kind == "stream":
            self._stream()
        else:
            assert kind == "none"  # a container without elements
        assert client.ping()

    def _stream(self) -> None:
        client = self._client
        client.execute_command("XINFO", "STREAM", "k", "FULL")
        client.xrange("k")
        client.xrevrange("k")
        for group in client.xinfo_groups("k"):
            client.xpending_range("k", group["name"], "-", "+", 100)
            client.xgroup_destroy("k", group["name"])
        with contextlib.suppress(redis.ResponseError):  # its last id may be the last there can be
            client.xadd("k", {"f": "v"})
        client.xtrim("k", maxlen=0, approximate=False)
