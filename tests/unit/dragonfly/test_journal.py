"""Journal records of stable sync, one kind after the other."""

from __future__ import annotations

import pytest

from df2redis_tui.dragonfly.journal import JournalDecoder, decode_blob
from df2redis_tui.dragonfly.records import Entry
from df2redis_tui.errors import DecodeError, SourceLost
from tests.unit.dragonfly import wire
from tests.unit.dragonfly.recorded import bytewise, decode_journal, whole

EXAMPLE = bytes.fromhex("06 00 0A 00 01 03 09 03 534554 03 666f6f 03 626172")


def decoded(data: bytes, db: int = 0) -> list[Entry]:
    """The entries, which must not depend on how the bytes are cut or blocks are limited."""
    decoder = JournalDecoder(2, db=db)
    entries = decode_journal(decoder, whole(data))
    assert decoder.offset == len(data)
    assert decode_journal(JournalDecoder(2, db=db), bytewise(data)) == entries
    assert decode_journal(JournalDecoder(2, db=db), whole(data), limit=1) == entries
    return entries


def refused(data: bytes) -> DecodeError:
    decoder = JournalDecoder(2)
    with pytest.raises(DecodeError) as caught:
        decode_journal(decoder, whole(data))
    with pytest.raises(DecodeError):
        decoder.next_block()
    with pytest.raises(DecodeError) as in_pieces:
        decode_journal(JournalDecoder(2), bytewise(data))
    assert in_pieces.value.reason == caught.value.reason
    assert caught.value.flow == 2
    assert 0 <= caught.value.offset <= len(data)
    return caught.value


def test_the_example_of_the_protocol_page() -> None:
    assert decoded(EXAMPLE) == [Entry(10, 0, 0, [b"SET", b"foo", b"bar"])]


def test_select_is_folded_and_stays_for_records_without_one() -> None:
    data = wire.command(b"A") + wire.select(3) + wire.command(b"B") + wire.command(b"C") + wire.select(700) + b"\x0d"
    assert [(entry.db, entry.op) for entry in decoded(data, db=5)] == [(5, 10), (3, 10), (3, 10), (700, 13)]


def test_every_opcode() -> None:
    data = (
        wire.command(b"DEL", b"k", op=9, txid=300)
        + wire.command(b"LPUSH", b"k", b"", op=11, txid=1 << 40, shards=100)
        + b"\x0c" + wire.length(20_000) + b"\x02"
        + b"\x0d\x0e"
        + b"\x0f" + wire.length(1 << 33)
    )  # fmt: skip
    assert decoded(data) == [
        Entry(9, 0, 300, [b"DEL", b"k"]),
        Entry(11, 0, 1 << 40, [b"LPUSH", b"k", b""]),
        Entry(12, 0, 20_000, []),
        Entry(13, 0, 0, []),
        Entry(14, 0, 0, []),
        Entry(15, 0, 1 << 33, []),
    ]


@pytest.mark.parametrize("size", [0, 63, 64, 16383, 16384, 70_000])
def test_arguments_of_every_length_form(size: int) -> None:
    value = b"v" * size
    assert decoded(wire.command(b"SET", b"k", value)) == [Entry(10, 0, 0, [b"SET", b"k", value])]


def test_many_arguments() -> None:
    args = [b"MSET", *(b"%d" % i for i in range(20_000))]
    assert decoded(wire.command(*args)) == [Entry(10, 0, 0, args)]


def test_a_big_argument_in_small_pieces_is_joined_once() -> None:
    value = bytes(16 << 20)
    data = wire.command(b"SET", b"k", value)
    pieces = (data[at : at + 4096] for at in range(0, len(data), 4096))
    ((_, _, _, args),) = decode_journal(JournalDecoder(0), pieces)
    assert args[2] == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00", "no journal opcode"),
        (b"\x07", "no journal opcode"),
        (EXAMPLE + b"\xff", "no journal opcode"),
        (b"\x0a\x00\x01\x00\x00", "no name"),
        (b"\x0a\x00\x01\x01\x02\x03abc", "exceed"),
        (b"\x0a\x00\x01\x01\x04\x03abc\x0d", "fall 1 bytes short"),
        (b"\x0a\x00\x01\x02\x03\x03abc\x01d", "exceed"),
        (b"\x0a\xc0\x01\x01", "does not begin a length"),
        (b"\x0a\x00\x01\x01\x81" + b"\xff" * 8 + b"\x81" + b"\xff" * 8, "a string declares"),
        (b"\x06\x81" + b"\xff" * 8, "database number"),
    ],
)
def test_malformed_records(data: bytes, reason: str) -> None:
    assert reason in refused(data).reason


def test_entries_in_front_of_damage_are_delivered_first() -> None:
    decoder = JournalDecoder(4)
    decoder.receive(EXAMPLE + b"\x00")
    assert decoder.next_block() == [Entry(10, 0, 0, [b"SET", b"foo", b"bar"])]
    with pytest.raises(DecodeError, match=f"FLOW 4: malformed stream at byte {len(EXAMPLE)}"):
        decoder.next_block()


@pytest.mark.parametrize("before", [b"", EXAMPLE])
def test_an_error_text_in_place_of_a_record_ends_the_session(before: bytes) -> None:
    decoder = JournalDecoder(1)
    with pytest.raises(SourceLost, match=r"FLOW 1.*-ERR Replicating a replica is unsupported$"):
        decode_journal(decoder, bytewise(before + b"-ERR Replicating a replica is unsupported\r\n"))
    with pytest.raises(SourceLost):
        decode_journal(JournalDecoder(1), whole(b"-" + b"x" * 600))


def test_a_blob_is_used_up_exactly() -> None:
    data = wire.select(2) + wire.command(b"SET", b"k", b"v" * 20_000) + b"\x0d" + EXAMPLE
    assert decode_blob(0, data, 99) == [
        Entry(10, 2, 0, [b"SET", b"k", b"v" * 20_000]),
        Entry(13, 2, 0, []),
        Entry(10, 0, 0, [b"SET", b"foo", b"bar"]),
    ]
    assert decode_blob(0, b"", 99) == []
    for cut in (data[:-1], data + b"\x0a", data + b"\x00", b"-ERR\r\n"):
        with pytest.raises(DecodeError) as caught:
            decode_blob(7, cut, 99)
        assert (caught.value.flow, caught.value.offset) == (7, 99)
