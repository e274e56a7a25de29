"""Records that can't be replayed: with a source that answers, their keys are read again and nothing is left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.content import Can, Content, Entry, differences, expected_content, read_content, report
from tests.support.exceptions import REREAD, excused
from tests.support.player import Behaviour, Player, script_of
from tests.support.program import Program, copy_arguments
from tests.support.recordings import folders, load
from tests.support.servers import Server, available_targets, start_server

pytestmark = pytest.mark.real
RECORDED = [f for f in folders() if "liveload" not in f.name]


def hold(server: Server, expected: Content) -> None:
    """Write what the source would hold, so that this server's DUMP can answer for it (footer 9 with Redis 6.2)."""
    for db, keys in expected.items():
        client = server.client(db)
        for key, entry in keys.items():
            _write(client, key, entry)
            if entry.expires_at is not None and client.exists(key):
                client.pexpireat(key, entry.expires_at)


def _write(client: object, key: bytes, entry: Entry) -> None:
    run = client.execute_command  # type: ignore[attr-defined]
    match entry.type:
        case "string":
            run("SET", key, entry.value)
        case "list":
            run("RPUSH", key, *entry.value)
        case "set":
            run("SADD", key, *entry.value)
        case "hash":
            run("HSET", key, *(part for pair in entry.value.items() for part in pair))
        case "zset":
            run("ZADD", key, *(part for member, score in entry.value.items() for part in (score, member)))
        case "stream":
            for number, fields in entry.value.entries:
                run("XADD", key, number, *(part for pair in fields for part in pair))


@pytest.mark.skipif("redis-6.2" not in available_targets(), reason="only its DUMP has the footer a Dragonfly writes")
@pytest.mark.parametrize("folder", RECORDED, ids=lambda f: f.name)
def test_truncated_records_are_read_again(folder: Path, any_target: Server, run: Callable[..., Program]) -> None:
    recording = load(folder)
    expected = expected_content(recording.expected())
    with start_server("redis-6.2") as held:
        hold(held, expected)
        clients = {db: held.client(db) for db in expected}

        def dump(db: int, key: bytes) -> tuple[bytes, int] | None:
            payload = clients[db].dump(key) if db in clients else None
            return (payload, clients[db].pttl(key)) if payload else None

        with Player(script_of(recording), behaviour=Behaviour(dump=dump)) as player:
            program = run(copy_arguments(player.url, any_target.url, "--member-ttl", "drop"))
    found = differences(
        expected,
        read_content(any_target.client(), skip_prefix=b"df2redis"),
        Can.of(any_target.kind),
        expiry_known_to=recording.expiry_known_to,
    )
    again = {(e.db, e.key) for e in excused(recording.name, any_target.kind) if e.reason.startswith(REREAD)}
    assert again, "this recording has no truncated record"
    wrong = [d for d in found if (d.db, d.key) in again and d.aspect in ("absent", "type", "value")]
    assert not wrong, f"{report(wrong)}\n{program.output()}"
