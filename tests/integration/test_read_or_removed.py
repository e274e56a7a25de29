"""What the journal does not say, or the target does not take: the key is read again, or it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.support.player import Behaviour, Player, Script
from tests.support.player.script import Dump
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server, start_server
from tests.support.synthetic import SET, STRING, entry, flow, record, set_payload, string

pytestmark = pytest.mark.real
Run = Callable[..., Program]
JSON = b"\x1e"


@pytest.fixture
def held(any_target: Server) -> Iterator[redis.Redis]:
    """What the source holds at the end; its DUMP answers for it."""
    with start_server(any_target.kind) as server:
        yield server.client()


def dump_of(held: redis.Redis) -> Dump:
    def dump(db: int, key: bytes) -> tuple[bytes, int] | None:
        payload = held.dump(key)
        return (payload, held.pttl(key)) if payload else None

    return dump


def test_a_list_of_one_moved_onto_itself_keeps_its_ttl_and_one_popped_and_pushed_does_not(
    any_target: Server, held: redis.Redis, run: Run
) -> None:
    ends_at = int(time.time() * 1000) + 100_000_000
    journal: list[bytes] = []
    for key in (b"moved", b"popped"):
        held.rpush(key, b"value")
        journal += [
            record(b"RPUSH", key, b"value"),
            record(b"PEXPIREAT", key, b"%d" % ends_at),
            record(b"RPOP", key),
            record(b"LPUSH", key, b"value"),
        ]
    held.pexpireat("moved", ends_at)
    with Player(Script((flow([], journal),)), behaviour=Behaviour(dump=dump_of(held))) as player:
        program = run(copy_arguments(player.url, any_target.url))
    assert program.process.returncode == 0, program.output()
    client = any_target.client()
    assert client.lrange("moved", 0, -1) == client.lrange("popped", 0, -1) == [b"value"]
    assert abs(client.pttl("moved") - held.pttl("moved")) < 10_000
    assert client.pttl("popped") == -1


def test_numbers_as_a_client_of_the_source_wrote_them(any_target: Server, run: Run) -> None:
    records = [record(b"SET", b"n", b"0"), record(b"INCRBY", b"n", b" +05"), record(b"INCRBY", b"n", b"1")]
    records += [record(b"ZADD", b"z", b"1", b"a"), record(b"ZINCRBY", b"z", b" 1", b"a")]
    with Player(Script((flow([], records),))) as player:
        program = run(copy_arguments(player.url, any_target.url))
    assert program.process.returncode == 0, program.output()
    assert any_target.client().get("n") == b"6"
    assert any_target.client().zscore("z", "a") == 2


def test_no_older_value_stays_of_a_key_that_can_t_be_copied(any_target: Server, held: redis.Redis, run: Run) -> None:
    keys = ("snapshot", "journal", "answer", "unread")
    client = any_target.client()
    for key in keys:
        client.set(key, "older")
    twice = set_payload([b"member", b"member"])  # RESTORE refuses it
    held.set("answer", "whatever")
    snapshot = [
        entry(JSON, b"snapshot", string(b"{}")),
        entry(SET, b"answer", twice),
        entry(STRING, b"fine", string(b"v")),
    ]
    records = [
        record(b"BF.ADD", b"journal", b"a"),
        record(b"CL.THROTTLE", b"unread", b"5", b"10", b"60"),
        record(b"SET", b"last", b"v"),
    ]

    def dump(db: int, key: bytes) -> tuple[bytes, int] | None:
        return (b"short", -1) if key == b"unread" else dump_of(held)(db, key)

    with Player(Script((flow(snapshot, records),)), behaviour=Behaviour(dump=dump)) as player:
        program = run(copy_arguments(player.url, any_target.url))
    assert program.process.returncode == 5, program.output()
    assert [key for key in keys if client.exists(key)] == []
    assert [client.get(key) for key in ("fine", "last")] == [b"v", b"v"]
    letters = {letter["key"]: letter["on_target"] for letter in program.dead_letters()}
    assert letters == dict.fromkeys(keys, "removed")


def test_keys_that_are_left_alone_stay(any_target: Server, run: Run) -> None:
    client = any_target.client()
    client.mset({"snapshot": "own", "journal": "own"})
    script = Script((flow([entry(JSON, b"snapshot", string(b"{}"))], [record(b"BF.ADD", b"journal", b"a")]),))
    with Player(script) as player:
        run(copy_arguments(player.url, any_target.url, "--on-existing", "skip"))
    assert client.mget("snapshot", "journal") == [b"own", b"own"]
