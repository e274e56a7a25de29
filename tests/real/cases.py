"""Every command that Dragonfly journals, as short stories: what a client sends, by the rows of the protocol's table.

`@a` in a command is a key of the case, `DUMP(@a)` what DUMP says of it, `S(9)` and `MS(9)` the time in 9 seconds. Each
case runs several times under other names, so that its keys lie in one shard and in several.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

# What the look-alike can't do, as its server is a Valkey.
DRAGONFLY_ONLY = "a command of Dragonfly alone"
LENIENT = "the look-alike's server takes no such number"
NO_CUT = "the look-alike's server does not cut long TTLs"
NO_MODULE = "the look-alike's server has no such module"

# Why a key is not on the target, or not as on the source.
MERGED_COPIES = "PFMERGE leaves a copy of the destination in the shards of its sources, which the snapshot brings too"
KEPT_TTL = "the source keeps the destination's TTL, and journals a SET without one"
GROUPS_MOVED = "RENAME to another shard makes the unknown count of a group 0 on the source only"
NOT_CARRIED_OVER = "nothing of the kind in Redis"  # the program says so in a dead letter


@dataclass(frozen=True, slots=True)
class Case:
    """`commands` run one by one. `lacking`: why not against the look-alike. `excused`: key → why it may differ, which
    is then a defect of Dragonfly itself. `dead`: all keys of the case go into the dead letters.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    lacking: str = ""
    excused: Mapping[str, str] = field(default_factory=dict)
    dead: str = ""


def case(
    name: str, script: str, *, lacking: str = "", excused: Mapping[str, str] | None = None, dead: str = ""
) -> Case:
    lines = [line.strip() for line in script.replace(";", "\n").splitlines()]
    return Case(name, tuple(tuple(shlex.split(line)) for line in lines if line), lacking, excused or {}, dead)


STRINGS = (
    case("set", "SET @a v; SET @b v EX 1000; SET @c v PX 900000; SET @d v EXAT S(1000); SET @e 1; SET @e 2 GET"),
    case("set-conditions", "SET @a v NX; SET @a w NX; SET @b v XX; SET @a x XX; SET @a y KEEPTTL; SET @a z"),
    case("set-keepttl", "SET @a v EX 1000; SET @a w KEEPTTL; SET @b v EX 1000; SET @b w"),
    case("setex", "SETEX @a 1000 v; PSETEX @b 1000000 v; SETNX @c v; SETNX @c w"),
    case("getset", "SET @a 1 EX 1000; GETSET @a 2; GETSET @b 1; SET @c 1; GETDEL @c"),
    case("getex", "SET @a 1; GETEX @a EX 1000; SET @b 1 EX 1000; GETEX @b PERSIST; SET @c 1; GETEX @c PXAT MS(1000)"),
    case("append", "APPEND @a x; APPEND @a y; SET @b 1; APPEND @b 2; SETRANGE @c 5 hello; SETRANGE @c 1 x"),
    case("prepend", "SET @a x; PREPEND @a y", lacking=DRAGONFLY_ONLY),
    case("bits", "SETBIT @a 7 1; SETBIT @a 100 1; BITFIELD @b SET u8 0 200; BITFIELD @b INCRBY u8 0 5"),
    case("bitfield-overflow", "BITFIELD @a SET u8 0 200; BITFIELD @a OVERFLOW SAT INCRBY u8 0 100"),
    case("bitop", "SET @a abc; SET @b 123; BITOP AND @c @a @b; BITOP OR @d @a @b; BITOP XOR @e @a @b; BITOP NOT @f @a"),
    case("bitop-ttl", "SET @a x EX 1000; SET @b y; BITOP OR @a @b @b", excused={"a": KEPT_TTL}),
    case("bitop-empty", "SET @c x; BITOP AND @c @nothing @nothing2"),
    case("incr", "INCR @a; INCRBY @a 10; DECR @a; DECRBY @a 3; SET @b 9000000000; INCRBY @b 1"),
    case("incrbyfloat", "INCRBYFLOAT @a 0.1; INCRBYFLOAT @a 0.2; SET @b 1e20; INCRBYFLOAT @b 1e21; INCRBYFLOAT @a -5"),
    case("mset", "MSET @a 1 @b 2 @c 3 @d 4; MSETNX @e 1 @f 2; MSETNX @e 9 @g 9; SET @h 1 EX 1000; MSET @h 2 @a 7"),
)

