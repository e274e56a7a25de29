"""Snapshot records as commands that replace what the target holds."""

from __future__ import annotations

import struct

import pytest

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.records import Strings, Value, ValueEnd, ValuePart, ValueStart
from df2redis_tui.errors import NotCopied
from df2redis_tui.pipeline.block import Block
from df2redis_tui.translate.capabilities import Capabilities
from df2redis_tui.translate.expiry import DeferredExpiry
from df2redis_tui.translate.ownership import ENOUGH, Ownership
from df2redis_tui.translate.payload import encode_strings, encode_zset, payload
from df2redis_tui.translate.snapshot import BLOCK_BYTES, SnapshotTranslator
from tests.unit.dragonfly import wire
from tests.unit.translate.surroundings import (
    CLUSTER,
    GRACE,
    NOW,
    REDIS62,
    REDIS70,
    REDIS74,
    REDIS80,
    VALKEY9,
    Refusals,
    entry,
    items,
    journal,
    outcome,
    parse,
    snapshot,
)

FAR = NOW + 10_000_000
EPOCH = 1_675_209_600  # member expiry counts seconds from here (§3.4)


def translate(translator: SnapshotTranslator, *found: r.SnapshotRecord) -> list[Block]:
    return list(translator.translate(list(found), NOW, GRACE, 0.0))


def until_refused(translator: SnapshotTranslator, *found: r.SnapshotRecord) -> list[Block]:
    """What comes before the policy ends the run."""
    blocks: list[Block] = []
    with pytest.raises(NotCopied):
        blocks.extend(translator.translate(found, NOW, GRACE, 0.0))
    return blocks


def commands(translator: SnapshotTranslator, *found: r.SnapshotRecord) -> list[list[bytes]]:
    return [parse(c) for block in translate(translator, *found) for c in block.commands]


