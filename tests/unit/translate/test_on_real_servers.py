"""The same commands run on real servers: what they accept, and what is there afterwards."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb.values import decode_elements
from df2redis_tui.dragonfly.records import Value, ValueEnd, ValuePart, ValueStart
from df2redis_tui.pipeline.block import Block
from df2redis_tui.translate import big_values, scripts
from df2redis_tui.translate.capabilities import Capabilities, capabilities_of
from df2redis_tui.translate.payload import FOOTER_LENGTH, encode_strings, encode_zset, payload
from df2redis_tui.translate.quirks import Quirks
from df2redis_tui.translate.rewriter import true_expiry_command
from df2redis_tui.translate.streams import nodes_end
from tests.support.servers import Server, start_server
from tests.unit.translate.surroundings import entry, journal, parse, snapshot
from tests.unit.translate.test_journal_commands import SAME_EVERYWHERE
from tests.unit.translate.test_snapshot import listpack, member_ttl_hash

pytestmark = pytest.mark.real


class Target:
    """A real server and what it can do."""

    def __init__(self, server: Server) -> None:
        self.client = server.client()
        info = {k: str(v) for k, v in self.client.info("server").items()}
        self.caps: Capabilities = capabilities_of(info, (), False)

    def send(self, encoded: bytes) -> Any:
        return self.client.execute_command(*parse(encoded))

    def apply(self, *texts: str | list[bytes], version: str = "df-v1.40.1") -> list[Any]:
        """Replies to the commands a journal of these records becomes, now."""
        now = int(time.time() * 1000)
        found = journal(self.caps, quirks=Quirks.of(version)).translate(
            [entry(t) for t in texts], 1, counted=True, now_ms=now, grace_ms=60_000, arrived=0.0, pending=None
        )
        return [self.send(c) for item in found if isinstance(item, Block) for c in item.commands]

    def load(self, *found: r.SnapshotRecord) -> None:
        now = int(time.time() * 1000)
        for block in snapshot(self.caps).translate(list(found), now, 60_000, 0.0):
            for encoded in block.commands:
                self.send(encoded)


@pytest.fixture
def there(target: Server) -> Target:
    return Target(target)


def dragonfly_digits(number: float) -> str:
    """Shortest digits, exponent form below 1e-6 and from 1e21 (double-conversion's ToShortest with these bounds)."""
    mantissa, _, exponent = f"{number!r}".partition("e")
    sign, mantissa = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len((whole + fraction).lstrip("0")))
    digits = digits.rstrip("0")
    if not digits:
        return "0"
    e = point - 1
    if e >= 21 or e < -6:
        return sign + digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "") + f"e{e:+d}"
    if e < 0:
        return f"{sign}0.{'0' * (-e - 1)}{digits}"
    if len(digits) <= point:
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"


def float_pairs() -> list[tuple[float, float]]:
    dice = random.Random(7)
    pairs = [
        (0.1, 0.2),
        (1e20, 1e21),
        (1e-7, 0.0),
        (5e-324, 0.0),
        (3.0, 4.0),
        (1.5, -1.5),
        (1e15, 0.1),
        (123456789.0, 1e300),
    ]
    for _ in range(150):
        pairs.append((dice.uniform(-1e6, 1e6), dice.uniform(-1, 1)))
        pairs.append(
            (dice.uniform(-9, 9) * 10.0 ** dice.randint(-30, 30), dice.uniform(-9, 9) * 10.0 ** dice.randint(-30, 30))
        )
    return pairs


def test_floats_are_added_and_printed_as_the_source_does(there: Target) -> None:
    for a, b in float_pairs():
        there.client.set("k", repr(a), px=100_000)
        there.client.hset("h", "f", repr(a))
        there.apply(f"INCRBYFLOAT k {b!r}", f"HINCRBYFLOAT h f {b!r}")
        wanted = dragonfly_digits(a + b).encode()
        assert (there.client.get("k"), there.client.hget("h", "f")) == (wanted, wanted)
    assert there.client.pttl("k") > 0
    there.apply("INCRBYFLOAT fresh 1.50", "HINCRBYFLOAT fresh:h f 2")
    assert (there.client.get("fresh"), there.client.hget("fresh:h", "f")) == (b"1.5", b"2")
    there.client.set("word", "x")
    with pytest.raises(redis.ResponseError, match="not a valid float"):
        there.apply("INCRBYFLOAT word 1")


