"""Packed containers, lengths and LZF, from bytes made by hand after the protocol page."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb import encodings, listpack_patterns, lzf
from df2redis_tui.dragonfly.rdb.lengths import Cursor, signed, skip_strings
from df2redis_tui.dragonfly.rdb.skips import SKIPS
from df2redis_tui.dragonfly.rdb.values import decode_elements
from df2redis_tui.errors import DecodeError
from tests.unit.dragonfly import wire

SKIPPED = {r.HASH_LISTPACK, r.ZSET_LISTPACK, r.LIST_QUICKLIST2}


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


elements = st.lists(
    st.one_of(
        st.binary(max_size=70),
        st.binary(min_size=120, max_size=140),
        st.integers(1, 3).flatmap(lambda n: st.just(b"long" * 1_500 * n)),
        st.sampled_from([b"0", b"1.5", b"-2.25", b"1e-05", b"-1.5e+300", b"inf", b"1.", b"1.2.3", b"nan"]),
        st.integers(-(1 << 63), (1 << 63) - 1),
        st.integers(-200, 200),
    ),
    max_size=150,
)
damage_of_a_byte = st.tuples(st.floats(0, 1, exclude_max=True), st.one_of(st.integers(0, 255), st.none()))


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(elements, st.lists(damage_of_a_byte, max_size=2), st.sampled_from(sorted(SKIPPED)))
def test_what_is_passed_over_is_what_can_be_decoded(
    items: list[bytes | int], steps: list[tuple[float, int | None]], type: int
) -> None:
    blob = wire.listpack(*(wire.lp_int(item) if isinstance(item, int) else wire.lp_text(item) for item in items))
    for share, byte in steps:
        at = int(share * len(blob))
        blob = blob[:at] + (b"" if byte is None else bytes([byte])) + blob[at + 1 :]
    raw = (b"\x01\x02" if type == r.LIST_QUICKLIST2 else b"") + wire.string(blob)
    try:
        decode_elements(type, raw)
        intact = True
    except DecodeError:
        intact = False
    skip = SKIPS[type]
    assert skip is not None
    for behind in (b"", b"\xff\xff\xff", bytes(300)):
        try:
            passed = skip(b"??" + raw + behind, 2) == 2 + len(raw)
        except IndexError:
            passed = False
        assert passed == intact


COUNTS = [1, 2, 63, 64, 65, 127, 128, 129, 400]
INTEGERS = (0, 127, 128, -1, -4096, 4095, 4096, -32768, 32768, 1 << 20, 1 << 23, -(1 << 30), 1 << 31, 1 << 62)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("size", [0, 1, 63, 64, 125])
def test_patterns_know_the_entries_that_servers_write(count: int, size: int) -> None:
    entries = [wire.lp_text(b"t" * size), *map(wire.lp_int, INTEGERS)]
    blob = wire.listpack(*(entries[at % len(entries)] for at in range(count)))
    for declared in (count - 1, count, count + 1):
        assert listpack_patterns.intact(blob, 6, len(blob), declared) == (declared == count)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("member", ["%d", "%d" + "t" * 59, "%d" + "u" * 118, 100, 5_000, 40_000, 9_000_000, 1 << 40])
def test_patterns_know_the_pairs_that_servers_write(count: int, member: str | int) -> None:
    def packed(at: int) -> bytes:
        if isinstance(member, int):
            return wire.lp_int(member - at)
        return wire.lp_text((member % at).encode())

    scores = [wire.lp_text(score) for score in (b"1.5", b"-0.10000000000000001", b"1e-05", b"2.5e+300")]
    scores.append(wire.lp_int(7))
    pairs = [entry for at in range(count) for entry in (packed(at), scores[at % len(scores)])]
    blob = wire.listpack(*pairs)
    twice = wire.listpack(*pairs[:-2], pairs[0], pairs[1])
    for check in (listpack_patterns.intact_pairs, listpack_patterns.intact_scored):
        assert check(blob, 6, len(blob), 2 * count)
        assert not check(blob, 6, len(blob), 2 * count + 2)
        assert check(twice, 6, len(twice), 2 * count) == (count == 1)
    nan = wire.listpack(packed(0), wire.lp_text(b"nan"))
    assert listpack_patterns.intact_pairs(nan, 6, len(nan), 2)
    assert not listpack_patterns.intact_scored(nan, 6, len(nan), 2)


@pytest.mark.parametrize("size", [127, 128, 16382, 16383, 2097150, 2097151])
def test_the_size_behind_an_entry(size: int) -> None:
    assert encodings.back_length(size) == wire.backlength(size)