KEYS = (
    case("del", "SET @a 1; SET @b 1; SET @c 1; DEL @a @b @nothing; UNLINK @c"),
    case("delex", "SET @a 1; DELEX @a; SET @b 1; DELEX @b IFEQ 1; SET @c 1; DELEX @c IFEQ 2", lacking=DRAGONFLY_ONLY),
    case("expire", "SET @a 1; EXPIRE @a 1000; SET @b 1; PEXPIRE @b 900000; SET @c 1; EXPIREAT @c S(1000)"),
    case("pexpireat", "RPUSH @a 1; PEXPIREAT @a MS(1000); EXPIRE @a 5000 LT; EXPIRE @a 9000 NX; EXPIRE @a 9000 GT"),
    case("expire-past", "SET @a 1; EXPIRE @a -1; SET @b 1; EXPIREAT @b 1; SADD @c 1; PEXPIREAT @c 1000"),
    case("persist", "SET @a 1 EX 1000; PERSIST @a; RPUSH @b 1; EXPIRE @b 1000; PERSIST @b; PERSIST @b"),
    case("stick", "SET @a 1; STICK @a; SET @b 1 EX 1000; STICK @b", lacking=DRAGONFLY_ONLY),
    case("move", "SET @a 1; MOVE @a 1; HSET @b f v; EXPIRE @b 1000; MOVE @b 5; SET @c 1; MOVE @nothing 1"),
    case("rename", "SET @a 1 EX 1000; RENAME @a @b; RPUSH @c 1 2; SET @d x; RENAME @c @d; SADD @e 1; RENAMENX @e @f"),
    case(
        "rename-stream",
        "XADD @a * f v; XGROUP CREATE @a g 0; RENAME @a @b; ZADD @c 1 x; RENAME @c @d",
        excused={"b": GROUPS_MOVED},
    ),
    case("rename-back", "SET @a 1; SET @b 2; RENAME @a @c; RENAME @b @a; RENAME @c @b; APPEND @a x; APPEND @b y"),
    case("copy", "RPUSH @a 1 2; EXPIRE @a 1000; COPY @a @b; HSET @c f v; SET @d x; COPY @c @d REPLACE"),
    case(
        "restore",
        "RPUSH @a 1 2 3; RESTORE @b 0 DUMP(@a); RESTORE @c MS(1000) DUMP(@a) ABSTTL; SET @d 1; RESTORE @d 0 DUMP(@a) REPLACE",
    ),
    case("restore-far", "RPUSH @a 1; RESTORE @b MS(900000000) DUMP(@a) ABSTTL", lacking=NO_CUT),
    case("restore-zset", "ZADD @a 1.5 x 2 y; RESTORE @b 900000 DUMP(@a); HSET @c f v; RESTORE @d 0 DUMP(@c)"),
    case("sort-store", "RPUSH @a 3 1 2; SORT @a STORE @b", excused={"b": "SORT STORE over several shards is cut"}),
)

