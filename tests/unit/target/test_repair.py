"""What became of each command, and what has to be sent again in which order."""

from __future__ import annotations

import pytest
from hiredis import ReplyError

from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Block
from df2redis_tui.streams import encode
from df2redis_tui.target.part import EXEC, EXTRA, MULTI, Part
from df2redis_tui.target.pending import Fate, mark_overtaken, review, to_blocks
from df2redis_tui.target.replies import Verdict, redirect_address, verdict
from df2redis_tui.target.router import StandaloneRouter


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def block(*texts: str, once: list[bool] | None = None) -> Block:
    commands = [encode(*text.split()) for text in texts]
    return Block(0, commands, lsns=list(range(len(commands))), once=once, entries=len(commands))


def part_of(blocks: list[Block], **how: object) -> Part:
    commands = [c for b in blocks for c in b.commands]
    batch = Batch(0, 1, blocks, len(commands), len(commands), 0, 0.0)
    part = Part(batch, "node", commands, b"", len(commands))
    for name, value in how.items():
        setattr(part, name, value)
    return part


def fates(blocks: list[Block], part: Part) -> list[Fate]:
    return [p.fate for p in review(blocks, [part])]


def test_a_lost_connection_leaves_the_unanswered_in_doubt() -> None:
    blocks = [block("SET a 1", "SET b 1", "SET c 1")]
    assert fates(blocks, part_of(blocks, seen=1, lost=True)) == [Fate.APPLIED, Fate.UNKNOWN, Fate.UNKNOWN]


def test_an_error_reply_is_a_failure_of_its_own_command() -> None:
    blocks = [block("SET a 1", "SET b 1", "SET c 1")]
    part = part_of(blocks, seen=3)
    part.fail(1, "OOM command not allowed")
    assert fates(blocks, part) == [Fate.APPLIED, Fate.FAILED, Fate.APPLIED]


def test_queued_replies_of_an_open_transaction_prove_nothing() -> None:
    blocks = [block("INCR a", "INCR b")]
    part = part_of(blocks, layout=[MULTI, 0, 1, EXTRA, EXEC], replies=5, seen=3, lost=True)
    assert fates(blocks, part) == [Fate.UNKNOWN, Fate.UNKNOWN]


def test_an_aborted_transaction_applied_nothing() -> None:
    blocks = [block("INCR a", "INCR b")]
    part = part_of(blocks, layout=[MULTI, 0, 1, EXTRA, EXEC], replies=5, seen=5)
    part.fail(2, "OOM command not allowed")
    part.fail(4, "EXECABORT Transaction discarded")
    assert fates(blocks, part) == [Fate.FAILED, Fate.FAILED]
    assert [p.error.split()[0] for p in review(blocks, [part])] == ["EXECABORT", "OOM"]


def test_an_error_inside_exec_is_its_commands_alone() -> None:
    blocks = [block("INCR a", "LPUSH b x")]
    part = part_of(blocks, layout=[MULTI, 0, 1, EXTRA, EXEC], replies=5, seen=5)
    part.exec_results(4, [1, ReplyError("WRONGTYPE"), b"OK"])
    assert fates(blocks, part) == [Fate.APPLIED, Fate.FAILED]


def test_what_ran_ahead_of_a_refused_command_is_due_again_behind_it() -> None:
    blocks = [block("HSET a f 1", "SET b 1", "HSET a f 2")]
    part = part_of(blocks, seen=3)
    part.fail(0, "BUSY")
    found = review(blocks, [part])
    assert mark_overtaken(found) == []
    assert [p.fate for p in found] == [Fate.FAILED, Fate.APPLIED, Fate.FAILED]


@pytest.mark.parametrize("newer", ["SET a 3", "DEL a", "SET a 3 PXAT 99", "RESTORE a 0 x REPLACE ABSTTL"])
def test_a_value_that_was_replaced_meanwhile_is_not_shown_again(newer: str) -> None:
    blocks = [block("SET a 1", "HSET a f 1", newer, "SET b 1")]
    part = part_of(blocks, seen=4)
    part.fail(0, "BUSY")
    found = review(blocks, [part])
    assert mark_overtaken(found) == []
    assert [p.fate for p in found] == [Fate.APPLIED] * 4


def test_a_set_that_keeps_the_ttl_does_not_void_what_failed_before() -> None:
    blocks = [block("SET a 1 PXAT 99", "SET a 2 KEEPTTL")]
    part = part_of(blocks, seen=2)
    part.fail(0, "BUSY")
    found = review(blocks, [part])
    assert mark_overtaken(found) == []
    assert [p.fate for p in found] == [Fate.FAILED, Fate.FAILED]


def test_what_can_not_be_repeated_puts_its_key_in_doubt() -> None:
    blocks = [block("LPUSH a 1", "LPUSH a 2", once=[True, True])]
    part = part_of(blocks, seen=2)
    part.fail(0, "BUSY")
    found = review(blocks, [part])
    assert [(o.db, o.key) for o in mark_overtaken(found)] == [(0, b"a")]
    assert [p.fate for p in found] == [Fate.FAILED, Fate.APPLIED]