def test_a_float_added_to_a_field_keeps_its_ttl(there: Target) -> None:
    if not there.caps.field_ttl:
        there.apply("HSETEX h 1000 f 1", "HINCRBYFLOAT h f 0.5")
        assert there.client.hgetall("h") == {b"f": b"1.5"}
        return
    there.apply("HSETEX h 1000 f 1", "HINCRBYFLOAT h f 0.5")
    assert there.client.hget("h", "f") == b"1.5"
    assert there.client.execute_command("HTTL", "h", "FIELDS", 1, "f")[0] > 900


def test_prepend_keeps_the_ttl(there: Target) -> None:
    there.client.set("k", "b", px=100_000)
    there.apply("PREPEND k a", "PREPEND new x")
    assert (there.client.get("k"), there.client.get("new")) == (b"ab", b"x")
    assert there.client.pttl("k") > 0


def test_a_new_hyperloglog_begins_as_the_source_s_does(there: Target) -> None:
    there.apply("PFADD new a b c")
    there.client.pfadd("own", "a", "b", "c")
    assert there.client.get("new") == there.client.get("own")
    there.apply("PFADD k a b c", "PFADD k a", "PFADD empty", version="df-v1.16.1")
    assert there.client.pfcount("k") == 3
    dense = there.client.get("k")
    assert (len(dense), dense[:5], len(there.client.get("empty"))) == (12304, b"HYLL\0", 12304)
    there.client.pfadd("sparse", "a")
    there.apply("PFADD sparse b", version="df-v1.16.1")
    assert (there.client.pfcount("sparse"), len(there.client.get("sparse"))) == (2, 12304)
    there.apply("PFADD many " + " ".join(f"m{i}" for i in range(5000)), version="df-v1.16.1")
    assert 4800 < there.client.pfcount("many") < 5200


def test_delex_compares(there: Target) -> None:
    there.client.mset({"a": "1", "b": "1"})
    there.apply("DELEX a IFEQ 2", "DELEX b IFNE 1", "DELEX missing IFEQ 1")
    assert there.client.exists("a", "b") == 2
    there.apply("DELEX a IFEQ 1", "DELEX b IFNE 2")
    assert there.client.exists("a", "b") == 0


def test_pops_from_the_first_key_that_exists(there: Target) -> None:
    there.client.rpush("l2", 1, 2, 3)
    there.client.zadd("z", {"a": 1, "b": 2})
    there.apply("LMPOP 2 l1 l2 LEFT COUNT 2", "ZMPOP 2 none z MAX")
    assert there.client.lrange("l2", 0, -1) == [b"3"]
    assert there.client.zrange("z", 0, -1) == [b"a"]


def test_fieldexpire_works_on_what_is_there(there: Target) -> None:
    there.client.hset("h", mapping={"a": 1, "b": 2})
    there.client.sadd("s", "a", "b")
    there.apply("FIELDEXPIRE h 1000 a", "FIELDEXPIRE s 1000 a", "FIELDEXPIRE none 1000 a")
    assert there.client.hlen("h") == there.client.scard("s") == 2
    if there.caps.field_ttl:
        ttls = there.client.execute_command("HTTL", "h", "FIELDS", 2, "a", "b")
        assert ttls[0] > 900
        assert ttls[1] == -1
    there.apply("FIELDEXPIRE h 0 b", "FIELDEXPIRE s 0 b")
    assert (there.client.hkeys("h"), there.client.smembers("s")) == ([b"a"], {b"a"})