LISTS = (
    case("push", "LPUSH @a 1 2 3; RPUSH @a 4; LPUSHX @a 0; RPUSHX @a 5; LPUSHX @b 1; LPOP @a; RPOP @a 2; LPOP @a 1"),
    case("pop-all", "RPUSH @a 1; LPOP @a; RPUSH @b 1 2; RPOP @b 2; RPUSH @b 7"),
    case("lset", "RPUSH @a 1 2 3 2 1; LSET @a 1 x; LSET @a -1 y; LREM @a 1 2; LREM @a -1 1; LTRIM @a 0 2"),
    case("linsert", "RPUSH @a 1 2 3; LINSERT @a BEFORE 2 x; LINSERT @a AFTER 3 y; LINSERT @a AFTER nothing y"),
    case("blocking-pop", "RPUSH @a 1 2 3 4; BLPOP @a 1; BRPOP @nothing @a 1"),
    case("lmpop", "RPUSH @a 1 2 3 4; LMPOP 1 @a LEFT; LMPOP 2 @nothing @a RIGHT; BLMPOP 1 1 @a LEFT"),
    case("lmpop-count", "RPUSH @a 1 2 3 4 5; LMPOP 1 @a LEFT COUNT 3", excused={"a": "LMPOP COUNT is journalled as one pop"}),
    case("lmove", "RPUSH @a 1 2 3 4; LMOVE @a @b LEFT RIGHT; LMOVE @a @b RIGHT LEFT; RPOPLPUSH @a @c"),
    case("blmove", "RPUSH @a 1 2 3 4; BLMOVE @a @b LEFT RIGHT 1; BRPOPLPUSH @a @b 1"),
    case("rotate", "RPUSH @a 1 2 3; LMOVE @a @a LEFT RIGHT; RPOPLPUSH @a @a"),
    case("rotate-ttl", "RPUSH @a 1; EXPIRE @a 1000; RPOPLPUSH @a @a; RPUSH @b 1; EXPIRE @b 1000; LMOVE @b @b LEFT RIGHT"),
    case("rotate-ttl-blocking", "RPUSH @a 1; EXPIRE @a 1000; BRPOPLPUSH @a @a 1; RPUSH @b 1; EXPIRE @b 1000; BLMOVE @b @b LEFT LEFT 1"),
)  # fmt: skip

SETS = (
    case("sadd", "SADD @a x y z; SREM @a y nothing; SADD @b 1 2 3; SREM @b 1 2 3; SADD @c 1 2; SADD @c x"),
    case("spop", "SADD @a 1 2 3 4 5 6 7 8 9; SPOP @a; SPOP @a 3; SADD @b 1 2; SPOP @b 5"),
    case("smove", "SADD @a x y; SADD @b z; SMOVE @a @b x; SMOVE @a @c y"),
    case("set-stores", "SADD @a 1 2 3; SADD @b 2 3 4; SINTERSTORE @c @a @b; SUNIONSTORE @d @a @b; SDIFFSTORE @e @a @b"),
    case("set-store-empty", "SADD @a 1; SADD @b 2; SET @c old; SINTERSTORE @c @a @b; SADD @d 9; SUNIONSTORE @d @a @b"),
    case("saddex", "SADDEX @a 1000 x y; SADD @a z", lacking=DRAGONFLY_ONLY),
)

HASHES = (
    case("hset", "HSET @a f v g w; HMSET @a h x; HSETNX @a i y; HSETNX @a i z; HDEL @a f; HSET @b f v; HDEL @b f"),
    case("hincr", "HINCRBY @a f 5; HINCRBY @a f -7; HINCRBYFLOAT @a g 0.1; HINCRBYFLOAT @a g 0.2"),
    case("hexpire", "HSET @a f v g w h x; HEXPIRE @a 1000 FIELDS 2 f g; HINCRBY @a n 1"),
    case("fieldexpire", "HSET @a f v g w; FIELDEXPIRE @a 1000 f", lacking=DRAGONFLY_ONLY),
    case("fieldexpire-set", "SADD @a x y; FIELDEXPIRE @a 1000 x", lacking=DRAGONFLY_ONLY),
    case("hsetex", "HSETEX @a 1000 f v g w; HSET @a h x; HSET @a f z", lacking=DRAGONFLY_ONLY),
    case("hsetex-options", "HSETEX @a NX 1000 f v; HSETEX @a NX 1000 f w; HSETEX @a KEEPTTL 2000 f x", lacking=DRAGONFLY_ONLY),
    case("hsetex-redis", "HSETEX @a EX 1000 FIELDS 1 f v; HSETEX @a FXX EX 900 FIELDS 1 f w; HSETEX @a KEEPTTL FIELDS 1 f x"),
    case("hgetex", "HSET @a f v g w; HGETEX @a EX 1000 FIELDS 1 f; HGETEX @a PERSIST FIELDS 1 f"),
)  # fmt: skip

