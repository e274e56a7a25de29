"""Capabilities, keys and slots, deferred expiry, ownership, RESTORE payloads."""

from __future__ import annotations

import pytest

from df2redis_tui.translate.capabilities import capabilities_of, lowest, unsupported
from df2redis_tui.translate.expiry import AHEAD_MS, ENTRY_BYTES, HOLD_MS, DeferredExpiry, ExpiryBudget, hold_ms
from df2redis_tui.translate.keys import keys_of, slot_of, slots_of
from df2redis_tui.translate.ownership import Ownership
from df2redis_tui.translate.payload import encode_length, payload
from df2redis_tui.translate.resp import encode
from tests.unit.translate.surroundings import NOW, REDIS62, REDIS70, REDIS74, REDIS80, VALKEY9, parse, words


def test_what_each_version_takes() -> None:
    assert REDIS62.rdb_types.isdisjoint({16, 17, 18, 21})
    assert {16, 17, 18} <= REDIS70.rdb_types
    assert 21 not in REDIS70.rdb_types
    assert 21 in REDIS74.rdb_types
    assert 21 in VALKEY9.rdb_types
    assert [c.field_ttl for c in (REDIS62, REDIS70, REDIS74, REDIS80, VALKEY9)] == [False, False, True, True, True]
    assert [c.hsetex for c in (REDIS74, REDIS80, VALKEY9)] == [False, True, True]
    assert [c.json for c in (REDIS74, REDIS80, VALKEY9)] == [False, True, False]
    assert capabilities_of({"redis_version": "7.0.1"}, [b"JSON.SET"], False).json
    assert not capabilities_of({"redis_version": "8.0.2"}, (), False).json
    assert not capabilities_of({"redis_version": "7.2.4", "valkey_version": "8.1.0"}, (), False).field_ttl


def test_a_mixed_cluster_can_what_all_its_nodes_can() -> None:
    both = lowest([VALKEY9, REDIS62])
    assert (both.version, both.field_ttl, both.rdb_types) == (REDIS62.version, False, REDIS62.rdb_types)
    older = capabilities_of({"redis_version": "7.2.0"}, [b"JSON.SET", b"JSON.DEL"], False)
    assert lowest([REDIS80, older]).json_commands == {b"JSON.SET", b"JSON.DEL"}


def test_too_old_a_target_is_named() -> None:
    assert unsupported(REDIS62) is None
    assert "5.0.14" in (unsupported(capabilities_of({"redis_version": "5.0.14"}, (), False)) or "")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("SET k v", "k"),
        ("DEL a b", "a b"),
        ("MSET a 1 b 2", "a b"),
        ("JSON.MSET a $ 1 b $ 2", "a b"),
        ("BITOP AND d a b", "d a b"),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
        ("LMPOP 2 a b LEFT", "a b"),
        ("LMPOP a b", "a b"),
        ("SORT k BY x STORE d", "k d"),
        ("GEORADIUS k 1 2 3 km STOREDIST d", "k d"),
        ("XGROUP CREATE k g $", "k"),
        ("XREADGROUP GROUP g c STREAMS a b > >", "a b"),
        ("FLUSHALL", ""),
        ("SMOVE a b m", "a b"),
        ("PFMERGE d a b", "d a b"),
        ("FT.CREATE i", ""),
        ("BLPOP a b 0", "a b"),
    ],
)
def test_keys_of_commands(text: str, keys: str) -> None:
    assert keys_of(words(text)) == tuple(words(keys))


def test_slots_as_the_cluster_specification_gives_them() -> None:
    keys = [b"123456789", b"foo", b"{foo}bar", b"x{foo}y{z}", b"{}foo", b"{foo"]
    assert slot_of(b"123456789") == 0x31C3
    assert slot_of(b"{foo}bar") == slot_of(b"x{foo}y{z}") == slot_of(b"foo") == 12182
    assert slot_of(b"{}foo") != slot_of(b"foo")
    assert slots_of(keys) == [slot_of(k) for k in keys]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 17, 300])
def test_commands_of_any_length_are_resp_arrays(count: int) -> None:
    args = [b"x" * i for i in range(count)]
    assert parse(encode(args)) == args


def test_what_ends_soon_is_held_for_a_minute_and_ten_times_the_lag() -> None:
    assert [hold_ms(lag) for lag in (0.0, 1.5, 20.0, 1e6)] == [HOLD_MS, HOLD_MS + 15_000, HOLD_MS + 200_000, 3_600_000]
    expiry = DeferredExpiry()
    assert expiry.effective(0, b"soon", NOW + 3_000, NOW, HOLD_MS) == NOW + 3_000 + HOLD_MS
    assert expiry.effective(0, b"over", NOW - 3_000, NOW, HOLD_MS) == NOW + HOLD_MS
    assert expiry.effective(0, b"far", NOW + AHEAD_MS + 1, NOW, HOLD_MS) == NOW + AHEAD_MS + 1
    lagging = hold_ms(20.0)
    assert expiry.effective(0, b"lags", NOW + AHEAD_MS + 1, NOW, lagging) == NOW + AHEAD_MS + 1 + lagging
    assert expiry.true_time(0, b"soon") == NOW + 3_000
    assert [expiry.is_held(0, key) for key in (b"soon", b"over", b"far", b"lags")] == [True, True, False, True]
    assert expiry.ends_at(0, b"soon") == NOW + 3_000 + HOLD_MS
    assert expiry.ends_at(0, b"far") == NOW + AHEAD_MS + 1


