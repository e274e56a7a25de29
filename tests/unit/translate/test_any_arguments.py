"""A journal record of any command with any arguments becomes commands or a typed refusal, and quickly."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from df2redis_tui.dragonfly.journal import decode_blob
from df2redis_tui.dragonfly.records import OP_COMMAND, OP_EXPIRED, OP_LARGE, OP_MULTI, Entry
from df2redis_tui.errors import Df2RedisError
from df2redis_tui.pipeline.block import Block, Global, Reread
from df2redis_tui.translate import journal as tables
from df2redis_tui.translate import keys
from df2redis_tui.translate.capabilities import JSON_WRITES, Capabilities
from df2redis_tui.translate.numeric_arguments import NUMBERS
from df2redis_tui.translate.quirks import Quirks
from tests.unit.translate.surroundings import (
    CLUSTER,
    REDIS62,
    REDIS74,
    REDIS80,
    VALKEY9,
    Pending,
    Refusals,
    items,
    journal,
    parse,
)

NAMES = sorted(
    {
        *tables.VERBATIM, *tables.IGNORED, *tables.GLOBAL, *tables._OF_ONE, *tables._OF_MANY, *NUMBERS, *JSON_WRITES,
        *(name for table in vars(keys).values() if isinstance(table, frozenset) for name in table),
        b"BF.ADD", b"CF.ADD", b"CMS.MERGE", b"TOPK.ADD", b"FT.CREATE", b"JSON.MGET", b"XREAD", b"CONFIG", b"",
        b"no name",
    }
)  # fmt: skip
WORDS = [
    *b"|0|1|2|-1|+7| 3|1e400|0x1p99999|inf|nan|(1|((|*|-|~|=|1-1|*-1|k|{a}k|{b}k|EX|PXAT|KEEPTTL|NX|FIELDS".split(b"|"),
    *b"COUNT|STORE|STREAMS|MAXLEN|MINID|LIMIT|GET|SET|OVERFLOW|SAT|WEIGHTS|LEFT|MIN|ABSTTL|CREATE".split(b"|"),
    *b"ENTRIESREAD|FLUSHSLOTS|PERSIST|IFEQ|AND|BYSCORE|$|.|HYLL".split(b"|"),
    b"9" * 19, b"9" * 30, b"\xff\xfe",
    b"\x10\x00\x09\x00" + bytes(8), b"\x15\x01\x10" + bytes(40) + b"\x09\x00" + bytes(8),
]  # fmt: skip
arguments = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=12)), max_size=9)
record = st.tuples(
    st.one_of(st.sampled_from(NAMES), st.binary(min_size=1, max_size=6)),
    arguments,
    st.sampled_from([OP_COMMAND, OP_MULTI, OP_EXPIRED, OP_LARGE]),
    st.sampled_from([0, 0, 0, 3]),
)
TARGETS = [CLUSTER, REDIS62, REDIS74, REDIS80, VALKEY9]
RELEASES = ["1.15.1", "1.16.0", "1.27.2", "1.34.0", "1.40.1"]


def check(found: list[object]) -> None:
    for item in found:
        assert isinstance(item, Block | Global | Reread)
        if isinstance(item, Block):
            for encoded in item.commands:
                args = parse(encoded)
                assert args
                keys.keys_of(args)


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(record, min_size=1, max_size=4),
    st.sampled_from(TARGETS),
    st.sampled_from(RELEASES),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["drop", "fail"]),
)
@example([(b"BZMPOP", [b"k"], OP_COMMAND, 0)], REDIS74, "1.40.1", True, False, "drop")
@example([(b"BLMPOP", [b"k"], OP_COMMAND, 0)], CLUSTER, "1.40.1", True, False, "drop")
@example([(b"XGROUP", [], OP_COMMAND, 0)], REDIS74, "1.40.1", True, False, "drop")
@example([(b"ZMPOP", [], OP_COMMAND, 0)], REDIS74, "1.40.1", True, False, "drop")
@example([(b"XDEL", [b"s", b"(" * 5000], OP_COMMAND, 0)], REDIS74, "1.40.1", True, False, "drop")
def test_any_record_is_translated_or_refused(
    records: list[tuple[bytes, list[bytes], int, int]],
    caps: Capabilities,
    release: str,
    counted: bool,
    waits: bool,
    member_ttl: str,
) -> None:
    quirks = Quirks.of(release)
    translator = journal(caps, member_ttl=member_ttl, quirks=quirks, db_policy="merge-into-0")
    entries = [Entry(op, db, 0, [name, *args]) for name, args, op, db in records]
    try:
        check(list(items(translator, *entries, counted=counted, pending=Pending(b"k") if waits else None)))
    except Df2RedisError:
        pass
    stopping = journal(caps, refusals=Refusals(stop=True), member_ttl=member_ttl, quirks=quirks)
    for entry in entries:
        try:
            check(list(items(stopping, entry, counted=counted)))
        except Df2RedisError:
            pass


@pytest.mark.parametrize("caps", [CLUSTER, REDIS62, REDIS80], ids=["cluster", "6.2", "8.0"])
@pytest.mark.parametrize("word", [b"k", b"1", b"STREAMS"])
def test_every_command_with_few_arguments(caps: Capabilities, word: bytes) -> None:
    for name in NAMES:
        for count in range(7):
            args = [name, *[word] * count]
            keys.keys_of(args)
            check(list(items(journal(caps), Entry(OP_COMMAND, 0, 0, args))))


def test_no_arguments_at_all_have_no_keys() -> None:
    assert keys.keys_of([]) == ()


def test_a_record_as_it_stood_on_the_wire() -> None:
    entries = decode_blob(0, bytes.fromhex("03110a0001020706425a4d504f50016b")[2:], 0)
    assert entries == [Entry(OP_COMMAND, 0, 0, [b"BZMPOP", b"k"])]
    check(list(items(journal(), *entries)))


LONG = [
    [b"INCRBY", b"k", b"0" * 200_000 + b"x"],
    [b"ZINCRBY", b"k", b"1" * 200_000 + b"x", b"m"],
    [b"ZINCRBY", b"k", b"0x" + b"a" * 200_000 + b"x", b"m"],
    [b"JSON.NUMINCRBY", b"k", b"$", b"1" * 200_000 + b"x"],
    [b"XDEL", b"k", *[b"+1"] * 60_000],
    [b"XACK", b"k", b"g", *[b"+1"] * 60_000],
    [b"SORT", b"k", *[b"LIMIT", b"+1", b"+2"] * 20_000],
    [b"BITFIELD", b"k", *[b"SET", b"U8", b"+1", b"+1"] * 15_000],
    [b"ZUNIONSTORE", b"k", b"+20000", *[b"a"] * 20_000, b"WEIGHTS", *[b"+1"] * 20_000],
    [b"XADD", b"k", *[b"LIMIT", b"+1"] * 30_000, b"1-1", b"f", b"v"],
]


@pytest.mark.parametrize("args", LONG, ids=lambda args: args[0].decode())
def test_long_arguments_and_many_of_them_take_no_time(args: list[bytes]) -> None:
    took = []
    for _ in range(3):  # a busy machine may stand still in any one of them
        began = time.thread_time()
        found = list(items(journal(), Entry(OP_COMMAND, 0, 0, args)))
        took.append(time.thread_time() - began)
        check(found)
    assert min(took) < 0.5
