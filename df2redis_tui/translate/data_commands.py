"""Which commands of a source's journal are data, so that they may reach the target (protocol page §4.4, §4.5).

Anything else that a peer puts there would administer the target, hold up its connection, or change what the answers on
it mean. Tables here and in `rewrites` name what a Dragonfly journals. Of another name the target's own word counts:
COMMAND says that it writes one key, and nothing that speaks against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from df2redis_tui.errors import printable

# Single-key commands that go out as they came. The value says whether a second application changes the result.
VERBATIM: Final[Mapping[bytes, bool]] = {
    **dict.fromkeys(
        (b"HSET", b"HMSET", b"HDEL", b"SADD", b"SREM", b"ZREM", b"SETBIT", b"SETRANGE", b"XDEL", b"XACK"),
        False,
    ),
    **dict.fromkeys(
        (
            b"SETNX", b"APPEND", b"INCR", b"INCRBY", b"DECR", b"DECRBY", b"LPUSH", b"RPUSH", b"LPUSHX",
            b"RPUSHX", b"LPOP", b"RPOP", b"LSET", b"LREM", b"LTRIM", b"LINSERT", b"HSETNX", b"HINCRBY",
            b"ZINCRBY", b"ZREMRANGEBYRANK", b"ZREMRANGEBYSCORE", b"ZREMRANGEBYLEX", b"ZPOPMIN", b"ZPOPMAX",
        ),
        True,
    ),
}  # fmt: skip

# Journalled without an effect on data, or of no meaning for a target (§4.4, §4.7).
IGNORED: Final = frozenset({
    b"PING", b"EXEC", b"MULTI", b"SHRINK", b"SCRIPT", b"FUNCTION", b"STICK", b"PFCOUNT", b"ZINTER", b"ZUNION", b"ZDIFF",
    b"SINTER", b"SUNION", b"SDIFF", b"SORT_RO", b"GEORADIUS_RO", b"GEORADIUSBYMEMBER_RO", b"TOUCH", b"GET", b"MGET",
    b"PUBLISH", b"SPUBLISH", b"SELECT",
})  # fmt: skip
IGNORED_FAMILY: Final = b"FT."
GLOBAL: Final = frozenset({b"FLUSHALL", b"FLUSHDB", b"DFLYCLUSTER"})

UNKNOWN: Final = "the target does not know this command"
UNSAID: Final = "the target does not say what this command is (it refuses COMMAND)"
# Flags of a command with which it is none of data, or can't run where ours run: pipelined, in a transaction.
_UNFIT: Final = ("admin", "blocking", "pubsub", "noscript", "no_multi")
# Their first argument says what they do.
_CONTAINERS: Final = frozenset({
    b"ACL", b"CLIENT", b"CLUSTER", b"COMMAND", b"CONFIG", b"DEBUG", b"DFLY", b"DFLYCLUSTER", b"FUNCTION", b"LATENCY",
    b"MEMORY", b"MODULE", b"OBJECT", b"PUBSUB", b"SCRIPT", b"SLOWLOG",
})  # fmt: skip


def judged(reply: object) -> dict[bytes, str]:
    """What a target says of its commands: name → why one of a journal must not be passed on, "" when it may.

    `reply` is the answer to COMMAND; of what is no such answer nothing is known.
    """
    rows = reply if isinstance(reply, list) else []
    return {row[0].upper(): _unfit(row) for row in rows if isinstance(row, list) and row and isinstance(row[0], bytes)}


def _unfit(row: Sequence[object]) -> str:
    """`[name, arity, flags, first key, last key, step, ACL categories, ...]`, of Redis 6.0 and later."""
    if len(row) < 7:
        return UNSAID
    flags, categories = _words(row[2]), _words(row[6])
    if "write" not in flags:
        return "this command writes no data"
    for flag in _UNFIT:
        if flag in flags:
            return f"this command is none of data (the target says: {flag})"
    if "@write" not in categories or "@dangerous" in categories:
        return "this command is none of data (the target says: dangerous)"
    if "movablekeys" in flags or (row[3], row[4]) != (1, 1):
        # A journal may have cut its keys to those of one shard.
        return "this command is not known here, and is not of one key"
    return ""


def _words(texts: object) -> set[str]:
    return (
        {t.decode("utf-8", "replace").lower() for t in texts if isinstance(t, bytes)}
        if isinstance(texts, list)
        else set()
    )


def named(args: Sequence[bytes]) -> str:
    """A command for people, without arguments: those of many an administrative one are secrets."""
    name = args[0].upper()
    if name in _CONTAINERS and len(args) > 1 and args[1].isalpha():
        name += b" " + args[1].upper()
    return printable(name, 40)
