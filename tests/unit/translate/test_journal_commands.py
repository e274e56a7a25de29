"""Each journalled command as it must reach a given target (protocol page §4.5, §4.7, §4.8)."""

from __future__ import annotations

import pytest

from df2redis_tui.dragonfly import records
from df2redis_tui.pipeline.block import Reread
from df2redis_tui.translate import scripts
from df2redis_tui.translate.capabilities import JSON_WRITES, Capabilities, capabilities_of
from df2redis_tui.translate.expiry import DeferredExpiry
from df2redis_tui.translate.payload import payload
from df2redis_tui.translate.quirks import Quirks
from tests.support.damaged import Damaged, damaged_values
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
)

FAR = NOW + 10_000_000
HELD = NOW + GRACE

OLD_JSON = capabilities_of({"redis_version": "7.0.15"}, [n for n in JSON_WRITES if n != b"JSON.MERGE"], False)

SAME_EVERYWHERE = [
    "SETNX k v",
    "GETSET k v",
    "GETDEL k",
    "APPEND k v",
    "SETRANGE k 3 v",
    "SETBIT k 3 1",
    "INCR k",
    "DECRBY k 3",
    "INCRBY k 4",
    "PERSIST k",
    "RENAME a b",
    "RENAMENX a b",
    "LPUSH k a b",
    "RPUSHX k a",
    "LPOP k",
    "LPOP k 2",
    "LREM k 0 a",
    "LTRIM k 0 1",
    "LINSERT k BEFORE a b",
    "LSET k 0 a",
    "LMOVE a b LEFT RIGHT",
    "RPOPLPUSH a b",
    "SADD k a",
    "SREM k a",
    "SMOVE a b m",
    "HSET k f v",
    "HMSET k f v",
    "HDEL k f",
    "HSETNX k f v",
    "HINCRBY k f 2",
    "ZADD k 1 m",
    "ZADD k GT 1 m",
    "ZINCRBY k 1 m",
    "ZREM k m",
    "ZREMRANGEBYSCORE k 1 2",
    "ZPOPMIN k",
    "ZPOPMAX k 2",
    "GEOADD k 1 2 m",
    "MSET a 1 b 2",
    "DEL a b",
    "UNLINK a",
    "SORT k STORE d",
    "GEORADIUS k 1 2 3 km STORE d",
    "BITOP AND d a b",
    "COPY a b REPLACE",
    "MOVE k 3",
    "SUNIONSTORE d a b",
    "ZUNIONSTORE d 2 a b",
    "ZRANGESTORE d s 0 -1",
    "XADD k 1-1 f v",
    "XADD k MINID 1-0 2-1 f v",
    "XADD k MAXLEN 0 NOMKSTREAM 2-1 f v",
    "XTRIM k MAXLEN 0",
    "XTRIM k MINID 5-0",
    "XDEL k 1-1",
    "XACK k g 1-1",
    "XGROUP CREATE k g $",
    "XGROUP DESTROY k g",
    "XSETID k 5-0",
]


@pytest.mark.parametrize("text", SAME_EVERYWHERE)
def test_goes_out_as_it_came(text: str) -> None:
    for caps in (REDIS62, REDIS70, VALKEY9):
        assert outcome(items(journal(caps), entry(text))) == [text]


IGNORED = [
    "STICK k",
    "SHRINK k",
    "SCRIPT LOAD x",
    "PING",
    "EXEC",
    "FT.CREATE i ON HASH",
    "PFCOUNT a b",
    "ZINTER 1 a",
    "SORT k ASC LIMIT 0 1",
    "GEORADIUS k 1 2 3 km",
    "GEORADIUSBYMEMBER k m 1 km",
    "GETEX k",
    "HGETEX k FIELDS 1 f",
]


@pytest.mark.parametrize("text", IGNORED)
def test_has_no_effect_but_counts(text: str) -> None:
    (block,) = items(journal(VALKEY9), entry(text))
    assert (block.commands, block.next_lsn, block.entries) == ([], 101, 1)  # type: ignore[union-attr]


