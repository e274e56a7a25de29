"""How journal commands are gathered: positions, databases, what waits, what may be replayed."""

from __future__ import annotations

import pytest

from df2redis_tui.dragonfly.records import OP_EXEC, OP_EXPIRED, OP_LSN, OP_MULTI, OP_PING, Entry
from df2redis_tui.errors import NotCopied
from df2redis_tui.pipeline.block import Block, Global, Reread
from df2redis_tui.translate.expiry import DeferredExpiry
from df2redis_tui.translate.journal import BLOCK_COMMANDS
from df2redis_tui.translate.ownership import Ownership
from tests.unit.translate.surroundings import (
    CLUSTER,
    GRACE,
    NOW,
    REDIS70,
    VALKEY9,
    Pending,
    Refusals,
    entry,
    items,
    journal,
    outcome,
)


def test_lsns_count_commands_ping_and_exec_but_not_lsn_records() -> None:
    (block,) = items(
        journal(),
        entry("INCR a"),
        Entry(OP_LSN, 0, 100, []),
        entry("INCR b", op=OP_MULTI),
        Entry(OP_EXEC, 0, 0, []),
        entry("DEL c", op=OP_EXPIRED),
        Entry(OP_PING, 0, 0, []),
    )
    assert isinstance(block, Block)
    assert (block.lsns, block.next_lsn, block.entries, block.ack_now) == ([100, 101, 103], 105, 5, True)


def test_a_change_of_database_ends_a_block() -> None:
    found = items(journal(), entry("SET a 1"), entry("SET b 2", db=3), entry("HSET c f v", db=3), entry("SET d 4"))
    assert [(b.db, len(b.commands), b.next_lsn) for b in found] == [(0, 1, 101), (3, 2, 103), (0, 1, 104)]  # type: ignore[union-attr]


def test_blocks_are_cut_by_count_and_size() -> None:
    found = items(journal(), *[entry("INCR a")] * (BLOCK_COMMANDS + 5))
    assert [len(b.commands) for b in found] == [BLOCK_COMMANDS, 5]  # type: ignore[union-attr]
    found = items(journal(), *[entry([b"SET", b"k", bytes(200_000)])] * 4)
    assert [len(b.commands) for b in found] == [3, 1]  # type: ignore[union-attr]
    assert found[0].size > 600_000  # type: ignore[union-attr]


def test_a_block_before_a_reread_stops_short_of_it() -> None:
    first, reread, rest = items(journal(), entry("SET a 1"), entry("SPOP s"), entry("SET b 2"))
    assert isinstance(first, Block)
    assert first.next_lsn == 101
    assert isinstance(reread, Reread)
    assert (reread.keys, reread.lsn) == ((b"s",), 101)
    assert isinstance(rest, Block)
    assert rest.next_lsn == 103


def test_a_global_command_stands_alone_and_carries_its_position() -> None:
    _, flush, after = items(journal(), entry("SET a 1"), entry("FLUSHDB", db=2), entry("SET b 1"))
    assert isinstance(flush, Global)
    assert (flush.db, flush.lsn, flush.next_lsn) == (2, 101, 102)
    assert after.next_lsn == 103


def test_the_journal_inside_a_full_sync_is_tolerant_and_moves_nothing() -> None:
    (block,) = items(journal(), entry("INCR a"), entry("STICK a"), lsn=1, counted=False)
    assert isinstance(block, Block)
    assert (block.tolerant, block.next_lsn, block.lsns) == (True, 0, [1])


CONVERGENT = [
    "SET k v",
    f"SET k v PXAT {NOW * 2}",
    "DEL k",
    "MSET a 1",
    "HSET k f v",
    "HDEL k f",
    "SADD k m",
    "SREM k m",
    "ZADD k 1 m",
    "ZREM k m",
    f"PEXPIREAT k {NOW * 2}",
    "PERSIST k",
    "SETBIT k 1 1",
    "XDEL k 1-1",
    "PFADD k a",
]
NOT_CONVERGENT = [
    "INCR k",
    "APPEND k v",
    "LPUSH k v",
    "LPOP k",
    "RENAME a b",
    "SET k v KEEPTTL",
    "ZADD k NX 1 m",
    "ZADD k INCR 1 m",
    "XADD k 1-1 f v",
    "INCRBYFLOAT k 1",
    "GETDEL k",
]