def member_ttl_hash(*ttls: int) -> bytes:
    flat = []
    for i, ttl in enumerate(ttls):
        flat += [b"f%d" % i, b"v", b"%d" % (ttl if ttl < 0 else (ttl // 1000) - EPOCH)]
    return encode_strings(flat, 3)


def listpack(*items: bytes) -> bytes:
    body = b"".join(bytes([0x80 | len(i)]) + i + bytes([len(i) + 1]) for i in items)
    return struct.pack("<IH", 7 + len(body), len(items)) + body + b"\xff"


def test_strings_are_set_with_their_absolute_expiry() -> None:
    run = Strings(0, [(b"a", b"1", 0), (b"b", b"2", FAR), (b"c", b"", 0)])
    (block,) = translate(snapshot(), run)
    assert [parse(c) for c in block.commands] == [
        [b"SET", b"a", b"1"],
        [b"SET", b"b", b"2", b"PXAT", b"%d" % FAR],
        [b"SET", b"c", b""],
    ]
    assert (block.entries, block.kinds, block.lsns, block.next_lsn) == (3, {"string": 3}, None, 0)


def test_a_key_that_is_due_is_held_and_its_true_time_remembered() -> None:
    expiry = DeferredExpiry()
    found = commands(
        snapshot(expiry=expiry), Strings(1, [(b"a", b"1", NOW - 5000)]), Value(1, b"s", NOW, 2, b"\x01\x01m")
    )
    assert found[0][3:] == [b"PXAT", b"%d" % (NOW + GRACE)]
    assert found[1][2] == b"%d" % (NOW + GRACE)
    assert sorted(expiry.remembered()) == [(1, b"a", NOW - 5000), (1, b"s", NOW)]


def test_a_new_value_without_expiry_forgets_the_remembered_one() -> None:
    expiry = DeferredExpiry()
    expiry.effective(0, b"a", NOW, NOW, GRACE)
    commands(snapshot(expiry=expiry), Strings(0, [(b"a", b"1", 0)]))
    assert expiry.count == 0


LISTPACK = listpack(b"a", b"1")
LP = bytes([len(LISTPACK)]) + LISTPACK
AS_IS = [(r.SET, b"\x01\x01a"), (r.HASH, b"\x01\x01a\x01b"), (r.LIST_QUICKLIST, b"\x01\x00"), (r.STREAM1, bytes(5))]
REENCODED = [
    (r.HASH_LISTPACK, LP, REDIS62, 4, encode_strings([b"a", b"1"], 2)),
    (r.ZSET_LISTPACK, LP, REDIS62, 5, encode_zset([b"a", b"1"])),
    (r.LIST_QUICKLIST2, b"\x01\x02" + LP, REDIS62, 1, encode_strings([b"a", b"1"])),
    (r.HASH_LISTPACK, LP, REDIS70, 16, LP),
    (r.HASH_TTL, member_ttl_hash(-1), REDIS70, 4, encode_strings([b"f0", b"v"], 2)),
    (r.HASH_TTL, member_ttl_hash(FAR), REDIS70, 4, encode_strings([b"f0", b"v"], 2)),
    (
        r.HASH_TTL,
        member_ttl_hash(FAR, -1),
        VALKEY9,
        22,
        b"\x02\x02f0\x01v" + struct.pack("<q", FAR) + b"\x02f1\x01v" + struct.pack("<q", -1),
    ),
    (r.SET_TTL, encode_strings([b"m", b"-1"], 2), VALKEY9, 2, encode_strings([b"m"])),
    (r.STREAM3, bytes(10), REDIS62, 15, bytes(5)),
    (r.STREAM3, bytes(10), REDIS70, 19, bytes(10)),
    (r.STREAM3, bytes(10), VALKEY9, 21, bytes(10)),
]


@pytest.mark.parametrize(("rdb_type", "raw"), AS_IS)
def test_what_the_target_takes_goes_out_undecoded(rdb_type: int, raw: bytes) -> None:
    (found,) = commands(snapshot(REDIS62), Value(0, b"k", FAR, rdb_type, raw))
    assert found == [b"RESTORE", b"k", b"%d" % FAR, payload(rdb_type, raw), b"REPLACE", b"ABSTTL"]


@pytest.mark.parametrize(("rdb_type", "raw", "caps", "sent_type", "sent"), REENCODED)
def test_what_it_does_not_take_is_reencoded(
    rdb_type: int, raw: bytes, caps: Capabilities, sent_type: int, sent: bytes
) -> None:
    (found,) = commands(snapshot(caps), Value(0, b"k", 0, rdb_type, raw))
    assert found == [b"RESTORE", b"k", b"0", payload(sent_type, sent), b"REPLACE", b"ABSTTL"]


def test_field_ttls_without_a_payload_type_for_them_follow_the_value() -> None:
    restore, expire = commands(snapshot(REDIS74), Value(0, b"k", 0, r.HASH_TTL, member_ttl_hash(FAR, -1, FAR)))
    assert restore[0] == b"RESTORE"
    assert expire == [b"HPEXPIREAT", b"k", b"%d" % FAR, b"FIELDS", b"2", b"f0", b"f2"]


EMPTY_LISTPACK, EMPTY_ZIPLIST = wire.string(wire.listpack()), wire.string(wire.ziplist())


@pytest.mark.parametrize(
    ("rdb_type", "raw"),
    [
        *((type, b"\x00") for type in (r.SET, r.HASH, r.ZSET2, r.HASH_TTL, r.SET_TTL, r.LIST_QUICKLIST2)),
        *((type, EMPTY_LISTPACK) for type in (r.HASH_LISTPACK, r.ZSET_LISTPACK)),
        *((type, EMPTY_ZIPLIST) for type in (r.HASH_ZIPLIST, r.ZSET_ZIPLIST)),
        *((r.INTSET, wire.string(wire.intset(width))) for width in (2, 4, 8)),
    ],
)
def test_a_container_without_elements_leaves_no_key(rdb_type: int, raw: bytes) -> None:
    assert commands(snapshot(), Value(0, b"k", 0, rdb_type, raw)) == [[b"DEL", b"k"]]


def test_json_needs_a_module() -> None:
    value = Value(0, b"j", FAR, r.JSON, b"\x02{}")
    assert commands(snapshot(REDIS80), value) == [
        [b"DEL", b"j"],
        [b"JSON.SET", b"j", b"$", b"{}"],
        [b"PEXPIREAT", b"j", b"%d" % FAR],
    ]
    refusals = Refusals()
    assert commands(snapshot(REDIS70, refusals=refusals), value) == [[b"DEL", b"j"]]
    assert [(x.key, x.type, x.payload) for x in refusals.seen] == [(b"j", "json", b"\x02{}")]


@pytest.mark.parametrize(
    ("rdb_type", "raw", "kind"),
    [
        (r.BLOOM2, b"x", "bloom"),
        (r.CMS, b"x", "cms"),
        (r.TOPK, b"x", "topk"),
        (r.CUCKOO, b"x", "cuckoo"),
        (99, b"x", "type 99"),
        (r.HASH_TTL, member_ttl_hash(FAR), "hash"),
        (r.SET_TTL, encode_strings([b"m", b"9"], 2), "set"),
    ],
)
def test_what_has_no_equivalent_is_refused_and_no_older_value_stays(rdb_type: int, raw: bytes, kind: str) -> None:
    refusals = Refusals()
    translator = snapshot(REDIS70, refusals=refusals, member_ttl="fail", payload_limit=3)
    assert commands(translator, Value(0, b"k", 0, rdb_type, raw)) == [[b"DEL", b"k"]]
    assert [(x.type, x.payload, x.on_target) for x in refusals.seen] == [(kind, raw[:3], "removed")]


def test_a_big_value_without_equivalent_leaves_no_older_one() -> None:
    refusals = Refusals()
    found = commands(snapshot(REDIS70, refusals=refusals), *big(r.BLOOM2, [b"x"], [b"y"]))
    assert found == [[b"DEL", b"k"]]
    assert [x.on_target for x in refusals.seen] == ["removed"]


def test_what_the_policy_ends_the_run_for_stays_as_it_was() -> None:
    translator = snapshot(REDIS70, refusals=Refusals(stop=True))
    blocks = until_refused(translator, Value(0, b"k", 0, r.BLOOM2, b"x"))
    assert [c for block in blocks for c in block.commands] == []


@pytest.mark.parametrize(
    "found",
    [
        [Strings(0, [(b"other", b"v", 0), (b"k", b"v", 0)])],
        [Value(0, b"k", 0, r.SET, encode_strings([b"m"]))],
        [ValueStart(1, 0, b"k", 0, r.SET), ValuePart(1, [b"m"]), ValueEnd(1)],
    ],
)
def test_a_whole_value_takes_the_place_of_a_refused_one(found: list[r.SnapshotRecord]) -> None:
    """In a later full sync, or read again: what the journal then says of the key counts."""
    refusals = Refusals()
    translator = snapshot(REDIS70, refusals=refusals)
    translate(translator, Value(0, b"k", 0, r.BLOOM2, b"x"))
    assert refusals.refused(0, b"k")
    translate(snapshot(REDIS70, refusals=refusals), *found)
    assert not refusals.refused(0, b"k")
    assert outcome(items(journal(REDIS70, refusals=refusals), entry("SADD k x"))) == ["SADD k x"]


def test_a_key_that_is_left_alone_is_not_removed_either() -> None:
    translator = snapshot(REDIS70, skip=lambda db, key: key == b"k")
    assert commands(translator, Value(0, b"k", 0, r.BLOOM2, b"x")) == []


def big(rdb_type: int, *parts: list, expire_ms: int = 0) -> list[r.SnapshotRecord]:
    return [ValueStart(1, 0, b"k", expire_ms, rdb_type), *(ValuePart(1, p) for p in parts), ValueEnd(1)]


def test_a_big_hash_comes_in_bounded_chunks_and_its_expiry_last() -> None:
    pairs = [b"%d" % i for i in range(2 * 1200)]
    found = commands(snapshot(), *big(r.HASH, pairs, expire_ms=FAR))
    assert found[0] == [b"UNLINK", b"k"]
    assert [len(c) // 2 - 1 for c in found[1:-1]] == [512, 512, 176]
    assert [arg for c in found[1:-1] for arg in c[2:]] == pairs
    assert found[-1] == [b"PEXPIREAT", b"k", b"%d" % FAR]


@pytest.mark.parametrize(
    ("rdb_type", "part", "expected"),
    [
        (r.LIST_QUICKLIST2, [b"a", b"b"], [b"RPUSH", b"k", b"a", b"b"]),
        (r.SET, [b"a"], [b"SADD", b"k", b"a"]),
        (r.ZSET2, [b"m", b"1.5", b"n", b"inf"], [b"ZADD", b"k", b"1.5", b"m", b"inf", b"n"]),
        (r.STRING, [b"piece"], [b"APPEND", b"k", b"piece"]),
        (r.SET_TTL, [b"a", 0, b"b", 5], [b"SADD", b"k", b"a", b"b"]),
    ],
)
def test_parts_of_big_values(rdb_type: int, part: list, expected: list[bytes]) -> None:
    (block,) = translate(snapshot(), *big(rdb_type, part))
    assert [parse(c) for c in block.commands] == [[b"UNLINK", b"k"], expected]
    assert (block.entries, sum(block.kinds.values())) == (1, 1)


def test_a_key_is_open_until_its_last_part() -> None:
    translator = snapshot()
    start, part, end = big(r.SET, [b"a"])
    translate(translator, start, part)
    assert translator.open_keys == {(0, b"k")}
    translate(translator, end)
    assert translator.open_keys == set()


@pytest.mark.parametrize("stop", [False, True])
def test_a_big_value_refused_in_its_middle_leaves_no_half(stop: bool) -> None:
    refusals = Refusals(stop)
    translator = snapshot(refusals=refusals, member_ttl="fail")
    found = big(r.SET_TTL, [b"a", 0], [b"b", FAR], [b"c", 0])
    blocks = (until_refused if stop else translate)(translator, *found)
    sent = [parse(c)[0] for block in blocks for c in block.commands]
    assert sent == [b"UNLINK", b"SADD", b"DEL"]
    assert "removed again" in refusals.seen[0].reason
    assert translator.open_keys == set()


def test_blocks_are_cut_by_size_and_database_and_keep_order() -> None:
    items = [(b"k%d" % i, bytes(1000), 0) for i in range(2000)]
    blocks = translate(snapshot(CLUSTER), Strings(0, items))
    assert len(blocks) > 3
    assert all(block.size < BLOCK_BYTES * 1.6 for block in blocks)
    assert [parse(c)[1] for b in blocks for c in b.commands] == [k for k, _, _ in items]
    assert all(len(b.slots or ()) == len(b.commands) for b in blocks)
    dbs = translate(
        snapshot(), Strings(0, [(b"a", b"1", 0)]), Strings(5, [(b"b", b"1", 0)]), Strings(5, [(b"c", b"1", 0)])
    )
    assert [(b.db, len(b.commands)) for b in dbs] == [(0, 1), (5, 2)]


def test_keys_left_alone_and_databases_of_a_cluster() -> None:
    translator = snapshot(skip=lambda db, key: key == b"old")
    found = commands(
        translator, Strings(0, [(b"old", b"1", 0), (b"new", b"1", 0)]), Value(0, b"old", 0, 2, b"\x01\x01m")
    )
    assert [c[1] for c in found] == [b"new"]
    blocks = translate(snapshot(CLUSTER, db_policy="merge-into-0"), Strings(3, [(b"a", b"1", 0)]))
    assert [b.db for b in blocks] == [0]
    with pytest.raises(NotCopied):
        translate(snapshot(CLUSTER), Strings(3, [(b"a", b"1", 0)]))


def test_as_many_keys_are_observed_as_it_takes_to_learn_their_owners() -> None:
    observed: list[bytes] = []

    class Observed(Ownership):
        def observe(self, key: bytes, flow: int) -> None:
            observed.append(key)
            super().observe(key, flow)

    translator = snapshot(ownership=Observed(3))
    for begin in range(0, 3_000, 100):
        translate(translator, *(Value(0, b"%d" % at, 0, r.SET, b"\x01\x01m") for at in range(begin, begin + 100)))
    assert ENOUGH - 1 <= len(observed) <= ENOUGH