def test_hsetex_conditions(there: Target) -> None:
    there.client.hset("h", mapping={"a": 1})
    there.apply(
        "HSETEX h NX 1000 a 9 b 2", "HSETEX h FNX 1000 a 9 c 3", "HSETEX h FXX 1000 a 5 z 3", "HSETEX h FXX 1000 b 7"
    )
    assert there.client.hgetall("h") == {b"a": b"1", b"b": b"7"}
    there.apply("HSETEX h KEEPTTL 1000 a 2 n 1")
    assert there.client.hmget("h", "a", "n") == [b"2", b"1"]
    if there.caps.field_ttl:
        ttls = there.client.execute_command("HTTL", "h", "FIELDS", 3, "a", "b", "n")
        assert ttls[0] == -1
        assert min(ttls[1:]) > 900


def test_a_held_expiry_is_mended_only_where_there_is_one(there: Target) -> None:
    at = int(time.time() * 1000) + 500_000
    there.client.set("with", "v", px=60_000)
    there.client.set("without", "v")
    for key in (b"with", b"without", b"missing"):
        there.send(true_expiry_command(there.caps, key, at))
    assert 400_000 < there.client.pttl("with") <= 500_000
    assert there.client.pttl("without") == -1


def test_every_encoding_is_restored(there: Target) -> None:
    pairs = listpack(b"a", b"1", b"b", b"2")
    lp = bytes([len(pairs)]) + pairs
    soon = int(time.time() * 1000) + 1_000_000
    there.load(
        Value(0, b"string", 0, r.STRING, b"\xc0\x0a"),
        Value(0, b"set", 0, r.SET, encode_strings([b"a", b"b"])),
        Value(0, b"intset", 0, r.INTSET, b"\x0c" + struct.pack("<IIhh", 2, 2, 1, 2)),
        Value(0, b"hash:lp", 0, r.HASH_LISTPACK, lp),
        Value(0, b"zset:lp", 0, r.ZSET_LISTPACK, lp),
        Value(0, b"zset", 0, r.ZSET2, encode_zset([b"a", b"1.5", b"b", b"-inf"])),
        Value(0, b"list", soon, r.LIST_QUICKLIST2, b"\x02\x02" + lp + b"\x01\x05plain"),
        Value(0, b"hash:ttl", 0, r.HASH_TTL, member_ttl_hash(soon, -1)),
        Value(0, b"set:ttl", 0, r.SET_TTL, encode_strings([b"m", b"-1"], 2)),
        Value(0, b"empty", 0, r.SET, b"\x00"),
    )
    client = there.client
    assert client.get("string") == b"10"
    assert client.smembers("set") == {b"a", b"b"}
    assert client.smembers("intset") == {b"1", b"2"}
    assert client.hgetall("hash:lp") == {b"a": b"1", b"b": b"2"}
    assert client.zrange("zset:lp", 0, -1, withscores=True) == [(b"a", 1.0), (b"b", 2.0)]
    assert client.zscore("zset", "b") == float("-inf")
    assert client.lrange("list", 0, -1) == [b"a", b"1", b"b", b"2", b"plain"]
    assert abs(client.pttl("list") - 1_000_000) < 60_000
    assert client.hgetall("hash:ttl") == {b"f0": b"v", b"f1": b"v"}
    if there.caps.field_ttl:
        assert client.execute_command("HPTTL", "hash:ttl", "FIELDS", 2, "f0", "f1")[0] > 0
    assert client.smembers("set:ttl") == {b"m"}
    assert not client.exists("empty")


def test_a_payload_is_what_dump_gives(there: Target) -> None:
    there.client.set("k", "some text that is not compressed")
    dumped = there.client.dump("k")
    ours = payload(dumped[0], dumped[1:-FOOTER_LENGTH])
    version_at_9 = dumped[:-FOOTER_LENGTH] + b"\x09\x00"
    assert ours[:-8] == version_at_9
    if dumped[-FOOTER_LENGTH:-8] == b"\x09\x00":
        assert ours == dumped
    assert there.client.restore("k2", 0, ours) == b"OK"