REWRITTEN: list[tuple[str, list[str], Capabilities]] = [
    (f"SET k v PXAT {FAR} STICK _MCFLAGS 7", [f"SET k v PXAT {FAR}"], REDIS70),
    ("SET k v STICK", ["SET k v"], REDIS70),
    ("SET k v KEEPTTL STICK", ["SET k v KEEPTTL"], REDIS70),
    (f"SET k v PXAT {NOW - 5000}", [f"SET k v PXAT {HELD}"], REDIS70),
    ("SETEX k 10000 v", [f"SET k v PXAT {FAR}"], REDIS70),
    ("PSETEX k 10000000 v", [f"SET k v PXAT {FAR}"], REDIS70),
    ("MSETNX a 1", ["MSET a 1"], REDIS70),
    (f"GETEX k PXAT {FAR}", [f"PEXPIREAT k {FAR}"], REDIS70),
    ("GETEX k PERSIST", ["PERSIST k"], REDIS70),
    (f"PEXPIREAT k {FAR}", [f"PEXPIREAT k {FAR}"], REDIS62),
    (f"PEXPIREAT k {NOW}", [f"PEXPIREAT k {HELD}"], REDIS62),
    ("EXPIRE k 10000", [f"PEXPIREAT k {FAR}"], REDIS62),
    ("EXPIRE k 10000 NX", [f"PEXPIREAT k {FAR} NX"], REDIS70),
    ("EXPIRE k 10000 NX", ["REREAD k"], REDIS62),
    ("BITFIELD k INCRBY U8 0 200", ["BITFIELD k INCRBY u8 0 200"], REDIS70),
    ("DELEX k", ["DEL k"], REDIS70),
    ("DELEX k IFDEQ abc", ["REREAD k"], REDIS70),
    ("CL.THROTTLE k 5 10 60", ["REREAD k"], REDIS70),
    ("SPOP k", ["REREAD k"], REDIS70),
    ("SORT k", ["REREAD k"], REDIS70),
    ("GEORADIUS k", ["REREAD k"], REDIS70),
    ("ZUNIONSTORE d a", ["REREAD d a"], REDIS70),
    ("ZUNIONSTORE d", ["REREAD d"], REDIS70),
    ("ZRANGESTORE d", ["REREAD d"], REDIS70),
    ("BITOP d a", ["REREAD d a"], REDIS70),
    ("PFMERGE d a", ["REREAD d a"], REDIS70),
    ("RENAME a", ["REREAD a"], REDIS70),
    ("LMPOP a b", ["REREAD a b"], REDIS70),
    ("LMPOP 1 a LEFT COUNT 3", ["LMPOP 1 a LEFT COUNT 3"], REDIS70),
    ("LMPOP 1 a LEFT COUNT 3", ["LPOP a 3"], REDIS62),
    ("ZMPOP 1 a MAX", ["ZPOPMAX a 1"], REDIS62),
    ("BLMOVE a b LEFT RIGHT 0", ["LMOVE a b LEFT RIGHT"], REDIS70),
    ("XADD k * f v", ["REREAD k"], REDIS70),
    ("XADD k 5-* f v", ["REREAD k"], REDIS70),
    ("XADD k MINID = 4-2 9-1 f v", ["XADD k MINID = 4-2 9-1 f v"], REDIS70),
    ("PFADD k a", ["PFADD k a"], REDIS70),
    ("BITFIELD k OVERFLOW SAT INCRBY u8 0 -9", ["REREAD k"], REDIS70),
    ("BITFIELD k INCRBY U8 0 9", ["BITFIELD k INCRBY u8 0 9"], REDIS70),
    ("XGROUP SETID k g 5-1 ENTRIESREAD 4", ["XGROUP SETID k g 5-1 ENTRIESREAD 4"], REDIS70),
    ("XGROUP SETID k g 5-1 ENTRIESREAD 4", ["XGROUP SETID k g 5-1"], REDIS62),
    ("XSETID k 5-1 ENTRIESADDED 9 MAXDELETEDID 3-1", ["XSETID k 5-1"], REDIS62),
    (
        "XCLAIM k g c 0 1-1 FORCE",
        ["XGROUP CREATECONSUMER k g c", "XCLAIM k g c 0 1-1 FORCE"],
        REDIS70,
    ),
    ("XAUTOCLAIM k g c 0 0", ["XGROUP CREATECONSUMER k g c", "XAUTOCLAIM k g c 0 0"], REDIS70),
    ("HEXPIRE k 10000 FIELDS 2 a b", [f"HPEXPIREAT k {FAR} FIELDS 2 a b"], VALKEY9),
    ("HEXPIRE k 10000 NX FIELDS 1 a", [f"HPEXPIREAT k {FAR} NX FIELDS 1 a"], REDIS74),
    ("HEXPIRE k 0 FIELDS 1 a", ["HDEL k a"], VALKEY9),
    ("HEXPIRE k 10 FIELDS 1 a", [], REDIS70),
    ("HSETEX k 10000 f v g w", [f"HSETEX k PXAT {FAR} FIELDS 2 f v g w"], VALKEY9),
    ("HSETEX k FNX 10000 f v", [f"HSETEX k FNX PXAT {FAR} FIELDS 1 f v"], REDIS80),
    ("HSETEX k 10000 f v", ["HSET k f v", f"HPEXPIREAT k {FAR} FIELDS 1 f"], REDIS74),
    ("HSETEX k 10000 f v", ["HSET k f v"], REDIS70),
    ("HSETEX k EX 10000 FIELDS 1 f v", [f"HSETEX k PXAT {FAR} FIELDS 1 f v"], VALKEY9),
    ("HSETEX k KEEPTTL FIELDS 1 f v", ["HSETEX k KEEPTTL FIELDS 1 f v"], VALKEY9),
    ("HSETEX k FIELDS 1 f v", ["HSET k f v"], VALKEY9),
    ("HGETEX k EX 10000 FIELDS 1 f", [f"HPEXPIREAT k {FAR} FIELDS 1 f"], VALKEY9),
    ("HGETEX k PERSIST FIELDS 1 f", ["HPERSIST k FIELDS 1 f"], VALKEY9),
    ("HGETDEL k FIELDS 1 f", ["HDEL k f"], REDIS70),
    ("SADDEX k 10 a b", ["SADD k a b"], REDIS70),
    ("SADDEX k KEEPTTL 10 a", ["SADD k a"], VALKEY9),
    ("FIELDEXPIRE k 10 a", [], REDIS70),
    ("FLUSHALL", ["GLOBAL FLUSHALL"], REDIS70),
    ("FLUSHDB ASYNC", ["GLOBAL FLUSHDB ASYNC"], REDIS70),
    ("DFLYCLUSTER FLUSHSLOTS 0 5", ["GLOBAL DFLYCLUSTER FLUSHSLOTS 0 5"], REDIS70),
    ("JSON.SET k $ 1", ["DEL k", "JSON.SET k $ 1"], REDIS80),
    ("JSON.SET k . 1", ["DEL k", "JSON.SET k $ 1"], REDIS80),
    ("JSON.SET k $.a 1", ["JSON.SET k $.a 1"], REDIS80),
    ("JSON.SET k $.a 1 NX", ["JSON.SET k $.a 1 NX"], REDIS80),
    ("JSON.SET k", ["REREAD k"], REDIS80),
    ("JSON.MSET a $ 1 b $.x 2", ["DEL a", "JSON.SET a $ 1", "JSON.SET b $.x 2"], REDIS80),
    ("JSON.MERGE k $ {}", ["JSON.MERGE k $ {}"], REDIS80),
    ("JSON.MERGE k $ {}", ["REREAD k"], OLD_JSON),
    ("JSON.TOGGLE k $.a", ["JSON.TOGGLE k $.a"], OLD_JSON),
    ("PEXPIREAT k 0", ["REREAD k"], REDIS70),
    ("PEXPIREAT k -1", ["REREAD k"], REDIS62),
    # cluster: k1 and k2 hash to different slots, {t}a and {t}b to one
    ("MSET k1 1 k2 2", ["MSET k1 1", "MSET k2 2"], CLUSTER),
    ("DEL k1 k2", ["DEL k1", "DEL k2"], CLUSTER),
    ("RENAME k1 k2", ["REREAD k1 k2"], CLUSTER),
    ("RENAME {t}a {t}b", ["RENAME {t}a {t}b"], CLUSTER),
    ("LMOVE k1 k2 LEFT LEFT", ["REREAD k1 k2"], CLUSTER),
    ("ZUNIONSTORE k1 1 k2", ["REREAD k1 k2"], CLUSTER),
    ("MOVE k 3", ["REREAD k"], CLUSTER),
]


