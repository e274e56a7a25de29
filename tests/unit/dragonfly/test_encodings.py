"""Packed containers, lengths and LZF, from bytes made by hand after the protocol page."""

from __future__ import annotations

import random
import struct

import pytest

from df2redis_tui.dragonfly.rdb import encodings, lzf
from df2redis_tui.dragonfly.rdb.lengths import Cursor, signed, skip_strings
from df2redis_tui.errors import DecodeError
from tests.unit.dragonfly import wire


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"\x00", 0),
        (b"\x3f", 63),
        (b"\x40\x40", 64),
        (b"\x41\x2c", 300),
        (b"\x7f\xff", 16383),
        (b"\x80\x00\x00\x40\x00", 16384),
        (b"\x80\xff\xff\xff\xff", (1 << 32) - 1),
        (b"\x81\x00\x00\x00\x01\x00\x00\x00\x00", 1 << 32),
    ],
)
def test_lengths(raw: bytes, value: int) -> None:
    cursor = Cursor(raw)
    assert cursor.length() == value
    cursor.expect_end()
    assert wire.length(value) == raw


def test_a_stored_minus_one() -> None:
    assert signed(Cursor(b"\x81" + b"\xff" * 8).length()) == -1


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x00", b""),
        (b"\x03abc", b"abc"),
        (b"\x40\x03abc", b"abc"),
        (b"\x81\x00\x00\x00\x00\x00\x00\x00\x02hi", b"hi"),
        (b"\xc0\xff", b"-1"),
        (b"\xc0\x7f", b"127"),
        (b"\xc1\x00\x80", b"-32768"),
        (b"\xc2\xff\xff\xff\x7f", b"2147483647"),
        (b"\xc3\x04\x09\x00a\xc0\x00", b"aaaaaaaaa"),
    ],
)
def test_strings(raw: bytes, text: bytes) -> None:
    cursor = Cursor(raw)
    assert cursor.string() == text
    cursor.expect_end()
    assert skip_strings(raw, 0, 1) == len(raw)


@pytest.mark.parametrize(
    "raw", [b"", b"\x05abc", b"\xc4", b"\x82", b"\xc1\x00", b"\xc3\x04\x09\x00a", b"\x81" + b"\xff" * 8]
)
def test_malformed_strings(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        Cursor(raw).string()


@pytest.mark.parametrize("width", [2, 4, 8])
def test_intset_of_each_width(width: int) -> None:
    low, high = -(1 << 8 * width - 1), (1 << 8 * width - 1) - 1
    assert encodings.intset(wire.intset(width, low, -1, 0, high)) == [b"%d" % low, b"-1", b"0", b"%d" % high]


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\x02\0\0\0",
        struct.pack("<II", 3, 1) + b"abc",
        struct.pack("<II", 2, 2) + b"ab",
        struct.pack("<II", 8, 1 << 31),
    ],
)
def test_malformed_intsets(blob: bytes) -> None:
    with pytest.raises(DecodeError):
        encodings.intset(blob)


def test_ziplist_of_every_encoding() -> None:
    long, longer = b"x" * 300, b"y" * 20_000
    entries = {
        wire.zl_text(b"short"): b"short",
        wire.zl_text(b""): b"",
        wire.zl_text(long): long,
        wire.zl_text(longer): longer,
        b"\xc0\x00\x80": b"-32768",
        b"\xd0\x00\x00\x00\x80": b"-2147483648",
        b"\xe0" + b"\xff" * 8: b"-1",
        b"\xf0\xff\xff\x7f": b"8388607",
        b"\xfe\x80": b"-128",
        b"\xf1": b"0",
        b"\xfd": b"12",
    }
    assert encodings.ziplist(wire.ziplist(*entries)) == list(entries.values())
    assert encodings.ziplist(wire.ziplist(*entries, count=65535)) == list(entries.values())
    assert encodings.ziplist(wire.ziplist()) == []


def test_listpack_of_every_encoding() -> None:
    texts = [b"", b"t" * 63, b"u" * 64, b"v" * 125, b"w" * 126, b"x" * 4095, b"y" * 4096, b"z" * 20_000]
    numbers = [0, 127, -1, -4096, 4095, 4096, -32768, 32767, 8388607, -8388608, 2147483647, -2147483648, 1 << 62]
    entries = [*map(wire.lp_text, texts), *map(wire.lp_int, numbers)]
    expected = [*texts, *(b"%d" % number for number in numbers)]
    assert encodings.listpack(wire.listpack(*entries)) == expected
    assert encodings.listpack(wire.listpack(*entries, count=65535)) == expected
    assert encodings.listpack(wire.listpack()) == []


@pytest.mark.parametrize(
    "packed", [wire.listpack(wire.lp_text(b"abc"), wire.lp_int(500)), wire.ziplist(b"\x03abc", b"\xfe\x05")]
)
def test_a_damaged_pack_never_reads_past_its_end(packed: bytes) -> None:
    read = encodings.listpack if packed[6] == 0x83 else encodings.ziplist
    good = read(packed)
    for cut in range(len(packed)):
        with pytest.raises(DecodeError):
            read(packed[:cut])
    for at in range(len(packed)):
        for value in range(256):
            damaged = packed[:at] + bytes([value]) + packed[at + 1 :]
            try:
                assert len(read(damaged)) == len(good) or damaged[4:6] == b"\xff\xff" or damaged[8:10] == b"\xff\xff"
            except DecodeError:
                pass


@pytest.mark.parametrize("unknown", [b"\xf5\x01", b"\xff"])
def test_unknown_listpack_encodings(unknown: bytes) -> None:
    with pytest.raises(DecodeError, match="unknown encoding"):
        encodings.listpack(wire.listpack(unknown))


def test_lzf_references_may_overlap_what_they_write() -> None:
    assert lzf.decompress(b"\x01ab\xe0\x05\x01", 16) == b"ab" * 8
    assert lzf.decompress(b"\x02abc\x20\x02", 6) == b"abcabc"


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"\x00a", 2),
        (b"\x01ab", 1),
        (b"\x05ab", 6),
        (b"\x20\x00", 3),
        (b"\x00a\xe0", 20),
        (b"\x00a", 1 << 40),
        (b"\x00a\xe0\xff\x00" * 3, 100),
    ],
)
def test_lzf_that_does_not_give_what_it_declares(data: bytes, size: int) -> None:
    with pytest.raises(DecodeError):
        lzf.decompress(data, size)


def test_lzf_noise_ends_in_an_error_or_the_declared_size() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        data, size = rng.randbytes(rng.randint(1, 60)), rng.randint(0, 400)
        try:
            assert len(lzf.decompress(data, size)) == size
        except DecodeError:
            pass
