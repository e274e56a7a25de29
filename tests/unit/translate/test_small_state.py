"""Capabilities, keys and slots, deferred expiry, ownership, RESTORE payloads."""

from __future__ import annotations

import pytest

from df2redis_tui.translate.capabilities import capabilities_of, lowest, unsupported
from df2redis_tui.translate.expiry import DeferredExpiry
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


def test_the_source_is_awaited_for_what_expires_soon() -> None:
    expiry = DeferredExpiry()
    ends = {b"soon": NOW + 500, b"later": NOW + 55_000, b"just": NOW - 1000, b"long": NOW - 5000}
    for key, at in ends.items():
        assert expiry.effective(0, key, at, NOW, 60_000) == NOW + 60_000
    assert expiry.effective(0, b"far", NOW + 99_000, NOW, 100_000) == NOW + 100_000
    assert {key for _, key, _ in expiry.shorter_than(NOW + 3000)} == {b"soon", b"just", b"long"}
    assert expiry.due(NOW) == [(0, b"far", NOW + 99_000)]
    assert {key for _, key, _ in expiry.remembered()} == {b"soon", b"later", b"just"}
    assert expiry.due(NOW + 10_000) == []
    assert expiry.remembered() == [(0, b"later", NOW + 55_000)]
    assert expiry.count == 1


def test_a_key_that_ends_soon_ends_a_little_later_where_nothing_is_late() -> None:
    expiry = DeferredExpiry()
    assert expiry.effective(0, b"k", NOW + 60_000, NOW, 1000) == NOW + 61_000
    assert expiry.effective(0, b"k", NOW + 10, NOW, 1000) == NOW + 1010
    assert expiry.true_time(0, b"k") == NOW + 10
    assert expiry.effective(0, b"k", NOW + 70_000, NOW, 1000) == NOW + 70_000
    assert expiry.count == 0


def test_deferred_expiry_is_bounded_and_cancels() -> None:
    expiry = DeferredExpiry(limit=3, ahead=1)
    held = [NOW + 6000, NOW + 5000, NOW + 10_000, NOW + 10_000, NOW]
    keys = {b"a": NOW + 5000, b"b": NOW + 5000, b"c": NOW, b"d": NOW, b"e": NOW}
    assert [expiry.effective(0, key, at, NOW, 10_000 if at == NOW else 10) for key, at in keys.items()] == held
    assert expiry.overflowed == 2
    assert expiry.effective(0, b"a", NOW + 99_999, NOW, 10) == NOW + 99_999
    expiry.rename(0, b"c", b"n")
    assert expiry.true_time(0, b"n") == NOW
    assert expiry.count == 2
    expiry.clear(0)
    assert expiry.count == 0


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