@pytest.mark.parametrize("text", CONVERGENT)
def test_replaying_it_changes_nothing(text: str) -> None:
    (block,) = items(journal(), entry(text))
    assert isinstance(block, Block)
    assert block.once is None


@pytest.mark.parametrize("text", NOT_CONVERGENT)
def test_it_must_be_applied_once(text: str) -> None:
    (block,) = items(journal(), entry("SET other 1"), entry(text))
    assert isinstance(block, Block)
    assert block.once == [False, True]


def test_records_of_a_key_that_waits_for_its_value_are_dropped() -> None:
    for more, pending in (({"open_keys": {(0, b"k")}}, None), ({}, Pending(b"k"))):
        translator = journal(**more)  # type: ignore[arg-type]
        texts = ["INCR k", "DEL k a", "MSET k 1 b 2", "XGROUP CREATE k g $", "SET k 5"]
        assert outcome(items(translator, *map(entry, texts), pending=pending)) == ["DEL a", "MSET b 2"]
        assert outcome(items(translator, entry("RENAME a k"), pending=pending)) == ["REREAD a k"]


def test_keys_left_alone_are_left_alone() -> None:
    translator = journal(skip=lambda db, key: key.startswith(b"old"))
    texts = ["SET old:1 a", "INCR new:1", "DEL old:1 new:2", "SPOP old:3"]
    assert outcome(items(translator, *map(entry, texts))) == ["INCR new:1", "DEL new:2"]


def test_databases_on_a_cluster_follow_the_policy() -> None:
    refusals = Refusals()
    texts = [entry("SET a 1", db=2), entry("SET b 1"), entry("SET a 2", db=2)]
    assert outcome(items(journal(CLUSTER, db_policy="merge-into-0"), *texts)) == ["SET a 1", "SET b 1", "SET a 2"]
    assert outcome(items(journal(CLUSTER, refusals=refusals, db_policy="skip"), *texts)) == ["SET b 1"]
    assert [(r.db, r.key) for r in refusals.seen] == [(2, b"a")]
    with pytest.raises(NotCopied, match="--db-policy"):
        items(journal(CLUSTER, db_policy="fail"), *texts)


def test_under_stop_what_came_before_is_handed_out_first() -> None:
    translator = journal(refusals=Refusals(stop=True))
    stream = translator.translate(
        [entry("SET a 1"), entry("JSON.SET j $ 1"), entry("SET b 1")],
        5,
        counted=True,
        now_ms=NOW,
        grace_ms=GRACE,
        arrived=0.0,
        pending=None,
    )
    assert outcome([next(stream)]) == ["SET a 1", "DEL j"]
    with pytest.raises(NotCopied):
        next(stream)


def test_slots_stand_beside_the_commands() -> None:
    (block,) = items(journal(CLUSTER), entry("SET foo 1"), entry("INCR {foo}x"), entry("EXPIRE foo 100000"))
    assert isinstance(block, Block)
    assert block.slots == [12182] * 3  # CLUSTER KEYSLOT foo


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("SET k v", None),
        ("SET k v KEEPTTL", NOW - 1),
        ("PERSIST k", None),
        ("DEL k", None),
        ("GETDEL k", None),
        ("APPEND k v", NOW - 1),
        ("MSET k v", None),
        ("FLUSHALL", None),
        ("SPOP k", None),
    ],
)
def test_a_remembered_expiry_is_dropped_by_what_ends_it(text: str, left: int | None) -> None:
    expiry = DeferredExpiry()
    translator = journal(expiry=expiry)
    items(translator, entry(f"SET k v PXAT {NOW - 1}"), entry(text))
    assert expiry.true_time(0, b"k") == left


def test_a_remembered_expiry_goes_along_with_its_key() -> None:
    expiry = DeferredExpiry()
    translator = journal(expiry=expiry)
    items(translator, entry(f"PEXPIREAT k {NOW - 1}"), entry("RENAME k n"))
    assert expiry.remembered() == [(0, b"n", NOW - 1)]