SORTED_SETS = (
    case("zadd", "ZADD @a 1 x 2 y; ZADD @a NX 5 x 6 z; ZADD @a XX 7 y 8 w; ZADD @a GT 1 x; ZADD @a LT CH 0.5 x; ZADD @a INCR 2 x"),
    case("zincrby", "ZINCRBY @a 1.5 x; ZINCRBY @a -0.25 x; ZINCRBY @a inf y; ZADD @a -inf z; ZADD @b 0.1 a; ZINCRBY @b 0.2 a"),
    case("zrem", "ZADD @a 1 a 2 b 3 c 4 d 5 e 6 f 7 g; ZREM @a a; ZREMRANGEBYRANK @a 0 0; ZREMRANGEBYSCORE @a 3 (4; ZREMRANGEBYSCORE @a 7 +inf"),
    case("zremrangebylex", "ZADD @a 0 a 0 b 0 c 0 d; ZREMRANGEBYLEX @a [a (c"),
    case("zpop", "ZADD @a 1 a 2 b 3 c 4 d 5 e 6 f; ZPOPMIN @a; ZPOPMAX @a 2; BZPOPMIN @a 1; BZPOPMAX @nothing @a 1"),
    case("zmpop", "ZADD @a 1 a 2 b 3 c 4 d 5 e 6 f; ZMPOP 1 @a MIN; ZMPOP 2 @nothing @a MAX COUNT 2; BZMPOP 1 1 @a MIN COUNT 2"),
    case("zstores", "ZADD @a 1 x 2 y; ZADD @b 3 y 4 z; ZUNIONSTORE @c 2 @a @b; ZINTERSTORE @d 2 @a @b; ZDIFFSTORE @e 2 @a @b"),
    case("zstore-exact", "ZADD @a 1700000000123 x 0.123456789 y; ZUNIONSTORE @b 1 @a; ZRANGESTORE @c @a 0 -1"),
    case("zstore-ttl", "ZADD @a 1 x; ZADD @b 1 y; EXPIRE @b 1000; ZUNIONSTORE @b 1 @a; EXPIRE @b 900"),
    case("zrangestore", "ZADD @a 1 x 2 y 3 z; ZRANGESTORE @b @a 0 1; ZRANGESTORE @c @a 2 3 BYSCORE; ZADD @b 9 q"),
    case("geo", "GEOADD @a 13.361389 38.115556 Palermo 15.087269 37.502669 Catania; GEOADD @a NX 1 1 Palermo 2 2 Rome"),
    case("georadius-store", "GEOADD @a 13.361389 38.115556 p 15.087269 37.502669 c; GEORADIUS @a 15 37 200 km STORE @b", excused={"b": "GEORADIUS STORE over several shards is cut"}),
)  # fmt: skip

SKETCHES = (
    case("pfadd", "PFADD @a 1 2 3 4; PFADD @a 5"),
    case(
        "pfmerge",
        "PFADD @a 1 2 3; PFADD @b 3 4 5; PFMERGE @c @a @b; PFADD @c 77; PFMERGE @a @b",
        excused={"c": MERGED_COPIES, "a": MERGED_COPIES},
    ),
    case("pfmerge-ttl", "PFADD @a 1; EXPIRE @a 1000; PFMERGE @a @b", excused={"a": KEPT_TTL}),
)