def test_a_refusal_that_follows_from_an_earlier_one_is_not_final() -> None:
    blocks = [block("DEL a", "HSET a f 1", "HSET b f 1", "SET a 1", "SADD a x")]
    part = part_of(blocks[:1], seen=5)
    for index, error in ((0, "CLUSTERDOWN"), (1, "WRONGTYPE"), (2, "WRONGTYPE"), (3, "CLUSTERDOWN"), (4, "WRONGTYPE")):
        part.fail(index, error)
    found = review(blocks, [part])
    assert mark_overtaken(found) == []
    assert [verdict(p.error) for p in found] == [Verdict.RETRY] * 2 + [Verdict.REFUSED] + [Verdict.RETRY] * 2


@pytest.mark.parametrize("later", ["SET a new", "HSET a f 1", "LPUSH a 1"])
def test_what_overtakes_a_rename_puts_both_keys_in_doubt(later: str) -> None:
    blocks = [block("RENAME a b", later, once=[True, later.startswith("LPUSH")])]
    part = part_of(blocks, seen=2)
    part.fail(0, "CLUSTERDOWN")
    found = review(blocks, [part])
    assert {o.key for o in mark_overtaken(found)} == {b"a", b"b"}
    assert found[0].fate is Fate.FAILED


def test_what_may_have_emptied_a_container_is_not_repeated_behind_what_filled_it() -> None:
    blocks = [block("SREM a x", "SADD a y")]
    part = part_of(blocks, seen=2)
    part.fail(0, "BUSY")
    found = review(blocks, [part])
    assert [o.key for o in mark_overtaken(found)] == [b"a"]
    assert [p.fate for p in found] == [Fate.FAILED, Fate.APPLIED]


def test_what_a_wrong_value_was_carried_on_to_is_in_doubt_too() -> None:
    blocks = [block("APPEND a x", "RENAME a b", "RENAME b c", "RENAME x y", once=[True] * 4)]
    part = part_of(blocks, seen=4)
    part.fail(0, "OOM")
    assert {o.key for o in mark_overtaken(review(blocks, [part]))} == {b"a", b"b", b"c"}


def test_a_refused_rename_that_is_due_again_holds_back_what_follows_on_its_new_name() -> None:
    blocks = [block("SET a 1", "RENAME a b", "APPEND b x", once=[False, True, True])]
    part = part_of(blocks, seen=3)
    part.fail(0, "OOM")
    part.fail(1, "ERR no such key")
    found = review(blocks, [part])
    assert {o.key for o in mark_overtaken(found)} == {b"a", b"b"}
    assert [p.fate for p in found] == [Fate.FAILED, Fate.FAILED, Fate.APPLIED]


def test_pending_commands_become_blocks_again() -> None:
    blocks = [block("SET a 1", "INCR b", once=[False, True])]
    again = to_blocks(review(blocks, [part_of(blocks, seen=0, lost=True)]))
    assert [(b.db, b.commands, b.once) for b in again] == [(0, blocks[0].commands, [False, True])]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("LOADING Redis is loading", Verdict.RETRY),
        ("OOM command not allowed", Verdict.RETRY),
        ("CLUSTERDOWN Hash slot not served", Verdict.RETRY),
        ("MOVED 1 h:1", Verdict.MOVED),
        ("ASK 1 h:1", Verdict.ASK),
        ("NOPERM no", Verdict.FATAL),
        ("ERR DB index is out of range", Verdict.FATAL),
        ("WRONGTYPE Operation", Verdict.REFUSED),
        ("ERR unknown command", Verdict.REFUSED),
    ],
)
def test_error_replies_mean(error: str, expected: Verdict) -> None:
    assert verdict(error) is expected


def test_redirections_are_read_strictly() -> None:
    asked = ("10.0.0.1", 7000)
    assert redirect_address("MOVED 866 10.0.0.2:7001", asked) == ("10.0.0.2", 7001)
    assert redirect_address("MOVED 866 :7001", asked) == ("10.0.0.1", 7001)
    assert redirect_address("ASK 866 [::1]:7001", asked) == ("::1", 7001)
    assert redirect_address("MOVED 866 host:99999", asked) is None
    assert redirect_address("MOVED 866", asked) is None


class Asked:
    """A connection to the target, and how often one was opened."""

    opened = closed = 0

    @classmethod
    async def connect(cls, node: str) -> Asked:
        cls.opened += 1
        return cls()

    async def aclose(self) -> None:
        type(self).closed += 1


class Counting:
    """A ledger that has recorded everything up to the 40th sending."""

    async def applied_seq(self, connection: Asked) -> int:
        return 40

    async def missing(self, connection: Asked) -> int:
        return 0


@pytest.mark.anyio
async def test_one_connection_answers_for_all_batches_of_a_repair() -> None:
    router, ledger = StandaloneRouter("node", 0, Asked.connect), Counting()  # type: ignore[arg-type]
    for seq in range(1, 51):
        blocks = [block("INCR a")]
        batch = Batch(0, seq, blocks, 1, 1, 0, 0.0, seq=seq)
        todo = review(blocks, [part_of(blocks, lost=True)])
        await router.settle_unknown(batch, todo, ledger)  # type: ignore[arg-type]
        await router.missing(ledger)  # type: ignore[arg-type]
        assert [p.fate for p in todo] == [Fate.APPLIED if seq <= 40 else Fate.UNKNOWN]
    assert (Asked.opened, Asked.closed) == (1, 0)
    await router.repaired(ledger)  # type: ignore[arg-type]
    assert Asked.closed == 1
