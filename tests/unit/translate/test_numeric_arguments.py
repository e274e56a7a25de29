"""Numbers that the source took leniently reach the target in the form that Redis takes."""

from __future__ import annotations

import pytest

from df2redis_tui.translate.capabilities import Capabilities
from df2redis_tui.translate.keys import number
from df2redis_tui.translate.numeric_arguments import NUMBERS, floating, integer, json_number, score_bound, stream_id
from tests.unit.translate.surroundings import NOW, REDIS62, VALKEY9, entry, items, journal, outcome

FAR = NOW + 10_000_000


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        (b"5", b"5"),
        (b"-5", b"-5"),
        (b"0", b"0"),
        (b"+5", b"5"),
        (b" 5", b"5"),
        (b"5\n", b"5"),
        (b"\t -007 \r\v\f", b"-7"),
        (b"-0", b"0"),
        (b"+000", b"0"),
        (b"9223372036854775807", b"9223372036854775807"),
    ],
)
def test_integers(read: bytes, wanted: bytes) -> None:
    assert integer(read) == wanted


@pytest.mark.parametrize("text", [b"", b" ", b"+", b"- 5", b"--5", b"1.0", b"0x10", b"1_0", b"five", b"5\x00"])
def test_what_is_no_integer_is_left_to_the_target(text: bytes) -> None:
    assert integer(text) is text


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        (b"1.50", b"1.50"),
        (b"-.5", b"-.5"),
        (b"1e5", b"1e5"),
        (b" 1", b"1"),
        (b"+2.5e3 ", b"2.5e3"),
        (b"-007.", b"-007."),
        (b"+inf", b"inf"),
        (b"-Infinity", b"-inf"),
        (b"1e400", b"inf"),
        (b"-1e400", b"-inf"),
        (b"1e-400", b"0"),
        (b"-1e-400", b"-0"),
        (b"1e-310", b"1e-310"),
        (b"1e300", b"1e300"),
        (b"0x10", b"16.0"),
        (b" -0X1.8p1", b"-3.0"),
        (b"-0x1p9999", b"-inf"),
    ],
)
def test_floats(read: bytes, wanted: bytes) -> None:
    assert floating(read) == wanted


@pytest.mark.parametrize("text", [b"", b"nan", b"+-1", b"1e", b"0x", b"0xp1", b"1_0", b"one", b"."])
def test_what_is_no_float_is_left_to_the_target(text: bytes) -> None:
    assert floating(text) is text


def test_bounds_ids_and_json_numbers() -> None:
    assert [score_bound(b) for b in (b"(1", b"(1e400", b"-inf")] == [b"(1", b"(inf", b"-inf"]
    assert [stream_id(i) for i in (b"01-02", b" 5", b"5-*", b"*", b"$", b"-", b"+", b"(+1-0")] == [
        b"1-2", b"5", b"5-*", b"*", b"$", b"-", b"+", b"(1-0",
    ]  # fmt: skip
    assert [json_number(n) for n in (b"1", b"-1.5", b"1e2", b"5.", b".5", b"-1e-3", b"1e400", b"x")] == [
        b"1", b"-1.5", b"100", b"5.0", b"0.5", b"-0.001", b"1e400", b"x",
    ]  # fmt: skip
    assert [number(n) for n in (b" +05\n", b"-3", b"1_0", b"", b"1.0")] == [5, -3, None, None, None]


