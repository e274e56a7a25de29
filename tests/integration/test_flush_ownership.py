"""A FLUSHDB or FLUSHALL of the source removes what is the copy's, and nothing else (--on-existing overwrite)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server, available_targets, join_cluster, start_server
from tests.support.synthetic import STRING, entry, flow, journal_blob, record, string

pytestmark = pytest.mark.real
Run = Callable[..., Program]
FLUSHES = [b"FLUSHALL", b"FLUSHDB"]


def script(flush: bytes) -> Script:
    """Two FLOWs that copy, flush and go on. `theirs` is written before and after, `taken` before only."""
    flushed = record(flush, txid=7)
    return Script(
        (
            flow(
                [entry(STRING, b"copied", string(b"1")), entry(STRING, b"taken", string(b"1"))],
                [flushed, record(b"SET", b"after", b"1"), record(b"INCR", b"counter")],
            ),
            flow([entry(STRING, b"other", string(b"1"))], [record(b"SET", b"also", b"1"), flushed]),
        )
    )


def fill(target: Server, db: int = 0) -> None:
    target.client(db).mset({"bystander": "old", "taken": "old", "counter": 41})


def names(target: Server, db: int = 0) -> set[bytes]:
    return {k for k in target.client(db).scan_iter() if not k.startswith(b"df2redis")}


@pytest.mark.parametrize("flush", FLUSHES)
def test_what_is_of_others_stays(target: Server, run: Run, flush: bytes) -> None:
    """What the copy has replaced is the copy's and goes; what the source did not touch stays."""
    fill(target)
    fill(target, 3)
    with Player(script(flush)) as player:
        program = run(copy_arguments(player.url, target.url))
    assert program.process.returncode == 0, program.output()
    assert names(target) == {b"bystander", b"after", b"counter"}
    assert target.client().get("counter") == b"1"
    assert names(target, 3) == {b"bystander", b"taken", b"counter"}
    assert "Flush key by key" in program.log()


@pytest.mark.parametrize("flush", FLUSHES)
def test_of_a_target_of_ours_all_goes(any_target: Server, run: Run, flush: bytes) -> None:
    fill(any_target)
    with Player(script(flush)) as player:
        program = run(copy_arguments(player.url, any_target.url, "--target-owned"))
    assert program.process.returncode == 0, program.output()
    assert names(any_target) == {b"after", b"counter"}
    assert any_target.client().get("counter") == b"1"


@pytest.mark.parametrize("flush", FLUSHES)
def test_a_flush_inside_the_full_sync_removes_nothing_of_others(any_target: Server, run: Run, flush: bytes) -> None:
    fill(any_target)
    void = Script(
        (
            flow([entry(STRING, b"copied", string(b"1")), journal_blob(record(flush, txid=1))]),
            flow([journal_blob(record(flush, txid=1))]),
        )
    )
    new = Script((flow([entry(STRING, b"new", string(b"1"))], [record(b"INCR", b"counter")]), flow([])))
    with Player(void, new) as player:
        program = run(copy_arguments(player.url, any_target.url))
    assert program.process.returncode == 0, program.output()
    assert names(any_target) == {b"bystander", b"taken", b"counter", b"new"}
    assert any_target.client().get("counter") == b"1"


@pytest.fixture
def numbered() -> Iterator[list[Server]]:
    """A cluster of Valkey 9 with sixteen databases."""
    kind = available_targets()[0]
    if not kind.startswith("valkey-9"):
        pytest.skip(f"{kind} has no numbered databases in a cluster")
    with contextlib.ExitStack() as stack:
        start = lambda: start_server(kind, cluster=True, options=("--cluster-databases", "16"))  # noqa: E731
        nodes = [stack.enter_context(start()) for _ in range(3)]
        join_cluster(nodes)
        yield nodes


@pytest.mark.parametrize("arguments", [(), ("--target-owned",)], ids=["", "owned"])
@pytest.mark.parametrize("flush", FLUSHES)
def test_other_databases_of_a_cluster_stay(
    numbered: list[Server], run: Run, flush: bytes, arguments: tuple[str, ...]
) -> None:
    seed = numbered[0]
    keys = [f"{{{i}}}theirs" for i in range(300)]
    for node in numbered:
        with node.client(3) as client:
            for key in keys:
                with contextlib.suppress(redis.ResponseError):  # MOVED: it is another node's
                    client.set(key, 1)
    before = sum(node.client(3).dbsize() for node in numbered)
    assert before == len(keys)
    with Player(script(flush)) as player:
        program = run(copy_arguments(player.url, f"redis+cluster://127.0.0.1:{seed.port}", *arguments))
    assert program.process.returncode == 0, program.output()
    assert sum(node.client(3).dbsize() for node in numbered) == before
    assert set().union(*(names(node) for node in numbered)) == {b"after", b"counter"}
    assert program.summary()["target"]["existing_keys"] == 0