def test_a_restore_of_the_journal_is_rebuilt(there: Target) -> None:
    pairs = listpack(b"a", b"1")
    body = payload(r.HASH_LISTPACK, bytes([len(pairs)]) + pairs)
    there.apply([b"RESTORE", b"h", b"500000", body, b"REPLACE", b"STICK"])
    assert there.client.hgetall("h") == {b"a": b"1"}
    assert 400_000 < there.client.pttl("h") <= 500_000


@pytest.fixture
def stream_source() -> Iterator[redis.Redis]:
    """A server whose dump of a stream is type 21, as a Dragonfly sends it."""
    with start_server("valkey-9") as server:
        client = server.client()
        for i in range(1, 301):
            client.xadd("x", {"f": f"v{i}", "g": "w" * (i % 7)}, id=f"{i}-1")
        client.xgroup_create("x", "g1", id="0")
        client.xgroup_create("x", "g2", id="5-1")
        client.xreadgroup("g1", "alice", {"x": ">"}, count=20)
        client.xgroup_createconsumer("x", "g1", "idle")
        client.xdel("x", "100-1", "101-1")
        yield client


def stream_state(client: redis.Redis, like: redis.Redis | None = None) -> tuple[Any, ...]:
    """Everything of the stream x that `like` can tell, too."""
    info, told = client.xinfo_stream("x"), (like or client).xinfo_stream("x")
    names = ("length", "last-generated-id", "entries-added", "max-deleted-entry-id")
    groups = [(g["name"], g["last-delivered-id"], g["pending"], g["consumers"]) for g in client.xinfo_groups("x")]
    pending = [
        (p["message_id"], p["consumer"], p["times_delivered"]) for p in client.xpending_range("x", "g1", "-", "+", 100)
    ]
    return [info[n] for n in names if n in told], client.xrange("x"), groups, pending


def test_a_small_stream_is_restored_exactly(there: Target, stream_source: redis.Redis) -> None:
    dumped = stream_source.dump("x")
    assert dumped[0] == r.STREAM3
    there.load(Value(0, b"x", 0, r.STREAM3, dumped[1:-FOOTER_LENGTH]))
    assert stream_state(there.client) == stream_state(stream_source, there.client)


