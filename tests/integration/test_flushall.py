"""FLUSHALL and FLUSHDB: once, when every FLOW has reached them; inside a full sync they start it anew."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server
from tests.support.synthetic import STRING, entry, flow, journal_blob, record, select, string

pytestmark = pytest.mark.real
Run = Callable[..., Program]


def sets(prefix: str, count: int, db: int = 0) -> list[bytes]:
    return [record(b"SET", f"{prefix}:{i}".encode(), b"1", db=db) for i in range(count)]


def calls(server: Server, command: str) -> int:
    return int(server.client().info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


def names(server: Server, db: int = 0) -> set[str]:
    return {k.decode() for k in server.client(db).scan_iter() if not k.startswith(b"df2redis")}


def after(prefix: str, count: int) -> set[str]:
    return {f"{prefix}:{i}" for i in range(count)}


def test_flushall_waits_for_all_flows_and_runs_once(target: Server, run: Run) -> None:
    """The fast FLOW's writes behind the flush must not be wiped by the slow FLOW's flush."""
    flush = record(b"FLUSHALL", txid=7)
    script = Script(
        (
            flow([], [*sets("slow-before", 30_000), flush, *sets("slow-after", 10)]),
            flow([], [flush, *sets("fast-after", 500)]),
            flow([], [*sets("middle-before", 100), flush]),
        )
    )
    with Player(script) as player:
        program = run(copy_arguments(player.url, target.url, "--batch-size", "50"))
    assert program.process.returncode == 0, program.output()
    assert names(target) == after("slow-after", 10) | after("fast-after", 500)
    assert calls(target, "flushall") == 1
    assert player.last_acks() == [30_012, 502, 102]


def test_several_flushes_are_matched_first_in_first_out(any_target: Server, run: Run) -> None:
    records = [
        [*sets("a", 200), record(b"FLUSHALL", txid=1), *sets("b", 200), record(b"FLUSHALL", txid=2), *sets("c", 3)],
        [record(b"FLUSHALL", txid=1), *sets("d", 5_000), record(b"FLUSHALL", txid=2), *sets("e", 4)],
    ]
    with Player(Script(tuple(flow([], r) for r in records))) as player:
        program = run(copy_arguments(player.url, any_target.url))
    assert program.process.returncode == 0, program.output()
    assert names(any_target) == after("c", 3) | after("e", 4)
    assert calls(any_target, "flushall") == 2


def test_flushdb_concerns_one_database(target: Server, run: Run) -> None:
    records = [
        [*sets("zero", 5), *sets("one", 5_000, db=1), record(b"FLUSHDB", db=1, txid=3), *sets("one-after", 2, db=1)],
        [*sets("two", 5, db=2), record(b"FLUSHDB", db=1, txid=3), *sets("one-also", 2, db=1)],
    ]
    with Player(Script(tuple(flow([], r) for r in records))) as player:
        program = run(copy_arguments(player.url, target.url))
    assert program.process.returncode == 0, program.output()
    assert names(target) == after("zero", 5)
    assert names(target, 1) == after("one-after", 2) | after("one-also", 2)
    assert names(target, 2) == after("two", 5)
    assert calls(target, "flushdb") == 1


@pytest.mark.parametrize("command", [b"FLUSHALL", b"FLUSHDB"], ids=["FLUSHALL", "FLUSHDB"])
def test_a_flush_inside_the_full_sync_starts_it_anew(command: bytes, any_target: Server, run: Run) -> None:
    old = [entry(STRING, b"old:%d" % i, string(b"x")) for i in range(1_000)]
    void = Script(
        (
            flow([*old[:500], journal_blob(record(command, txid=1)), *old[500:]]),
            flow([journal_blob(record(command, txid=1)), entry(STRING, b"old:other", string(b"x"))]),
        )
    )
    new = Script(
        (flow([entry(STRING, b"new:0", string(b"1"))]), flow([select(1), entry(STRING, b"new:1", string(b"1"))]))
    )
    with Player(void, new) as player:
        program = run(copy_arguments(player.url, any_target.url))
    assert program.process.returncode == 0, program.output()
    assert player.sessions == 2
    assert names(any_target) == {"new:0"}
    assert names(any_target, 1) == {"new:1"}


def test_flushes_again_and_again_do_not_begin_full_syncs_without_a_pause(
    any_target: Server, start: Callable[..., Program]
) -> None:
    """And of what the target holds nothing goes, as long as no full sync has brought what is there instead."""
    whole = Script((flow([entry(STRING, b"k:%d" % i, string(b"x")) for i in range(100)]), flow([])))
    void = Script((flow([entry(STRING, b"k:0", string(b"y")), journal_blob(record(b"FLUSHALL", txid=1))]), flow([])))
    new = Script((flow([entry(STRING, b"new:0", string(b"1"))]), flow([])), databases={0: 60})
    any_target.client().set("bystander", "x")
    held = after("k", 100) | {"bystander"}
    with Player(whole, *[void] * 6, new) as player:  # the first of which refuses to go on where the copy ended
        assert start(copy_arguments(player.url, any_target.url)).wait() == 0
        again = start(copy_arguments(player.url, any_target.url))
        began: dict[int, float] = {}
        while player.sessions < 8:
            assert again.process.poll() is None, again.output()
            session, now = player.sessions, time.monotonic()
            assert names(any_target) >= held
            assert player.sessions != session or names(any_target) == held
            began.setdefault(player.sessions, now)
        assert again.wait() == 0, again.output()
    assert began[5] - began[4] > 0.3
    assert began[7] - began[6] > 1.2
    assert "attempt 5" in again.output()
    assert names(any_target) == {"new:0", "bystander"}
    assert calls(any_target, "flushall") == calls(any_target, "flushdb") == 0


def test_a_run_that_waits_for_its_next_full_sync_can_be_ended(
    any_target: Server, start: Callable[..., Program]
) -> None:
    void = Script((flow([journal_blob(record(b"FLUSHALL", txid=1))]),))
    with Player(void) as player:
        program = start(copy_arguments(player.url, any_target.url))
        program.wait_for("attempt 5")
        program.signal(signal.SIGTERM)
        assert program.wait(10) == 143, program.output()
    assert player.sessions == 5