STREAMS = (
    case("xadd", "XADD @a * f v; XADD @a * f v g w; XADD @b 5-1 f v; XADD @b 5-* f v; XADD @nothing NOMKSTREAM * f v"),
    case("xadd-trim", "XADD @a 1-1 f v; XADD @a 2-1 f v; XADD @a MAXLEN 2 3-1 f v; XADD @a MAXLEN ~ 1 4-1 f v; XADD @a MINID 3-1 5-1 f v"),
    case("xtrim", "XADD @a 1-1 f v; XADD @a 2-1 f v; XADD @a 3-1 f v; XTRIM @a MAXLEN 2; XTRIM @a MINID 3-1; XADD @b 1-1 f v; XTRIM @b MAXLEN 0"),
    case("xdel", "XADD @a 1-1 f v; XADD @a 2-1 f v; XDEL @a 1-1; XADD @b 1-1 f v; XDEL @b 1-1; XADD @c 1-1 f v; XSETID @c 9-9"),
    case("xgroup", "XGROUP CREATE @a g $ MKSTREAM; XGROUP CREATECONSUMER @a g c; XGROUP SETID @a g 0; XGROUP CREATE @a h 0; XGROUP DESTROY @a h; XGROUP CREATECONSUMER @a g d; XGROUP DELCONSUMER @a g d"),
    case("xreadgroup", "XADD @a 1-1 f v; XADD @a 2-1 f v; XGROUP CREATE @a g 0; XREADGROUP GROUP g c COUNT 1 STREAMS @a >; XACK @a g 1-1; XREADGROUP GROUP g d STREAMS @a >"),
    case("xreadgroup-noack", "XADD @a 1-1 f v; XGROUP CREATE @a g 0; XREADGROUP GROUP g c NOACK STREAMS @a >; XADD @a 2-1 f v; XREADGROUP GROUP g c STREAMS @a >"),
    case("xclaim", "XADD @a 1-1 f v; XADD @a 2-1 f v; XGROUP CREATE @a g 0; XREADGROUP GROUP g c STREAMS @a >; XCLAIM @a g d 0 1-1; XAUTOCLAIM @a g e 0 0 COUNT 1"),
)  # fmt: skip

MODULES = (
    case("json", '''JSON.SET @a $ '{"a":1,"b":[1]}'; JSON.NUMINCRBY @a $.a 2; JSON.ARRAPPEND @a $.b 2''', lacking=NO_MODULE, dead=NOT_CARRIED_OVER),
    case("json-over", '''SET @a v EX 1000; JSON.SET @a $ '{"a":1}' ''', lacking=NO_MODULE, dead=NOT_CARRIED_OVER),
    case("bloom", "BF.RESERVE @a 0.01 100; BF.ADD @a x; BF.MADD @a y z", lacking=NO_MODULE, dead=NOT_CARRIED_OVER),
    case("cuckoo", "CF.RESERVE @a 100; CF.ADD @a x; CF.DEL @a x", lacking=NO_MODULE, dead=NOT_CARRIED_OVER),
    case("count-min", "CMS.INITBYDIM @a 100 5; CMS.INCRBY @a x 3", lacking=NO_MODULE, dead=NOT_CARRIED_OVER),
    case("top-k", "TOPK.RESERVE @a 3; TOPK.ADD @a x y x", lacking=NO_MODULE, dead=NOT_CARRIED_OVER),
    case("throttle", "CL.THROTTLE @a 15 30 6000 1", lacking=DRAGONFLY_ONLY),
)  # fmt: skip

SCRIPTS = (
    case("eval", "EVAL \"redis.call('INCR', KEYS[1]) return redis.call('APPEND', KEYS[2], ARGV[1])\" 2 @a @b x"),
    case("eval-many", "EVAL \"for i=1,50 do redis.call('RPUSH', KEYS[1], i) end return redis.call('SET', KEYS[2], 'v', 'PX', 900000)\" 2 @a @b"),
    case("eval-rename", "SET @a 1; EVAL \"redis.call('RENAME', KEYS[1], KEYS[2]) return redis.call('DEL', KEYS[3])\" 3 @a @b @c"),
    case("multi", "SET @z 1; MULTI; INCR @a; RPUSH @b 1 2; DEL @z; EXPIRE @b 1000; EXEC"),
    case("multi-spread", "MULTI; SET @a 1; SET @b 2; SET @c 3; MSET @d 4 @e 5; RENAME @a @f; EXEC"),
    case("multi-discard", "SET @a 1; MULTI; INCR @a; DISCARD; INCR @a"),
    case("multi-eval", "MULTI; SET @a 1; EVAL \"return redis.call('INCR', KEYS[1])\" 1 @a; EXEC"),
    case("script-load", "SCRIPT LOAD \"return 1\"; SET @a 1"),
)  # fmt: skip