@pytest.mark.parametrize("restored_most", [2_000, big_values.STREAM_RESTORED_MOST])
def test_a_big_stream_is_restored_or_when_huge_replayed(
    there: Target, stream_source: redis.Redis, restored_most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = stream_source.dump("x")[1:-FOOTER_LENGTH]
    assert 2_000 < nodes_end(raw) < big_values.STREAM_RESTORED_MOST
    monkeypatch.setattr(big_values, "STREAM_RESTORED_MOST", restored_most)
    there.client.set("x", "in the way")
    parts = [ValuePart(1, [element]) for element in decode_elements(r.STREAM3, raw)]
    there.load(ValueStart(1, 0, b"x", 0, r.STREAM3), *parts, ValueEnd(1))
    assert stream_state(there.client) == stream_state(stream_source, there.client)


def test_a_claim_makes_its_consumer(there: Target) -> None:
    there.client.xadd("x", {"f": "v"}, id="1-1")
    there.client.xgroup_create("x", "g", id="0")
    there.apply("XCLAIM x g carol 0 1-1 FORCE JUSTID", "XAUTOCLAIM x g dave 999999 0")
    assert {c["name"] for c in there.client.xinfo_consumers("x", "g")} == {b"carol", b"dave"}
    there.apply("XGROUP SETID x g 1-1 ENTRIESREAD 1", "XADD x MINID = 1-1 5-1 f v", version="df-v1.27.1")
    assert [i for i, _ in there.client.xrange("x")] == [b"5-1"]


def test_a_big_value_replaces_what_was_there(there: Target) -> None:
    there.client.set("k", "v")
    fields = [b"%d" % i for i in range(4000)]
    soon = int(time.time() * 1000) + 1_000_000
    there.load(
        ValueStart(1, 0, b"k", soon, r.HASH), ValuePart(1, list(fields)), ValuePart(1, [b"x", b"y"]), ValueEnd(1)
    )
    assert there.client.hlen("k") == 2001
    assert there.client.pttl("k") > 0


def test_verbatim_commands_are_known_to_the_target(there: Target) -> None:
    names = sorted({text.split()[0] for text in SAME_EVERYWHERE[:-1]})
    known = there.client.command()
    assert [name for name in names if name.lower() not in known] == []


ROTATED = [
    ("LPOP", "RPUSH", [b"b", b"c", b"a"]),
    ("RPOP", "LPUSH", [b"c", b"a", b"b"]),
    ("LPOP", "LPUSH", [b"a", b"b", b"c"]),
]


@pytest.mark.parametrize(("pop", "push", "after"), ROTATED)
def test_a_list_moved_onto_itself(there: Target, pop: str, push: str, after: list[bytes]) -> None:
    there.client.rpush("l", "a", "b", "c")
    there.client.pexpire("l", 100_000)
    moved = "a" if pop == "LPOP" else "c"
    assert there.apply("SET other v", f"{pop} l", f"{push} l {moved}")[-1] == 3
    assert there.client.lrange("l", 0, -1) == after
    assert there.client.pttl("l") > 0


def test_only_the_source_knows_whether_the_only_element_was_moved_or_popped_and_pushed(there: Target) -> None:
    there.client.rpush("l", "a")
    there.client.pexpire("l", 100_000)
    assert there.apply("SET other v", "RPOP l", "LPUSH l a")[-1] == 0  # read it again
    assert there.client.lrange("l", 0, -1) == [b"a"]
    assert there.client.pttl("l") > 0


def test_a_pop_and_a_push_that_can_be_no_move(there: Target) -> None:
    there.client.rpush("with", "a")
    there.client.pexpire("with", 100_000)
    there.client.rpush("without", "a")
    assert there.apply("SET other v", "LPOP with", "RPUSH with b")[-1] == 1
    assert there.apply("SET other v", "LPOP without", "RPUSH without a")[-1] == 1
    assert there.client.lrange("with", 0, -1) == [b"b"]
    assert there.client.pttl("with") == there.client.pttl("without") == -1


def test_a_push_whose_pop_is_on_its_way_already(there: Target) -> None:
    there.client.rpush("one", "a")
    there.client.rpush("two", "a", "b")
    translator = journal(there.caps)

    def apply(text: str, lsn: int) -> Any:
        found = translator.translate(
            [entry(text)], lsn, counted=True, now_ms=0, grace_ms=0, arrived=0.0, pending=None
        )  # fmt: skip
        return [there.send(c) for item in found if isinstance(item, Block) for c in item.commands]

    assert apply("LPOP one", 1) + apply("RPUSH one a", 2) == [b"a", 0]  # read it again
    assert apply("LPOP two", 3) + apply("RPUSH two a", 4) == [b"a", 2]
    there.client.set("text", "v")
    with pytest.raises(redis.ResponseError, match=r"^WRONGTYPE"):
        there.apply("SET other v", "LPOP text", "RPUSH text a")


def test_a_whole_json_value_is_set_by_its_condition(there: Target) -> None:
    """With SET in the place of JSON.SET, which these servers lack."""
    script = scripts.JSON_REPLACE.replace(b"'JSON.SET',k,'$'", b"'SET',k")
    client = there.client

    def replace(condition: str, keep_ttl: int) -> None:
        client.eval(script, 1, "k", condition, keep_ttl, "new")

    client.rpush("k", "of another type")
    client.pexpire("k", 100_000)
    replace("NX", 0)
    assert client.type("k") == b"list"
    replace("XX", 1)
    assert (client.get("k"), client.pttl("k") > 90_000) == (b"new", True)
    replace("XX", 0)
    assert (client.get("k"), client.pttl("k")) == (b"new", -1)
    client.delete("k")
    replace("XX", 0)
    assert not client.exists("k")
    replace("NX", 1)
    assert (client.get("k"), client.pttl("k")) == (b"new", -1)