@pytest.mark.parametrize(("text", "expected", "caps"), REWRITTEN, ids=lambda v: v if isinstance(v, str) else None)
def test_is_rewritten_for_the_target(text: str, expected: list[str], caps: Capabilities) -> None:
    assert outcome(items(journal(caps), entry(text))) == expected


OF_OLD_RELEASES = [
    ("df-v1.27.1", "XADD k MINID = 4-2 9-1 f v", ["XADD k MINID = 4-3 9-1 f v"]),
    ("df-v1.27.1", "XADD k MINID = 0-0 9-1 f v", ["XADD k MINID = 0-0 9-1 f v"]),
    ("df-v1.27.4", "XTRIM k MINID = 4-2", ["XTRIM k MINID = 4-2"]),
    ("df-v1.26.0", "XTRIM k MINID = 4-2", ["XTRIM k MINID = 4-2"]),
    ("df-v1.26.0", "XTRIM k MINID ~ 4-2", ["REREAD k"]),
    ("df-v1.39.0", f"PEXPIREAT k {NOW - 20}", ["REREAD k"]),  # what a GETEX without an option becomes there
    ("df-v1.40.0", f"PEXPIREAT k {NOW - 20}", [f"PEXPIREAT k {NOW + GRACE}"]),
    ("df-v1.39.0", f"PEXPIREAT k {NOW + 99_000}", [f"PEXPIREAT k {NOW + 99_000}"]),
    ("what", f"PEXPIREAT k {NOW - 20}", ["REREAD k"]),
]