def test_what_comes_near_is_held_from_then_on() -> None:
    expiry = DeferredExpiry()
    expiry.effective(0, b"k", NOW + 600_000, NOW, HOLD_MS)
    assert expiry.nearing(NOW + 500_000, HOLD_MS) == []
    assert expiry.nearing(NOW + 540_000, HOLD_MS) == [(0, b"k", NOW + 600_000 + HOLD_MS)]
    assert expiry.nearing(NOW + 540_000, HOLD_MS) == []
    assert expiry.true_time(0, b"k") == NOW + 600_000


def test_true_times_are_written_where_nobody_else_ends_a_key_or_the_lag_is_over() -> None:
    expiry = DeferredExpiry()
    expiry.effective(0, b"awaited", NOW - 1_000, NOW, HOLD_MS)
    expiry.effective(0, b"overdue", NOW - 3_000, NOW, HOLD_MS)
    expiry.effective(0, b"lagged", NOW + 900_000, NOW, hold_ms(100.0))
    assert expiry.due(NOW) == [(0, b"overdue", NOW - 3_000), (0, b"lagged", NOW + 900_000)]
    assert expiry.due(NOW) == []
    # Where the source changes it after all, the record comes too late: that must still be known.
    assert expiry.ends_at(0, b"overdue") == NOW - 3_000
    assert expiry.ends_at(0, b"lagged") == NOW + 900_000
    assert expiry.due(NOW + HOLD_MS) == [(0, b"awaited", NOW - 1_000)]
    assert expiry.true_time(0, b"overdue") is None


def test_at_the_end_of_a_run_what_is_held_gets_its_true_time() -> None:
    expiry = DeferredExpiry()
    for number in range(5):
        expiry.effective(0, b"%d" % number, NOW + number, NOW, HOLD_MS)
    expiry.effective(0, b"far", NOW + 600_000, NOW, HOLD_MS)
    found = []
    while some := expiry.take_held(2):
        found += some
    assert sorted(found) == [(0, b"%d" % number, NOW + number) for number in range(5)]
    assert expiry.count == 0


def test_what_is_remembered_is_bounded_and_the_rest_is_held_all_the_same() -> None:
    budget = ExpiryBudget(4 * (ENTRY_BYTES + 1))
    here, there = DeferredExpiry(budget), DeferredExpiry(budget)
    for key in b"a", b"b", b"c":  # keys with time yet get half of it
        assert here.effective(0, key, NOW + 600_000, NOW, HOLD_MS) == NOW + 600_000
    assert (here.count, here.unremembered) == (2, 0)
    for key in b"d", b"e", b"f":
        assert there.effective(0, key, NOW, NOW, HOLD_MS) == NOW + HOLD_MS
    assert (there.count, there.unremembered) == (2, 1)
    here.rename(0, b"a", b"n")
    assert here.remembered() == [(0, b"b", NOW + 600_000), (0, b"n", NOW + 600_000)]
    here.cancel(0, b"b")
    here.clear(0)
    there.clear()
    assert (here.count, there.count, budget.used) == (0, 0, 0)


def test_a_source_that_hashes_in_no_known_way_owns_nothing_for_sure() -> None:
    ownership = Ownership(4)
    for i in range(1000):
        ownership.observe(b"k%d" % i, i % 4)
    assert not any(ownership.foreign(b"k%d" % i, 0) for i in range(100))


def test_slots_can_be_the_rule() -> None:
    ownership = Ownership(4)
    for i in range(100):
        ownership.observe(b"k%d" % i, slot_of(b"k%d" % i) % 4)
    assert ownership.foreign(b"foo", (slot_of(b"foo") + 1) % 4)
    assert not ownership.foreign(b"foo", slot_of(b"foo") % 4)


def test_a_payload_is_what_dump_gives() -> None:
    # DUMP of the string "10" on a real Redis: type, int8, footer version 9 would differ; the CRC covers all before it.
    body = payload(0, b"\xc0\x0a")
    assert body[:5] == b"\x00\xc0\x0a\x09\x00"
    assert len(body) == 13
    assert [encode_length(n) for n in (63, 64, 16384, 1 << 32)] == [
        b"\x3f",
        b"\x40\x40",
        b"\x80\x00\x00\x40\x00",
        b"\x81" + (1 << 32).to_bytes(8, "big"),
    ]
