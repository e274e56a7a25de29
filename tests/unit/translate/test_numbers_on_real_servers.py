"""Each journalled command with numbers as a client of the source may write them: the target takes it, and then holds
what the same numbers in Redis' own form give."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.support.content import Content, Entry, read_content
from tests.support.servers import Server
from tests.unit.translate.surroundings import words
from tests.unit.translate.test_on_real_servers import Target

pytestmark = pytest.mark.real

LIST, ZSET, POINT = "RPUSH k a b a c a", "ZADD k 1 a 2 b 3 c", "GEOADD k 13.3 38.1 m"
STREAM = ["XADD k 1-1 f v", "XADD k 2-1 f v", "XADD k 3-1 f v", "XGROUP CREATE k g 0"]

# What is there before, the record of the source, the same in Redis' form. `_` stands for a blank inside an argument.
CASES: list[tuple[list[str], str, str]] = [
    (["SET k 1"], "INCRBY k +5", "INCRBY k 5"),
    (["SET k 1"], "DECRBY k _05_", "DECRBY k 5"),
    (["SET k 1"], "INCRBY k -0", "INCRBY k 0"),
    (["SET k 1"], "INCRBYFLOAT k _+1.50", "SET k 2.5 KEEPTTL"),
    (["SET k abcdef"], "SETRANGE k 03 yy", "SETRANGE k 3 yy"),
    ([], "SETBIT k 07 +1", "SETBIT k 7 1"),
    ([], "BITFIELD k SET U08 #02 +3 INCRBY i016 _1 -01", "BITFIELD k SET u8 #2 3 INCRBY i16 1 -1"),
    ([], "SETEX k _10000 v", "SETEX k 10000 v"),
    ([], "PSETEX k +10000000 v", "PSETEX k 10000000 v"),
    (["SET k v"], "EXPIRE k +10000", "EXPIRE k 10000"),
    (["SET k v"], "PEXPIRE k 010000000", "PEXPIRE k 10000000"),
    (["SET k v"], "EXPIREAT k _4000000000", "EXPIREAT k 4000000000"),
    (["SET k v"], "PEXPIREAT k +4000000000000", "PEXPIREAT k 4000000000000"),
    (["SET k v"], "GETEX k EX _10000", "EXPIRE k 10000"),
    (["SET k v"], "MOVE k +3", "MOVE k 3"),
    ([LIST], "LSET k 00 x", "LSET k 0 x"),
    ([LIST], "LTRIM k 0 01", "LTRIM k 0 1"),
    ([LIST], "LTRIM k -02 -01", "LTRIM k -2 -1"),
    ([LIST], "LREM k 01 a", "LREM k 1 a"),
    ([LIST], "LREM k -02_ a", "LREM k -2 a"),
    ([LIST], "LPOP k 02", "LPOP k 2"),
    ([LIST], "RPOP k +2", "RPOP k 2"),
    ([LIST], "LMPOP 01 k LEFT COUNT +2", "LPOP k 2"),
    (["HSET k f 1"], "HINCRBY k f _5", "HINCRBY k f 5"),
    (["HSET k f 1"], "HINCRBYFLOAT k f +1.5", "HSET k f 2.5"),
    (["HSET k f 1 g 2"], "HEXPIRE k +0 FIELDS 01 f", "HDEL k f"),
    ([ZSET], 'ZINCRBY k _1 a', "ZINCRBY k 1 a"),
    ([ZSET], "ZINCRBY k +1e1 a", "ZINCRBY k 10 a"),
    ([ZSET], "ZINCRBY k 1e400 a", "ZINCRBY k inf a"),
    ([ZSET], "ZINCRBY k +0x1.8p1_ a", "ZINCRBY k 3 a"),
    ([ZSET], "ZADD k 5. a -.5 b Infinity c -INF d 1E2 e 007 f", "ZADD k 5 a -0.5 b inf c -inf d 100 e 7 f"),
    ([ZSET], "ZADD k +inf a +INF b", "ZADD k inf a inf b"),
    ([ZSET], "ZREMRANGEBYRANK k 00 +1", "ZREMRANGEBYRANK k 0 1"),
    ([ZSET], "ZREMRANGEBYSCORE k (1. 1e400", "ZREMRANGEBYSCORE k (1 inf"),
    ([ZSET], "ZPOPMIN k 02", "ZPOPMIN k 2"),
    ([ZSET], "ZPOPMAX k _2", "ZPOPMAX k 2"),
    ([ZSET], "ZMPOP 01 k MIN COUNT 02", "ZPOPMIN k 2"),
    ([ZSET], "ZRANGESTORE d k 00 +1", "ZRANGESTORE d k 0 1"),
    ([ZSET], "ZRANGESTORE d k (1 1e999 BYSCORE LIMIT 00 +1", "ZRANGESTORE d k (1 inf BYSCORE LIMIT 0 1"),
    ([ZSET], "ZUNIONSTORE d 01 k WEIGHTS +2", "ZUNIONSTORE d 1 k WEIGHTS 2"),
    ([], "GEOADD k 13.361389 38.1 m 1e1 .5 n", "GEOADD k 13.361389 38.1 m 10 0.5 n"),
    ([POINT], "GEORADIUS k +15 _37 0500 km COUNT 01 STORE d", "GEORADIUS k 15 37 500 km COUNT 1 STORE d"),
    ([POINT], "GEORADIUSBYMEMBER k m +10 km STORE d", "GEORADIUSBYMEMBER k m 10 km STORE d"),
    (
        [POINT],
        "GEOSEARCHSTORE d k FROMLONLAT +15 37_ BYRADIUS +500 km COUNT 01",
        "GEOSEARCHSTORE d k FROMLONLAT 15 37 BYRADIUS 500 km COUNT 1",
    ),
    (["RPUSH k 3 1 2"], "SORT k LIMIT 00 +2 STORE d", "SORT k LIMIT 0 2 STORE d"),
    (STREAM, "XADD k MAXLEN = 02 04-01 f v", "XADD k MAXLEN = 2 4-1 f v"),
    (STREAM, "XADD k MINID = 02-1 4-+1 f v", "XADD k MINID = 2-1 4-1 f v"),
    (STREAM, "XTRIM k MAXLEN +1", "XTRIM k MAXLEN 1"),
    (STREAM, "XTRIM k MINID 03-1_", "XTRIM k MINID 3-1"),
    (STREAM, "XDEL k 01-1 _2-01", "XDEL k 1-1 2-1"),
    (STREAM, "XSETID k 09-1_", "XSETID k 9-1"),
    (STREAM, "XGROUP CREATE k h 02-1_", "XGROUP CREATE k h 2-1"),
    (STREAM, "XGROUP SETID k g 02-1_", "XGROUP SETID k g 2-1"),
    (STREAM, "XCLAIM k g c 00 +1-1_ RETRYCOUNT 03 FORCE JUSTID", "XCLAIM k g c 0 1-1 RETRYCOUNT 3 FORCE JUSTID"),
    ([*STREAM, "XREADGROUP GROUP g c STREAMS k >"], "XAUTOCLAIM k g d +0 00 COUNT 02", "XAUTOCLAIM k g d 0 0 COUNT 2"),
    ([*STREAM, "XREADGROUP GROUP g c STREAMS k >"], "XACK k g 01-1 2-01_", "XACK k g 1-1 2-1"),
]  # fmt: skip


def prepared(there: Target, before: list[str]) -> None:
    there.client.flushall()
    for text in before:
        there.client.execute_command(*words(text))


def content(there: Target) -> Content:
    """Everything but the moment of an expiry, which is as late as the command was."""
    now = time.time() * 1000

    def coarse(entry: Entry) -> Entry:
        return replace(entry, expires_at=entry.expires_at and round((entry.expires_at - now) / 1_000_000))

    return {db: {k: coarse(e) for k, e in keys.items()} for db, keys in read_content(there.client).items()}


def test_lenient_numbers_give_what_redis_form_gives(target: Server) -> None:
    there = Target(target)
    wrong = []
    for before, record, canonical in CASES:
        prepared(there, before)
        there.client.execute_command(*words(canonical))
        wanted = content(there)
        prepared(there, before)
        there.apply("SET other v", [word.replace(b"_", b" ") for word in words(record)])
        there.client.delete("other")
        if (found := content(there)) != wanted:
            wrong.append((record, found, wanted))
    assert not wrong
