"""Only commands of data reach the target, whatever stands in a journal (protocol page §4.4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from df2redis_tui.dragonfly.records import OP_LARGE, Entry
from df2redis_tui.errors import NotCopied
from df2redis_tui.translate import scripts
from df2redis_tui.translate.capabilities import lowest
from df2redis_tui.translate.data_commands import UNKNOWN, UNSAID, judged
from df2redis_tui.translate.journal import is_data
from tests.unit.translate.surroundings import CLUSTER, REDIS70, REDIS80, Refusals, entry, items, journal, outcome

# Every command that Dragonfly 1.40 registers with the flag JOURNALED (`*_family.cc`), but for RM and the blocking ones,
# which are journalled under other names.
_NAMES = """
APPEND BF.ADD BF.LOADCHUNK BF.MADD BF.RESERVE BITFIELD BITOP CF.ADD CF.ADDNX CF.COMPACT CF.DEL CF.INSERT CF.INSERTNX
CF.RESERVE CL.THROTTLE CMS.INCRBY CMS.INITBYDIM CMS.INITBYPROB CMS.MERGE COPY DECR DECRBY DEL DELEX EXPIRE EXPIREAT
FIELDEXPIRE FLUSHALL FLUSHDB FT.ALTER FT.CREATE FT.DROPINDEX FT.SYNUPDATE GAT GEOADD GEORADIUS GEORADIUSBYMEMBER GETDEL
GETEX GETSET HDEL HEXPIRE HGETEX HINCRBY HINCRBYFLOAT HMSET HSET HSETEX HSETNX INCR INCRBY INCRBYFLOAT JSON.ARRAPPEND
JSON.ARRINSERT JSON.ARRPOP JSON.ARRTRIM JSON.CLEAR JSON.DEL JSON.FORGET JSON.MERGE JSON.MSET JSON.NUMINCRBY
JSON.NUMMULTBY JSON.SET JSON.STRAPPEND JSON.TOGGLE LINSERT LMOVE LMPOP LPOP LPUSH LPUSHX LREM LSET LTRIM MOVE MSET
MSETNX PERSIST PEXPIRE PEXPIREAT PFADD PFMERGE PREPEND PSETEX RENAME RENAMENX RESTORE RPOP RPOPLPUSH RPUSH RPUSHX SADD
SADDEX SDIFFSTORE SET SETBIT SETEX SETNX SETRANGE SHRINK SINTERSTORE SMOVE SORT SPOP SREM STICK SUNIONSTORE TOPK.ADD
TOPK.INCRBY TOPK.RESERVE UNLINK XACK XADD XAUTOCLAIM XCLAIM XDEL XGROUP XREADGROUP XSETID XTRIM ZADD ZDIFFSTORE ZINCRBY
ZINTERSTORE ZMPOP ZPOPMAX ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZUNIONSTORE
"""
JOURNALLED = _NAMES.split()


@pytest.mark.parametrize("name", JOURNALLED)
def test_what_a_dragonfly_journals_is_data(name: str) -> None:
    assert is_data(name.encode())


ADMINISTRATIVE = [
    "ACL SETUSER bob on >secret +@all",
    "CONFIG SET maxmemory 1",
    "REPLICAOF host 6379",
    "SLAVEOF host 6379",
    "SWAPDB 0 1",
    "DEBUG SLEEP 100",
    "CLIENT PAUSE 100000",
    "CLIENT REPLY OFF",
    "EVAL return 0",
    "EVALSHA abc 0",
    "FCALL f 0",
    "QUIT",
    "HELLO 3",
    "AUTH secret",
    "RESET",
    "SHUTDOWN",
    "MIGRATE h 1 k 0 10",
    "SUBSCRIBE a",
    "MONITOR",
    "WAIT 1 0",
    "WATCH k",
    "DISCARD",
    "BLPOP k 0",
    "BZMPOP 0 1 k MIN",
    "BRPOP k 0",
    "PFDEBUG TODENSE k",
    "RESTORE-ASKING k 0 x",
    "GETRANGE k 0 1",
    "DFLYCLUSTER CONFIG x",
    "DFLY FLOW",
    "JSON.DEBUG MEMORY k",
    "SOMENEWCOMMAND k v",
    "set",
    "INCR",
]

COMMAND = [
    [b"acl", -2, [], 0, 0, 0, [b"@slow"], [], [], [[b"acl|setuser", -3, [b"admin"], 0, 0, 0, [b"@admin"]]]],
    [b"swapdb", 3, [b"write", b"fast"], 0, 0, 0, [b"@keyspace", b"@write", b"@fast", b"@dangerous"]],
    [b"blpop", -3, [b"write", b"noscript", b"blocking"], 1, -2, 1, [b"@write", b"@list", b"@slow", b"@blocking"]],
    [b"eval", -3, [b"noscript", b"movablekeys"], 0, 0, 0, [b"@slow", b"@scripting"]],
    [b"pfdebug", 3, [b"write", b"denyoom", b"admin"], 2, 2, 1, [b"@write", b"@hyperloglog", b"@admin", b"@dangerous"]],
    [b"getrange", 4, [b"readonly"], 1, 1, 1, [b"@read", b"@string", b"@slow"]],
    [b"newinc", 2, [b"write", b"fast"], 1, 1, 1, [b"@write", b"@fast"]],
    [b"newmany", -3, [b"write"], 1, -1, 1, [b"@write"]],
    [b"newmovable", -3, [b"write", b"movablekeys"], 1, 1, 1, [b"@write"]],
    [b"newold", 3, [b"write"], 1, 1, 1],
    [b"newalone", 3, [b"write", b"no_multi"], 1, 1, 1, [b"@write"]],
]  # fmt: skip
TOLD = replace(REDIS70, commands=judged(COMMAND))


@pytest.mark.parametrize("text", ADMINISTRATIVE)
@pytest.mark.parametrize("caps", [REDIS70, TOLD, CLUSTER])
def test_what_is_none_of_data_is_refused_each_time(text: str, caps: object) -> None:
    refusals = Refusals()
    found = outcome(items(journal(caps, refusals=refusals), entry(text), entry("SET k v"), entry(text)))  # type: ignore[arg-type]
    assert [line for line in found if not line.startswith("REREAD")] == ["SET k v"]
    assert [r.of_key for r in refusals.seen] == [False, False]
    assert [r.lsn for r in refusals.seen] == [100, 102]


def test_it_is_named_without_its_secrets() -> None:
    refusals = Refusals()
    wanted = ["ACL SETUSER bob >secret", "AUTH secret", "CONFIG SET requirepass secret", "HELLO 3 AUTH u secret"]
    items(journal(refusals=refusals), *map(entry, wanted))
    assert [r.type for r in refusals.seen] == ["ACL SETUSER", "AUTH", "CONFIG SET", "HELLO"]
    assert not any("secret" in r.reason or b"secret" in r.payload or r.key for r in refusals.seen)


def test_inside_a_full_sync_too() -> None:
    refusals = Refusals()
    found = items(journal(refusals=refusals), entry("SET k v"), entry("CLIENT REPLY OFF"), counted=False)
    assert outcome(found)[0] == "SET k v"
    assert [r.type for r in refusals.seen] == ["CLIENT REPLY"]


def test_the_policy_stop_ends_behind_what_came_before() -> None:
    with pytest.raises(NotCopied):
        items(journal(refusals=Refusals(stop=True)), entry("SET k v"), entry("CONFIG SET a b"))


def test_a_large_one_too() -> None:
    refusals = Refusals()
    large = Entry(OP_LARGE, 0, 0, [b"CONFIG", b"SET", b"k", b"x" * (5 << 20)])
    found = items(journal(replace(REDIS70, bulk_limit=1 << 20), refusals=refusals), large)
    assert not [line for line in outcome(found) if line.startswith(("CONFIG", "DEL"))]
    assert [r.type for r in refusals.seen] == ["CONFIG SET"]


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("NEWINC k", ["NEWINC k"], ""),
        ("newinc k", ["newinc k"], ""),
        ("NEWMANY k l", [], "not of one key"),
        ("NEWMOVABLE k l", [], "not of one key"),
        ("NEWOLD k v", [], UNSAID),
        ("NEWALONE k v", [], "no_multi"),
        ("NEWINC", [], "no arguments"),
        ("NEWSTRANGE k", ["REREAD k"], UNKNOWN),
        ("SWAPDB 0 1", [], "dangerous"),
        ("BLPOP k 0", [], "blocking"),
        ("PFDEBUG TODENSE k", [], "admin"),
        ("EVAL x 0", [], "writes no data"),
        ("GETRANGE k 0 1", [], "writes no data"),
    ],
)
def test_of_a_name_unknown_here_the_target_tells(text: str, expected: list[str], reason: str) -> None:
    refusals = Refusals()
    assert outcome(items(journal(TOLD, refusals=refusals), entry(text))) == expected
    assert bool(refusals.seen) == bool(reason)
    assert all(reason in r.reason for r in refusals.seen)


def test_a_new_command_of_data_is_applied_once_and_left_out_of_refused_keys() -> None:
    translator = journal(TOLD)
    (block,) = items(translator, entry("NEWINC k"))
    assert block.once == [True]  # type: ignore[union-attr]
    assert outcome(items(translator, entry("BF.ADD k a"), entry("NEWINC k"), entry("NEWINC l"))) == [
        "DEL k",
        "NEWINC l",
    ]


@pytest.mark.parametrize("answer", [None, b"OK", 5, [], [[]], [[5, 1]], [[b"x", 1, 2, 3]], [[b"x", 1, 2, 3, 4, 5, 6]]])
def test_an_answer_to_command_that_is_none_allows_nothing(answer: object) -> None:
    assert not [name for name, unfit in judged(answer).items() if not unfit]


def test_every_node_of_a_cluster_has_to_know_it() -> None:
    other = replace(REDIS70, commands={b"NEWINC": "no", b"PFDEBUG": "no", b"ELSE": ""})
    assert lowest([TOLD, other]).commands == {b"NEWINC": "no", b"PFDEBUG": TOLD.commands[b"PFDEBUG"]}


def test_our_own_scripts_still_go_out() -> None:
    refusals = Refusals()
    lines = outcome(items(journal(TOLD, refusals=refusals), entry("PREPEND k v"), entry("INCRBYFLOAT k 1")))
    assert [line.split()[0] for line in lines] == ["EVAL", "EVAL"]
    assert lines[0] == f"EVAL {scripts.PREPEND.decode()} 1 k v"
    assert not refusals.seen


def test_a_json_command_is_passed_on_where_the_target_has_it() -> None:
    assert outcome(items(journal(REDIS80), entry("JSON.TOGGLE k $.a"))) == ["JSON.TOGGLE k $.a"]