@pytest.mark.parametrize("db", [0, 4])
def test_a_move_of_what_ends_soon_is_read_again_in_both_databases(db: int) -> None:
    """It is journalled also when it did nothing; then the other database's key has a TTL of its own."""
    expiry = DeferredExpiry()
    found = items(journal(expiry=expiry), entry(f"PEXPIREAT k {NOW + 9}", db=db), entry("MOVE k 4"), entry("SET n 1"))
    assert [(r.db, r.keys) for r in found if isinstance(r, Reread)] == [(0, (b"k",)), (4, (b"k",))]
    assert [text.split()[0] for text in outcome(found)] == ["PEXPIREAT", "REREAD", "REREAD", "SET"]
    assert expiry.count == 0


def test_a_block_says_by_when_its_records_meet_the_keys_they_are_about() -> None:
    """Of a key that was held the target keeps more than enough time; one with its true time may end any moment."""
    expiry = DeferredExpiry()
    for key, ends in ((b"a", NOW + 900), (b"b", NOW + 800), (b"held", NOW + 900)):
        expiry.effective(0, key, ends, NOW - 900_000, GRACE)
    expiry.nearing(NOW - 60_000, GRACE)
    expiry.effective(0, b"a", NOW + 900, NOW - 900_000, GRACE)
    expiry.effective(0, b"b", NOW + 800, NOW - 900_000, GRACE)
    records = "SET x 1", "RENAME a b", f"PEXPIREAT b {NOW + 70}", "PERSIST held", "INCR held"
    (block,) = items(journal(expiry=expiry), *map(entry, records))
    assert isinstance(block, Block)
    assert block.too_late == {101: NOW + 900, 102: NOW + 900}


@pytest.mark.parametrize(
    "text",
    ["HEXPIRE h 9 FIELDS 1 f", "FIELDEXPIRE h 9 f", "HSETEX h 9 f v", "HGETEX h EX 9 FIELDS 1 f"],
)
def test_hashes_with_fields_that_expire_are_known(text: str) -> None:
    expiry = DeferredExpiry()
    items(journal(VALKEY9, expiry=expiry), entry(text), entry("HSET other f v"))
    assert list(expiry.with_fields) == [(0, b"h")]


def test_a_rename_that_comes_again_does_not_take_along_what_it_left_behind() -> None:
    """`cur` gets the TTL of `new` in the end; the second time it must not be taken for that of the first `cur`."""
    expiry = DeferredExpiry()
    records = [entry(f"PEXPIREAT new {NOW + 9}"), entry("RENAME cur prev"), entry("RENAME new cur")]
    items(journal(expiry=expiry), *records)
    assert expiry.remembered() == [(0, b"cur", NOW + 9)]
    again = items(journal(expiry=expiry), *records, replayed_until=1_000)
    assert {key for r in again if isinstance(r, Reread) for key in r.keys} == {b"cur", b"prev", b"new"}
    assert expiry.count == 0


def test_expiries_of_a_cluster_are_remembered_by_its_only_database() -> None:
    expiry = DeferredExpiry()
    translator = journal(CLUSTER, expiry=expiry, db_policy="merge-into-0")
    items(translator, entry(f"PEXPIREAT k {NOW + 9}"), entry(f"PEXPIREAT k {NOW + 999_999}", db=1))
    assert expiry.remembered() == [(0, b"k", NOW + 999_999)]


def test_the_doubled_record_of_a_pfmerge_is_dropped_only_when_surely_foreign() -> None:
    ownership = Ownership(3)
    key = b"dst"
    flow = next(f for f in range(3) if not _owned(key, f))
    record = entry([b"SET", key, b"HYLL" + bytes(12)])
    assert len(outcome(items(journal(flow=flow, ownership=ownership), record))) == 1
    for number in range(200):
        name = b"k%d" % number
        ownership.observe(name, next(f for f in range(3) if _owned(name, f)))
    assert outcome(items(journal(flow=flow, ownership=ownership), record)) == []
    owner = next(f for f in range(3) if _owned(key, f))
    assert len(outcome(items(journal(flow=owner, ownership=ownership), record))) == 1


def _owned(key: bytes, flow: int) -> bool:
    from xxhash import xxh64_intdigest

    return xxh64_intdigest(key, 120577240643) % 3 == flow


def test_an_unreadable_name_is_refused() -> None:
    refusals = Refusals()
    assert outcome(items(journal(REDIS70, refusals=refusals), entry([b"\x00\xff", b"k"]))) == []
    assert [(r.type, r.of_key) for r in refusals.seen] == [("\\x00\\xff", False)]