# Dragonfly parses numbers leniently and journals what the client wrote.
LENIENT_NUMBERS = tuple(
    case(f"lenient-{name}", script, lacking=LENIENT)
    for name, script in {
        "incrby": "SET @a 1; INCRBY @a +5; DECRBY @a +2; INCRBY @a ' 3'; INCRBY @a '4 '; INCRBY @a 007",
        "hincrby": "HSET @a f 1; HINCRBY @a f ' 5'; HINCRBY @a f +3; HINCRBY @a f 010",
        "incrbyfloat": "INCRBYFLOAT @a +1.5; INCRBYFLOAT @a ' 2'; INCRBYFLOAT @a 0x1; INCRBYFLOAT @a 01.",
        "hincrbyfloat": "HINCRBYFLOAT @a f ' 1'; HINCRBYFLOAT @a f +1.5",
        "expire": "SET @a 1; EXPIRE @a ' 1000'; SET @b 1 EX 01000; SETEX @c +1000 v; SET @d 1; GETEX @d EX +1000",
        "lset": "RPUSH @a a b c; LSET @a 00 x; LSET @a +1 y",
        "ltrim": "RPUSH @a a b c d; LTRIM @a 0 02; LTRIM @a ' 0' -01",
        "lrem": "RPUSH @a x y x x; LREM @a 01 x; LREM @a -01 x",
        "lpop": "RPUSH @a a b c d; LPOP @a 02; RPOP @a +1",
        "setrange": "SET @a abcdefgh; SETRANGE @a 03 yy; SETRANGE @a +1 z; SETRANGE @a ' 2' q",
        "setbit": "SETBIT @a 07 1; SETBIT @a 9 +1; SETBIT @a ' 12' 1",
        "bitfield": "BITFIELD @a INCRBY u8 0 +5; BITFIELD @a SET u8 08 7; BITFIELD @a SET u8 '#02' 5",
        "zadd": "ZADD @a 03 x; ZADD @a Infinity y; ZADD @a 1. z; ZADD @a .5 w; ZADD @a 1e2 v; ZADD @a -inf u",
        "zincrby": "ZADD @a 1 a; ZINCRBY @a ' 1' a; ZINCRBY @a +1 a; ZINCRBY @a '1 ' a; ZINCRBY @a 0x1 a",
        "zremrangebyrank": "ZADD @a 1 a 2 b 3 c; ZREMRANGEBYRANK @a 00 01",
        "zremrangebyscore": "ZADD @a 1 a 2 b 3 c; ZREMRANGEBYSCORE @a 02 02; ZREMRANGEBYSCORE @a (01 03",
        "zpop": "ZADD @a 1 a 2 b 3 c 4 d; ZPOPMIN @a 02; ZPOPMAX @a ' 1'",
        "geoadd": "GEOADD @a 013.361389 038.115556 p; GEOADD @a 13. .5 q",
        "hexpire": "HSET @a f v g w; HEXPIRE @a +1000 FIELDS 01 f; HEXPIRE @a 01000 FIELDS 1 g",
        "hsetex": "HSETEX @a ' 1000' g 1; SADDEX @b +1000 m",
        "move": "SET @a 1; MOVE @a 01",
        "restore": "RPUSH @a 1; RESTORE @b 00 DUMP(@a); RESTORE @c ' 900000' DUMP(@a)",
        "xadd": "XADD @a +1-01 f v; XADD @a MAXLEN ' 100' * f v; XADD @b 07 f v; XSETID @b 09-9",
        "xtrim": "XADD @a 1-1 f v; XADD @a 2-1 f v; XTRIM @a MINID 02-1; XTRIM @a MAXLEN 01",
        "xdel": "XADD @a 1-1 f v; XADD @a 2-1 f v; XDEL @a 01-1; XGROUP CREATE @a g 01-1 ENTRIESREAD 01; XGROUP SETID @a g 02",
        "xclaim": "XADD @a 1-1 f v; XGROUP CREATE @a g 0; XREADGROUP GROUP g c STREAMS @a >; XCLAIM @a g d 00 1-1; XCLAIM @a g e ' 0' 01-1",
        "xautoclaim": "XADD @a 1-1 f v; XGROUP CREATE @a g 0; XREADGROUP GROUP g c STREAMS @a >; XAUTOCLAIM @a g d 00 0-0 COUNT 01",
    }.items()
)  # fmt: skip

CASES = STRINGS + KEYS + LISTS + SETS + HASHES + SORTED_SETS + SKETCHES + STREAMS + MODULES + SCRIPTS + LENIENT_NUMBERS