@pytest.mark.parametrize(("version", "text", "expected"), OF_OLD_RELEASES)
def test_what_older_releases_journal_otherwise(version: str, text: str, expected: list[str]) -> None:
    assert outcome(items(journal(REDIS70, quirks=Quirks.of(version)), entry(text))) == expected


def test_a_whole_json_value_drops_the_ttl_but_on_old_releases() -> None:
    expiry = DeferredExpiry()
    soon = entry(f"PEXPIREAT k {NOW + 5_000}")
    items(journal(REDIS80, expiry=expiry), soon, entry("JSON.SET k $ 1"))
    assert expiry.true_time(0, b"k") is None
    translator = journal(REDIS80, expiry=expiry, quirks=Quirks.of("df-v1.32.0"))
    (_, line) = outcome(items(translator, soon, entry("JSON.SET k $ 1")))
    assert line == f"EVAL {scripts.JSON_REPLACE.decode()} 1 k  1 1"
    assert expiry.true_time(0, b"k") is not None


def test_a_whole_json_value_takes_the_place_of_a_key_that_was_refused() -> None:
    found = items(journal(REDIS80), entry("BF.ADD k a"), entry("JSON.SET k $ 1"), entry("JSON.TOGGLE k $"))
    assert outcome(found) == ["DEL k", "DEL k", "JSON.SET k $ 1", "JSON.TOGGLE k $"]
    found = items(journal(REDIS80), entry("BF.ADD k a"), entry("JSON.SET k $ 1 NX"))
    assert outcome(found) == ["DEL k", "REREAD k"]


