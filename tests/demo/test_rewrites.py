"""What a client does → what stands in the journal (protocol page §4.5)."""

from __future__ import annotations

import pytest
import redis.asyncio

from df2redis_tui.demo.shards import shard_of
from df2redis_tui.demo.source import LookAlike
from df2redis_tui.dragonfly.journal import decode_blob
from df2redis_tui.dragonfly.records import OP_COMMAND

pytestmark = pytest.mark.asyncio

FLOWS = 3


def named(shard: int, prefix: str = "k") -> str:
    """A key of that shard."""
    return next(key for n in range(1000) if shard_of((key := f"{prefix}{n}").encode(), FLOWS) == shard)


A, B, A2 = named(0), named(1), named(0, "other")

# (commands before the journal is looked at), command, {shard: [records]}; "#" stands for a number or an id, "…" for
# bytes
CASES: list[tuple[list[str], str, dict[int, list[str]]]] = [
    ([], f"SET {A} v EX 100 NX GET", {0: [f"SET {A} v PXAT #"]}),
    ([f"SET {A} 1 EX 9"], f"SET {A} v KEEPTTL", {0: [f"SET {A} v KEEPTTL"]}),
    ([f"SET {A} 1"], f"SET {A} v NX", {}),
    ([f"SET {A} 1"], f"GETEX {A} EX 100", {0: [f"PEXPIREAT {A} #"]}),
    ([f"SET {A} 1"], f"EXPIRE {A} -1", {0: [f"DEL {A}"]}),
    ([f"SET {A} 1"], f"EXPIRE {A} 50", {0: [f"PEXPIREAT {A} #"]}),
    ([], f"MSET {A} 1 {B} 2 {A2} 3", {0: [f"MSET {A} 1 {A2} 3"], 1: [f"MSET {B} 2"]}),
    ([f"SET {A} 1", f"SET {B} 1"], f"DEL {A} {B} {A2}", {0: [f"DEL {A}"], 1: [f"DEL {B}"]}),
    ([f"SET {A} 1"], f"UNLINK {A}", {0: [f"DEL {A}"]}),
    ([f"SET {A} 1"], f"RENAME {A} {A2}", {0: [f"RENAME {A} {A2}"]}),
    ([f"SET {A} 1"], f"RENAME {A} {B}", {0: [f"DEL {A}"], 1: [f"RESTORE {B} 0 … REPLACE ABSTTL"]}),
    ([f"SET {A} 1"], f"COPY {A} {A2}", {0: [f"RESTORE {A2} 0 … REPLACE ABSTTL"]}),
    ([f"SADD {A} x"], f"SPOP {A} 5", {0: [f"DEL {A}"]}),
    ([f"SADD {A} x x x"], f"SMOVE {A} {B} x", {0: [f"SREM {A} x"], 1: [f"SADD {B} x"]}),
    ([f"RPUSH {A} 1 2"], f"LMOVE {A} {B} RIGHT LEFT", {0: [f"RPOP {A}"], 1: [f"LPUSH {B} 2"]}),
    ([f"RPUSH {A} 1 2"], f"BLPOP {A} 1", {0: [f"LPOP {A}"]}),
    ([f"SADD {A} x"], f"SUNIONSTORE {B} {A}", {1: [f"DEL {B}", f"SADD {B} x"]}),
    ([], f"SINTERSTORE {B} {A}", {}),
    ([f"ZADD {A} 1700000000123 m"], f"ZUNIONSTORE {B} 1 {A}", {1: [f"DEL {B}", f"ZADD {B} 1.7e+12 m"]}),
    ([f"SET {A} a"], f"BITOP NOT {B} {A}", {1: [f"SET {B} …"]}),
    ([], f"XADD {A} 5-1 f v", {0: [f"XADD {A} 5-1 f v"]}),
    ([f"XADD {A} 5-1 f v"], f"XADD {A} MAXLEN 1 6-1 f v", {0: [f"XADD {A} MINID 6-1 6-1 f v"]}),
    ([f"XADD {A} 5-1 f v"], f"XTRIM {A} MAXLEN 0", {0: [f"XTRIM {A} MAXLEN 0"]}),
    ([f"RPUSH {A} 2 1"], f"SORT {A} STORE {B}", {0: [f"SORT {A}"], 1: [f"SORT {B}"]}),
    ([f"HSET {A} f 1"], f"HEXPIRE {A} 100 FIELDS 1 f", {0: [f"HEXPIRE {A} 100 FIELDS 1 f"]}),
    ([], f"EVAL return(redis.call('INCRBY',KEYS[1],2)) 1 {A}", {0: [f"INCRBY {A} 2"]}),
    ([], "FLUSHALL", {0: ["FLUSHALL"], 1: ["FLUSHALL"], 2: ["FLUSHALL"]}),
    ([], "PUBLISH channel text", {}),
    ([f"SET {A} 1"], f"MOVE {A} 3", {0: [f"MOVE {A} 3"]}),
]  # fmt: skip


def fits(record: list[bytes], pattern: str) -> bool:
    words = pattern.split()
    if len(words) != len(record):
        return False
    return all(
        word == "…" or (word == "#" and text.isdigit()) or word.encode() == text
        for word, text in zip(words, record, strict=True)
    )


async def test_rewrites() -> None:
    async with LookAlike(flows=FLOWS) as source:
        source.journal.enabled = True
        client = redis.asyncio.Redis(port=source.port, protocol=2)
        for before, command, expected in CASES:
            await client.flushall()
            for line in before:
                await client.execute_command(*line.split())
            await client.execute_command("DFLY", "REPLICAOFFSET")
            for shard in source.journal.shards:
                shard.backlog.clear()
            await client.execute_command(*command.split())
            await client.execute_command("DFLY", "REPLICAOFFSET")
            for shard in source.journal.shards:
                entries = [e for record in shard.backlog for e in decode_blob(shard.index, record, 0)]
                assert all(entry.op == OP_COMMAND for entry in entries)
                patterns = expected.get(shard.index, [])
                found = [entry.args for entry in entries]
                assert len(found) == len(patterns), (command, shard.index, found)
                for record, pattern in zip(found, patterns, strict=True):
                    assert fits(record, pattern), (command, record, pattern)
        await client.aclose()


async def test_an_expired_key_is_deleted_and_a_transaction_leaves_its_commands() -> None:
    async with LookAlike(flows=1) as source:
        source.journal.enabled = True
        client = redis.asyncio.Redis(port=source.port, protocol=2)
        await client.set("short", 1, px=30)
        async with client.pipeline(transaction=True) as pipe:
            pipe.incrby("n", 5)
            pipe.append("a", "x")
            await pipe.execute()
        while await client.exists("short"):
            pass
        await client.execute_command("DFLY", "REPLICAOFFSET")
        found = [e.args for record in source.journal.shards[0].backlog for e in decode_blob(0, record, 0)]
        assert found[1:] == [[b"INCRBY", b"n", b"5"], [b"APPEND", b"a", b"x"], [b"DEL", b"short"]]
        await client.aclose()
