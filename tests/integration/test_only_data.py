"""A source that sends more than data: nothing but data reaches the target, and the job's own keys stay its own."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import pytest

from tests.support.fault_source import FaultSource
from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server, available_targets, join_cluster, start_server
from tests.support.synthetic import STRING, entry, flow, journal_blob, record, string

pytestmark = pytest.mark.real
Run = Callable[..., Program]

ADMINISTRATIVE: list[tuple[bytes, ...]] = [
    (b"CONFIG", b"SET", b"maxmemory", b"12345678"),
    (b"ACL", b"SETUSER", b"mallory", b"on", b">pass", b"+@all", b"~*"),
    (b"REPLICAOF", b"127.0.0.1", b"1"),
    (b"SWAPDB", b"0", b"1"),
    (b"DEBUG", b"SLEEP", b"0"),
    (b"CLIENT", b"PAUSE", b"60000", b"ALL"),
    (b"CLIENT", b"REPLY", b"OFF"),
    (b"EVAL", b"return redis.call('SET','evil','1')", b"0"),
    (b"HELLO", b"3"),
    (b"BLPOP", b"nothing", b"0"),
    (b"QUIT",),
]
LEASE = b"df2redis:default:lease"


def sent(*records: bytes, snapshot: list[bytes] | None = None) -> Script:
    return Script(
        (flow([entry(STRING, b"a", string(b"1")), *(snapshot or [])], [*records, record(b"SET", b"z", b"1")]),)
    )


@pytest.fixture
def cluster() -> Iterator[Server]:
    """Of one node."""
    with start_server(available_targets()[0], cluster=True) as node:
        join_cluster([node])
        yield node


def test_what_administers_the_target_is_refused_and_counted(any_target: Server, run: Run) -> None:
    client = any_target.client()
    before = client.config_get("maxmemory")
    blob = journal_blob(*(record(*words) for words in ADMINISTRATIVE))
    script = sent(*(record(*words) for words in ADMINISTRATIVE), snapshot=[blob])
    with Player(script) as player:
        program = run(copy_arguments(player.url, any_target.url))
    assert program.process.returncode == 5, program.output()
    assert client.config_get("maxmemory") == before
    assert "mallory" not in str(client.acl_list())
    assert client.info("replication")["role"] == "master"
    assert [client.get(key) for key in ("a", "z", "evil")] == [b"1", b"1", None]
    letters = program.dead_letters()
    assert len(letters) == 2 * len(ADMINISTRATIVE)
    assert {"CONFIG SET", "ACL SETUSER", "CLIENT PAUSE", "EVAL", "QUIT"} <= {letter["type"] for letter in letters}
    assert "pass" not in str(letters)
    assert program.summary()["dead_letters"] == len(letters)


@pytest.mark.parametrize("words", ADMINISTRATIVE, ids=lambda words: b" ".join(words[:2]).decode())
def test_it_ends_the_run_under_the_policy_stop(words: tuple[bytes, ...], any_target: Server, run: Run) -> None:
    with Player(sent(record(*words))) as player:
        program = run(["--source", player.url, "--target", any_target.url, "--until", "caught-up"])
    assert program.process.returncode == 5, program.output()
    assert f"the command {words[0].decode()}" in program.output()
    assert any_target.client().get("z") is None


def test_an_unknown_command_in_a_full_sync_is_named_and_the_others_go_on(any_target: Server, run: Run) -> None:
    blob = journal_blob(record(b"SET", b"b", b"1"), record(b"NOSUCHTHING", b"b", b"x"), record(b"INCR", b"b"))
    with Player(sent(snapshot=[blob])) as player:
        program = run(copy_arguments(player.url, any_target.url))
    assert program.process.returncode == 5, program.output()
    assert "NOSUCHTHING" in {letter["type"] for letter in program.dead_letters()}
    assert any_target.client().get("z") == b"1"


def test_a_new_command_of_data_that_the_target_has_is_passed_on(any_target: Server, run: Run) -> None:
    name = b"DELIFEQ"
    if name not in {known.upper() for known in any_target.client().command_list()}:
        pytest.skip("this target has no command of data that is unknown here")
    with Player(sent(record(b"SET", b"k", b"1"), record(name, b"k", b"1"))) as player:
        program = run(copy_arguments(player.url, any_target.url))
    assert program.process.returncode == 0, program.output()
    assert any_target.client().get("k") is None


def test_keys_named_like_the_jobs_own_stay_off_the_target(any_target: Server, run: Run) -> None:
    mine = [entry(STRING, b"df2redis:default:" + name, string(b"evil")) for name in (b"lease", b"job", b"flow:0")]
    journal = [
        record(b"SET", LEASE, b"evil"),
        record(b"RENAME", b"a", b"df2redis:default:job"),
        record(b"DEL", b"df2redis:default:flow:0"),
        record(b"SET", b"df2redis:other:lease", b"data"),
    ]
    with Player(sent(*journal, snapshot=mine)) as player:
        program = run(copy_arguments(player.url, any_target.url))
    assert program.process.returncode == 5, program.output()
    client = any_target.client()
    assert client.get(LEASE) is None  # it was released, so it was ours
    assert b'"source"' in (client.get("df2redis:default:job") or b"")
    assert b'"lsn"' in (client.get("df2redis:default:flow:0") or b"")
    assert client.get("df2redis:other:lease") == b"data"
    keys = {base64.b64decode(letter["key_base64"]) for letter in program.dead_letters()}
    assert {LEASE, b"df2redis:default:job", b"df2redis:default:flow:0"} <= keys


def test_on_a_cluster_too(cluster: Server, run: Run) -> None:
    guard = b"df2redis:default:guard:0:{0}"
    mine = [entry(STRING, b"df2redis:default:{job}:lease", string(b"evil")), entry(STRING, guard, string(b"evil"))]
    with Player(sent(record(b"SET", guard, b"evil"), record(b"INCR", b"n"), snapshot=mine)) as player:
        program = run(copy_arguments(player.url, cluster.url.replace("redis://", "redis+cluster://")))
    assert program.process.returncode == 5, program.output()
    client = cluster.client()
    assert client.get("df2redis:default:{job}:lease") is None
    assert client.get(guard) != b"evil"
    assert client.get("n") == b"1"
    assert {base64.b64decode(letter["key_base64"]) for letter in program.dead_letters()} >= {guard}


def test_a_source_that_has_such_keys_is_refused_at_the_start(any_target: Server, run: Run) -> None:
    with FaultSource(flows=2) as source:
        client = source.client()
        client.set(LEASE, "of before")
        client.set("a", "1")
        arguments = ["--source", source.url, "--target", any_target.url, "--until", "caught-up"]
        refused = run(arguments, name="refused")
        assert refused.process.returncode == 2, refused.output()
        assert LEASE.decode() in refused.output()
        assert "--job" in refused.output()
        assert any_target.client().keys("*") == []
        skipped = run([*arguments, "--on-error", "skip"], name="skipped")
        assert skipped.process.returncode == 5, skipped.output()
        any_target.client().flushall()
        other = run([*arguments, "--job", "second"], name="other")
        assert other.process.returncode == 0, other.output()
        assert any_target.client().get(LEASE) == b"of before"