def test_a_hyperloglog_of_an_old_release_stays_dense() -> None:
    (line,) = outcome(items(journal(REDIS70, quirks=Quirks.of("df-v1.16.0")), entry("PFADD k a")))
    assert line.startswith(f"EVAL {scripts.PFADD_DENSE.decode()} 1 k ")


def test_a_move_is_read_again_where_databases_have_other_numbers() -> None:
    found = items(journal(REDIS70, base_db=5), entry("MOVE k 1"))
    assert [(r.db, r.keys) for r in found if isinstance(r, Reread)] == [(0, (b"k",)), (1, (b"k",))]


SCRIPTED = [
    ("INCRBYFLOAT k 0.1", scripts.INCRBYFLOAT, REDIS70),
    ("PREPEND k v", scripts.PREPEND, REDIS70),
    ("DELEX k IFEQ v", scripts.DELEX, VALKEY9),
    ("HINCRBYFLOAT k f 1", scripts.HINCRBYFLOAT, REDIS70),
    ("HINCRBYFLOAT k f 1", scripts.HINCRBYFLOAT_HPEXPIREAT, REDIS74),
    ("HINCRBYFLOAT k f 1", scripts.HINCRBYFLOAT_HSETEX, VALKEY9),
    ("HSETEX k NX 10 f v", scripts.HSETEX, VALKEY9),
    ("HSETEX k KEEPTTL 10 f v", scripts.HSETEX, VALKEY9),
    ("HSETEX k FXX 10 f v", scripts.HSETEX_WITHOUT_TTL, REDIS70),
    ("FIELDEXPIRE k 10 a", scripts.FIELDEXPIRE, VALKEY9),
    ("FIELDEXPIRE k 0 a", scripts.FIELDEXPIRE, REDIS70),
    ("LMPOP 2 a b LEFT", scripts.POP_FIRST, REDIS62),
    ("JSON.SET k $ 1 NX", scripts.JSON_REPLACE, REDIS80),
    ("JSON.SET k $ 1 XX", scripts.JSON_REPLACE, REDIS80),
]


@pytest.mark.parametrize(("text", "script", "caps"), SCRIPTED)
def test_needs_a_script_that_declares_its_keys(text: str, script: bytes, caps: Capabilities) -> None:
    (line,) = outcome(items(journal(caps), entry(text)))
    count = 2 if text.startswith("LMPOP") else 1
    keys = "a b" if count == 2 else "k"
    assert line.startswith(f"EVAL {script.decode()} {count} {keys} ")


REFUSED = [
    ("SADDEX k 10 a", VALKEY9),
    ("HEXPIRE k 10 FIELDS 1 a", REDIS70),
    ("HSETEX k 10 f v", REDIS62),
    ("FIELDEXPIRE k 10 a", REDIS70),
    ("JSON.SET k $ 1", REDIS70),
    ("BF.ADD k a", REDIS80),
    ("CF.ADD k a", REDIS70),
    ("CMS.INCRBY k a 1", REDIS70),
    ("TOPK.ADD k a", REDIS70),
]


@pytest.mark.parametrize(("text", "caps"), REFUSED)
def test_has_no_equivalent_and_is_refused_once_then_left_out(text: str, caps: Capabilities) -> None:
    refusals = Refusals()
    translator = journal(caps, refusals=refusals, member_ttl="fail")
    found = outcome(items(translator, entry(text), entry(text), entry("HSET k f v"), entry("SADD k x")))
    assert found == ["DEL k"]  # an older value must not stay
    assert [(r.key, r.lsn, r.on_target) for r in refusals.seen] == [(b"k", 100, "removed")]


