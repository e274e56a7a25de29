"""RESP2 replies from a peer that is not trusted: the same from every split, and never more than may be due."""

from __future__ import annotations

import tracemalloc

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from df2redis_tui.reply_reader import NEED_MORE, Malformed, ReplyReader

MOST = 1024**2
REPLIES = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40), lambda inner: st.lists(inner, max_size=5)
)


def wire(reply: object) -> bytes:
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case list():
            return b"*%d\r\n" % len(reply) + b"".join(map(wire, reply))
    raise AssertionError(reply)


def read(data: bytes, piece: int = 2**30, most: int = MOST) -> list[object]:
    reader, found = ReplyReader(), []
    for at in range(0, len(data), piece):
        reader.feed(data[at : at + piece])
        while (reply := reader.next(most)) is not NEED_MORE:
            found.append(reply)
    return found


@given(st.lists(REPLIES, max_size=4), st.integers(1, 60))
def test_every_split_gives_the_same(replies: list[object], piece: int) -> None:
    assert read(b"".join(map(wire, replies)), piece) == replies


@given(st.binary(max_size=200), st.integers(1, 30))
def test_garbage_is_malformed_or_not_complete_however_it_comes(data: bytes, piece: int) -> None:
    def outcome(piece: int) -> str:
        try:
            return repr([str(reply) for reply in read(data, piece)])
        except Malformed:
            return "malformed"

    assert outcome(piece) == outcome(2**30)


def test_lines_and_errors() -> None:
    assert read(b"+OK\r\n+\r\n*-1\r\n:007\r\n:-1\r\n", 1) == [b"OK", b"", None, 7, -1]
    (error,) = read(b"-ERR n\xff\r\n", 2)
    assert isinstance(error, hiredis.ReplyError)
    assert str(error) == "ERR n�"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"*4294967295\r\n", "array of 4,294,967,295 elements, more than"),
        (b"*2\r\n*999999\r\n", "array of 999,999 elements"),
        (b"$1048577\r\n", "bulk string of 1,048,577 bytes"),
        (b"*2\r\n$900000\r\n" + bytes(900_000) + b"\r\n$200000\r\n", "bulk string of 200,000 bytes"),
        (b"$99999999999999999999\r\n", "a length that is none"),
        (b"$-2\r\n", "a length that is none"),
        (b"*+1\r\n", "a length that is none"),
        (b"$3\r\nabcde", "longer than it says"),
        (b":1.5\r\n", "an integer that is none"),
        (b":9223372036854775808\r\n", "an integer that is none"),
        (b"%1\r\n", "RESP3 map"),
        (b"~0\r\n", "RESP3 set"),
        (b"_\r\n", "RESP3 null"),
        (b">2\r\n", "RESP3 push"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no RESP: `HTTP/1.1 400"),
        (b"\x15\x03\x01", "no RESP: `\\x15\\x03"),
        (b"*1\r\n" * 100_000, "arrays in arrays"),
        (b"+" + bytes(70_000), "a line without an end"),
        (b"-" + b"x" * 70_000 + b"\r\n", "a line "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("piece", [1000, 2**30], ids=["in pieces", "at once"])
def test_what_can_not_be_is_refused_at_once(data: bytes, says: str, piece: int) -> None:
    with pytest.raises(Malformed) as caught:
        read(data, piece)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 200


def test_nothing_is_made_for_what_has_not_come() -> None:
    reader = ReplyReader()
    tracemalloc.start()
    try:
        reader.feed(b"*100000000\r\n$1000000000\r\nabc")
        assert reader.next(4 * 1024**3) is NEED_MORE
        assert tracemalloc.get_traced_memory()[1] < 1024**2
    finally:
        tracemalloc.stop()


def test_what_comes_behind_a_reply_is_kept() -> None:
    reader = ReplyReader()
    reader.feed(b"*2\r\n$4\r\nFULL\r\n$2\r\nab\r\nREDIS0009\r\n*3")
    assert reader.next(MOST) == [b"FULL", b"ab"]
    assert reader.rest() == b"REDIS0009\r\n*3"
    assert reader.rest() == b""