LENIENT: list[tuple[list[bytes], str]] = [
    ([b"INCRBY", b"k", b"+5"], "INCRBY k 5"),
    ([b"DECRBY", b"k", b" 5"], "DECRBY k 5"),
    ([b"SETRANGE", b"k", b"03", b"+1"], "SETRANGE k 3 +1"),
    ([b"SETBIT", b"k", b"07", b"+1"], "SETBIT k 7 1"),
    ([b"BITFIELD", b"k", b"SET", b"U08", b"#02", b"+3"], "BITFIELD k SET u8 #2 3"),
    ([b"LPOP", b"k", b"02"], "LPOP k 2"),
    ([b"RPOP", b"k", b"+2"], "RPOP k 2"),
    ([b"LSET", b"k", b"00", b"05"], "LSET k 0 05"),
    ([b"LREM", b"k", b"01", b"01"], "LREM k 1 01"),
    ([b"LTRIM", b"k", b"0", b"05"], "LTRIM k 0 5"),
    ([b"HINCRBY", b"k", b"+5", b" 5"], "HINCRBY k +5 5"),
    ([b"ZINCRBY", b"k", b" 1", b" 1"], "ZINCRBY k 1  1"),
    ([b"ZPOPMIN", b"k", b"+2"], "ZPOPMIN k 2"),
    ([b"ZPOPMAX", b"k", b"02"], "ZPOPMAX k 2"),
    ([b"ZREMRANGEBYRANK", b"k", b"00", b"-01"], "ZREMRANGEBYRANK k 0 -1"),
    ([b"ZREMRANGEBYSCORE", b"k", b"(-1e400", b"1e400"], "ZREMRANGEBYSCORE k (-inf inf"),
    ([b"ZRANGESTORE", b"d", b"s", b"00", b"+1"], "ZRANGESTORE d s 0 1"),
    ([b"ZRANGESTORE", b"d", b"s", b"[a", b"[05", b"BYLEX"], "ZRANGESTORE d s [a [05 BYLEX"),
    (
        [b"ZRANGESTORE", b"d", b"s", b"(-1e999", b"5", b"BYSCORE", b"LIMIT", b"00", b"+2"],
        "ZRANGESTORE d s (-inf 5 BYSCORE LIMIT 0 2",
    ),
    ([b"ZUNIONSTORE", b"d", b"02", b"a", b"b", b"WEIGHTS", b"+1", b" 2"], "ZUNIONSTORE d 2 a b WEIGHTS 1 2"),
    ([b"SORT", b"k", b"LIMIT", b"00", b"05", b"STORE", b"07"], "SORT k LIMIT 0 5 STORE 07"),
    (
        [b"GEORADIUS", b"k", b"+1", b" 2", b"3", b"km", b"COUNT", b"02", b"STORE", b"COUNT"],
        "GEORADIUS k 1 2 3 km COUNT 2 STORE COUNT",
    ),
    (
        [b"GEOSEARCHSTORE", b"d", b"s", b"FROMLONLAT", b"+1", b"2", b"BYBOX", b"+3", b"4", b"km"],
        "GEOSEARCHSTORE d s FROMLONLAT 1 2 BYBOX 3 4 km",
    ),
    ([b"XADD", b"k", b"MAXLEN", b"=", b"010", b"01-02", b"f", b"+1"], "XADD k MAXLEN = 10 1-2 f +1"),
    ([b"XTRIM", b"k", b"MINID", b" 5-01"], "XTRIM k MINID 5-1"),
    ([b"XDEL", b"k", b"01-1", b" 2"], "XDEL k 1-1 2"),
    ([b"XACK", b"k", b"05", b"01-1"], "XACK k 05 1-1"),
    ([b"XSETID", b"k", b"05-0 "], "XSETID k 5-0"),
    ([b"XGROUP", b"CREATE", b"k", b"05", b"05"], "XGROUP CREATE k 05 5"),
    ([b"XGROUP", b"CREATECONSUMER", b"k", b"05", b"05"], "XGROUP CREATECONSUMER k 05 05"),
    ([b"MOVE", b"k", b"+3"], "MOVE k 3"),
    ([b"XAUTOCLAIM", b"k", b"05", b"06", b"00", b"01-0 ", b"COUNT", b"+2"], "XAUTOCLAIM k 05 06 0 1-0 COUNT 2"),
    ([b"EXPIRE", b"k", b" 10000"], f"PEXPIREAT k {FAR}"),
    ([b"PSETEX", b"k", b"+10000000", b"v"], f"SET k v PXAT {FAR}"),
]


@pytest.mark.parametrize(("record", "wanted"), LENIENT, ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("caps", [REDIS62, VALKEY9], ids=["redis-6.2", "valkey-9"])
def test_a_command_with_lenient_numbers(record: list[bytes], wanted: str, caps: Capabilities) -> None:
    assert outcome(items(journal(caps), entry("SET other v"), entry(record)))[-1:] == [wanted]


def test_ids_of_a_claim_end_where_its_options_begin() -> None:
    record = [b"XCLAIM", b"k", b"g", b"05", b"00", b" +1-01", b"02", b"IDLE", b"05", b"RETRYCOUNT", b"+1", b"FORCE"]
    assert outcome(items(journal(REDIS62), entry(record)))[-1] == "XCLAIM k g 05 0 1-1 2 IDLE 5 RETRYCOUNT 1 FORCE"


@pytest.mark.parametrize(
    "text", ["LMPOP 05 06", "ZMPOP 05", "ZUNIONSTORE 05 06", "ZUNIONSTORE 05", "ZINTERSTORE 01 07 08"]
)
def test_keys_that_look_like_numbers_stay_as_they_are_where_a_record_is_cut_to_them(text: str) -> None:
    """§4.4: a shard of several logs only its own keys."""
    (line,) = outcome(items(journal(REDIS62), entry(text)))
    assert line == "REREAD " + text.partition(" ")[2]


def test_a_command_in_redis_form_is_not_copied() -> None:
    """What a busy journal pays for the table is a look at each number."""
    for args in ([b"INCRBY", b"k", b"-5"], [b"ZINCRBY", b"k", b"1.5", b"m"], [b"XADD", b"k", b"5-1", b"f", b" 1"]):
        assert NUMBERS[args[0]](args) is args