@pytest.mark.parametrize("fresh", ["SET k v", "DEL k", "MSET k v", "GETSET k v"])
def test_a_refused_key_comes_back_when_it_is_recreated(fresh: str) -> None:
    translator = journal(REDIS70)
    found = items(translator, entry("JSON.SET k $ 1"), entry("APPEND k x"), entry(fresh), entry("APPEND k y"))
    assert outcome(found) == ["DEL k", fresh, "APPEND k y"]


def test_renaming_a_refused_key_removes_what_the_new_name_held() -> None:
    refusals = Refusals()
    found = items(journal(refusals=refusals), entry("JSON.SET a $ 1"), entry("RENAME a b"))
    assert outcome(found) == ["DEL a", "DEL b"]
    assert [r.key for r in refusals.seen] == [b"a", b"b"]


DOUBLED = [
    (["SREM k a", "SPOP k"], ["SREM k a"]),
    (["DEL k", "SPOP k"], ["DEL k"]),
    (["SADD d a", "SUNIONSTORE d x y"], ["SADD d a"]),
    (["XADD k MINID = 0-0 5-0 a 1", "XADD k MAXLEN 50 * a 1"], ["XADD k MINID = 0-0 5-0 a 1"]),
]


@pytest.mark.parametrize(("texts", "expected"), DOUBLED)
def test_what_old_masters_log_twice_is_applied_once(texts: list[str], expected: list[str]) -> None:
    assert outcome(items(journal(), *(entry(text, txid=9) for text in texts))) == expected
    translator = journal()
    apart = [line for text in texts for line in outcome(items(translator, entry(text, txid=9)))]
    assert apart == expected


def test_scores_cut_to_six_digits_are_read_again() -> None:
    pair = [entry("DEL d", txid=7), entry("ZADD d 1.7e+12 m", txid=7)]
    assert outcome(items(journal(), *pair)) == ["DEL d", "ZADD d 1.7e+12 m", "REREAD d"]
    of_a_script = [entry("DEL d"), entry("ZADD d 1 m 123457 n")]
    assert outcome(items(journal(), *of_a_script)) == ["DEL d", "ZADD d 1 m 123457 n", "REREAD d"]
    translator = journal()
    assert outcome(items(translator, pair[0])) == ["DEL d"]
    assert outcome(items(translator, pair[1], lsn=101)) == ["ZADD d 1.7e+12 m", "REREAD d"]


@pytest.mark.parametrize(
    "pair",
    [
        [entry("DEL d"), entry("ZADD d 1 m")],
        [entry("DEL d", txid=7), entry("ZADD d 1 m", txid=8)],
        [entry("DEL d", txid=7), entry("ZADD d 1 m", txid=7, db=1)],
        [entry("DEL d", txid=7), entry("SET x y", txid=7), entry("ZADD d 1 m", txid=7)],
    ],
)
def test_other_deletes_before_a_zadd_need_no_reading_again(pair: list) -> None:
    assert not [line for line in outcome(items(journal(), *pair)) if line.startswith("REREAD")]


def test_a_restored_key_lives_no_longer_than_its_source_lets_it() -> None:
    longest = (2**28 - 1) * 1000
    body = payload(records.SET, b"\x01\x01m")
    (sent,) = outcome(items(journal(), entry([b"RESTORE", b"k", b"%d" % (NOW + 2 * longest), body, b"ABSTTL"])))
    assert sent.split()[2] == str(NOW + longest)


KEPT = {value.type: value for value in damaged_values() if value.type != records.JSON}


@pytest.mark.parametrize("value", KEPT.values(), ids=str)
def test_a_damaged_restore_is_not_passed_on(value: Damaged) -> None:
    def sent(body: bytes) -> list[str]:
        return outcome(items(journal(VALKEY9), entry([b"RESTORE", b"k", b"0", body])))

    whole = payload(value.type, value.intact)
    flipped = bytes([*whole[:-12], whole[-12] ^ 1, *whole[-11:]])
    for body in (payload(value.type, value.raw), flipped):
        assert sent(body) == ["REREAD k"]
    assert "RESTORE k" in sent(whole)[0]
