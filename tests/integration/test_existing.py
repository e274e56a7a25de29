"""What happens to keys that the target holds before the copy: --on-existing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server
from tests.support.synthetic import (
    HASH,
    LIST,
    STRING,
    ZSET,
    entry,
    flow,
    hash_payload,
    list_payload,
    string,
    zset_payload,
)

pytestmark = pytest.mark.real
Run = Callable[..., Program]
ENTRIES = [
    entry(STRING, b"string", string(b"new")),
    entry(STRING, b"expiring", string(b"new"), 2_035_000_000_000),
    entry(LIST, b"list", list_payload([b"new 1", b"new 2"])),
    entry(HASH, b"hash", hash_payload([(b"field", b"new")], 1)),
    entry(ZSET, b"zset", zset_payload([(b"member", 1.5)])),
    entry(STRING, b"fresh", string(b"new")),
]
HELD = 6


@pytest.fixture
def player(target: Server) -> Iterator[Player]:
    client = target.client()
    client.set("string", "old", ex=1000)
    client.rpush("expiring", "old")
    client.rpush("list", "old")
    client.hset("hash", mapping={"field": "old", "another": "old"})
    client.set("zset", "old")
    client.set("bystander", "old")
    with Player(Script((flow(ENTRIES),))) as running:
        yield running


def test_overwrite_replaces_whole_keys_and_says_how_many_were_there(player: Player, target: Server, run: Run) -> None:
    program = run(copy_arguments(player.url, target.url))
    assert program.process.returncode == 0, program.output()
    client = target.client()
    assert client.get("string") == b"new"
    assert client.ttl("string") == -1
    assert client.get("expiring") == b"new"
    assert client.lrange("list", 0, -1) == [b"new 1", b"new 2"]
    assert client.hgetall("hash") == {b"field": b"new"}
    assert client.zrange("zset", 0, -1, withscores=True) == [(b"member", 1.5)]
    assert client.get("bystander") == b"old"
    warned = [
        line for line in (program.output() + program.log()).splitlines() if "already" in line and str(HELD) in line
    ]
    assert warned, program.output()
    assert program.summary()["target"]["existing_keys"] == HELD


def test_skip_keeps_what_is_there(player: Player, target: Server, run: Run) -> None:
    program = run(copy_arguments(player.url, target.url, "--on-existing", "skip"))
    client = target.client()
    assert client.get("string") == b"old"
    assert client.lrange("list", 0, -1) == [b"old"]
    assert client.hgetall("hash") == {b"field": b"old", b"another": b"old"}
    assert client.get("zset") == b"old"
    assert client.get("fresh") == b"new"
    assert program.process.returncode in (0, 5), program.output()


def test_fail_touches_nothing(player: Player, target: Server, run: Run) -> None:
    program = run(copy_arguments(player.url, target.url, "--on-existing", "fail"))
    assert program.process.returncode == 4, program.output()
    assert str(HELD) in program.output()
    assert target.client().get("string") == b"old"
    assert not target.client().exists("fresh")
    assert not any(words[:2] == ("DFLY", "SYNC") for words in player.commands)


@pytest.mark.parametrize("policy", ["allkeys-lru", "noeviction"])
def test_a_target_that_drops_keys_when_it_is_full_is_warned_of(
    player: Player, target: Server, run: Run, policy: str
) -> None:
    client = target.client()
    client.config_set("maxmemory", "1gb")
    client.config_set("maxmemory-policy", policy)
    program = run(copy_arguments(player.url, target.url))
    assert program.process.returncode == 0, program.output()
    assert ("maxmemory-policy allkeys-lru" in program.log()) == (policy == "allkeys-lru")
    assert ("drops keys when it is full" in program.output()) == (policy == "allkeys-lru")
