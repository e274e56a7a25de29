"""Work and memory per byte of the wire are bounded: each call works for a short time, and what is held has a limit."""

from __future__ import annotations

import struct
import sys
import time
import tracemalloc
from collections.abc import Callable

import pytest

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.journal import JournalDecoder
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder
from df2redis_tui.errors import DecodeError
from tests.unit.dragonfly import wire

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STEP = 0.5  # seconds of the thread's own time
PEAK = 130 << 20  # bytes


def zstd_blob(*parts: bytes | tuple[bytes, int]) -> bytes:
    """A blob of parts, some of which come very often; made without ever holding its content."""
    compressor = zstd.ZstdCompressor()
    frame = b""
    for part in parts:
        text, times = part if isinstance(part, tuple) else (part, 1)
        at_once = max(1, (1 << 20) // len(text))
        for done in range(0, times, at_once):
            frame += compressor.compress(text * min(at_once, times - done))
    return b"\xc9" + wire.string(frame + compressor.flush())


def lzf(head: bytes, text: bytes, times: int, tail: bytes = b"") -> bytes:
    """A STR in LZF form: `head`, then `text` very often, then `tail`."""
    first = head + text
    size = len(first) + len(text) * times + len(tail)
    packed = b"".join(bytes([len(p) - 1]) + p for p in (first[at : at + 32] for at in range(0, len(first), 32)))
    left = len(text) * times
    while left:
        length = min(264, left) if left not in (265, 266) else 200
        assert length > 2
        distance = len(text) - 1
        if length > 8:
            packed += bytes([0xE0 | distance >> 8, length - 9, distance & 255])
        else:
            packed += bytes([(length - 2) << 5 | distance >> 8, distance & 255])
        left -= length
    if tail:
        packed += bytes([len(tail) - 1]) + tail
    return b"\xc3" + wire.length(len(packed)) + wire.length(size) + packed


def listpack_in_lzf(elements: int) -> bytes:
    return lzf(struct.pack("<IH", 7 + 2 * elements, 65535), b"\x01\x01", elements - 1, b"\xff")


def run(receive: Callable[[bytes], None], next_block: Callable[[], object], data: bytes) -> tuple[int, str, float]:
    """(blocks, why it was refused, the longest step in seconds)."""
    receive(data)
    blocks, longest = 0, 0.0
    while True:
        began = time.thread_time()
        try:
            block = next_block()
        except DecodeError as error:
            return blocks, str(error), max(longest, time.thread_time() - began)
        longest = max(longest, time.thread_time() - began)
        if block is None:
            return blocks, "", longest
        blocks += 1


MANY = 1_200_000
MANY_ARGUMENTS = b"\x0a\x00\x01\x80\x00\x80\x00\x00\x00"
SHORT_REFERENCES = wire.length(2_000_002) + wire.length(3_000_001) + b"\x00a" + b"\x20\x00" * 1_000_000
ZEROS = (bytes(1 << 20), 1024)
STREAM_HEAD = b"\x15\x01s" + b"\x00" + b"\x00" * 8 + b"\x01\x01g\x00\x00\x00"
FULL_SYNCS: dict[str, tuple[Callable[[], bytes], str]] = {
    "end-of-blob marks": (lambda: zstd_blob((b"\xcb", MANY)), "opcodes in a row"),
    "SELECTDB": (lambda: zstd_blob((b"\xfe\x00", MANY)), "opcodes in a row"),
    "AUX fields": (lambda: zstd_blob((b"\xfa\x00\x00", MANY)), "opcodes in a row"),
    "ends of the full sync": (lambda: zstd_blob((b"\xc8" + bytes(8), MANY)), "opcodes in a row"),
    "keys of an index": (lambda: zstd_blob(b"\xdf\x00\x00\x81" + b"\x7f" * 8, (b"\x00", MANY // 2)), "passes the end"),
    "levels of an index": (
        lambda: zstd_blob(b"\xde\x01i\x00\x7f" + b"\xff" * 17, (b"\x00", MANY // 2)),
        "passes the end",
    ),
    "journal PINGs": (lambda: zstd_blob(b"\xd2\x01" + wire.length(MANY // 2), (b"\x0d", MANY // 2)), ""),
    "more journal PINGs": (lambda: zstd_blob(b"\xd2\x01" + wire.length(20 << 20), (b"\x0d", 20 << 20)), "held at once"),
    "journal PINGs in LZF": (lambda: b"\xd2\x01" + lzf(b"\x0d", b"\x0d", MANY // 2), ""),
    "SELECTs of a journal": (lambda: zstd_blob(b"\xd2\x01" + wire.length(MANY // 2), (b"\x06\x00", MANY // 4)), ""),
    "a record with 2^62 arguments": (
        lambda: b"\xd2\x01" + wire.string(b"\x0a\x00\x01\x81\x40" + bytes(7) + b"\x00" + bytes(1000)),
        "4,611,686,018,427,387,904 arguments",
    ),
    "a record with many arguments": (
        lambda: zstd_blob(b"\xd2\x01" + wire.length((1 << 23) + 9) + MANY_ARGUMENTS, (b"\x00", 1 << 23)),
        "8,388,608 arguments",
    ),
    "empty strings": (lambda: zstd_blob((b"\x00\x00\x00", MANY // 2)), ""),
    "empty sets": (lambda: zstd_blob((b"\x02\x00\x00", MANY // 2)), ""),
    "a set of empty members": (lambda: zstd_blob(b"\x02\x01s" + wire.length(MANY), (b"\x00", MANY)), ""),
    "a hash of empty fields": (lambda: zstd_blob(b"\x04\x01s" + wire.length(MANY // 4), (b"\x00", MANY // 2)), ""),
    "a sorted set": (lambda: zstd_blob(b"\x05\x01s" + wire.length(MANY // 20), (b"\x00" * 9, MANY // 20)), ""),
    "a string of 1 GiB": (lambda: zstd_blob(b"\x00\x01s" + wire.length(1 << 30), ZEROS), ""),
    "a member of 1 GiB": (lambda: zstd_blob(b"\x02\x01s\x01" + wire.length(1 << 30), ZEROS), "held at once"),
    "pending entries": (lambda: zstd_blob(STREAM_HEAD + wire.length(1 << 25), ZEROS), "pending entries"),
    "pending entries of a consumer": (
        lambda: zstd_blob(STREAM_HEAD + b"\x00\x01\x01c" + bytes(16) + wire.length(1 << 25), ZEROS),
        "pending entries",
    ),
    "open chunks": (
        lambda: zstd_blob(*(wire.chunk(i + 1, b"\x02\x01s\x80\x00\xff\xff\xff" + bytes(8_000)) for i in range(1400))),
        "1,024 values are open",
    ),
    "open chunks on the wire": (
        lambda: b"".join(wire.chunk(i + 1, b"\x02\x01s\x80\x00\xff\xff\xff\x00") for i in range(16_384)),
        "1,024 values are open",
    ),
    "a listpack in LZF": (
        lambda: b"\x10\x01h" + listpack_in_lzf(20 << 20),
        "elements",
    ),
    "nodes of a list in LZF": (
        lambda: b"\x12\x01l\x1e" + 30 * (b"\x02" + listpack_in_lzf(200_000)),
        "",
    ),
    "plain nodes in LZF": (lambda: b"\x12\x01l\x32" + 50 * (b"\x01" + lzf(b"x", b"y", 1 << 20)), ""),
    "a string in LZF": (lambda: b"\x00\x01s" + lzf(b"x", b"y", 30 << 20), ""),
    "a string of short references in LZF": (lambda: b"\x00\x01s\xc3" + SHORT_REFERENCES, ""),
    "members in LZF": (lambda: b"\x02\x01s\x32" + 50 * lzf(b"x", b"y", 1 << 20), ""),
    "a sketch in LZF": (lambda: b"\x21\x01b\x00" + bytes(16) + b"\x00\x00\x00\x01\x00" + lzf(b"x", b"y", 1 << 24), ""),
}  # fmt: skip


@pytest.mark.parametrize("attack", FULL_SYNCS)
def test_a_full_sync_gives_turns_and_holds_little(attack: str) -> None:
    make, refusal = FULL_SYNCS[attack]
    data = wire.HEADER + make()
    decoder = SnapshotDecoder(3, wire.TOKEN)
    _, why, longest = run(decoder.receive, decoder.next_block, data)
    assert refusal in why
    assert bool(why) == bool(refusal), why
    assert longest < STEP
    decoder = SnapshotDecoder(3, wire.TOKEN)
    tracemalloc.start()
    try:
        began = time.monotonic()
        decoder.receive(data)
        while decoder.next_block() is not None and time.monotonic() - began < 1.5:
            pass
    except DecodeError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < PEAK, f"{peak >> 20} MiB"


JOURNALS: dict[str, tuple[bytes, str]] = {
    "PINGs": (b"\x0d" * 200_000, ""),
    "SELECTs": (b"\x06\x00" * 200_000, ""),
    "a record with 2^62 arguments": (b"\x0a\x00\x01\x81\x40" + bytes(7) + b"\x00" + bytes(1000), "arguments"),
    "a record with arguments of 2^62 bytes": (b"\x0a\x00\x01\x02\x81\x40" + bytes(7) + b"\x01a", "declares"),
    "a record with many arguments": (
        b"\x0a\x00\x01" + wire.length(300_000) + b"\x00" + bytes(300_000),
        "",
    ),
}


@pytest.mark.parametrize("attack", JOURNALS)
def test_a_journal_gives_turns_and_holds_little(attack: str) -> None:
    data, refusal = JOURNALS[attack]
    decoder = JournalDecoder(3)
    tracemalloc.start()
    try:
        _, why, longest = run(decoder.receive, decoder.next_block, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refusal in why
    assert bool(why) == bool(refusal), why
    assert longest < 4 * STEP  # tracemalloc takes its time
    assert peak < PEAK, f"{peak >> 20} MiB"


def test_an_empty_block_means_that_there_is_more() -> None:
    """Turns are given in between, and what comes then is the same."""
    data = wire.HEADER + zstd_blob((b"\xfe\x00", 300_000), wire.entry(0, b"k", b"\x01v")) + wire.end()
    decoder = SnapshotDecoder(3, wire.TOKEN)
    decoder.receive(data)
    blocks = []
    while (block := decoder.next_block()) is not None:
        blocks.append(block)
    assert [] in blocks
    assert [x for block in blocks for x in block] == [r.Strings(0, [(b"k", b"v", 0)]), r.StreamEnd(wire.TOKEN)]
    assert decoder.finished


@pytest.mark.parametrize("small", [64, 256 * 1024])
def test_values_among_many_open_ones_come_in_parts_and_are_the_same(small: int) -> None:
    raw = wire.length(500) + b"".join(wire.string(b"member %d" % i) for i in range(500))
    whole = wire.entry(r.SET, b"k", raw)
    ids = range(1, 21)
    data = wire.HEADER + b"".join(wire.chunk(i, whole[:3000]) for i in ids)
    data += b"".join(wire.chunk(i, whole[3000:]) for i in ids) + wire.end()
    decoder = SnapshotDecoder(3, wire.TOKEN, small_limit=small)
    decoder.receive(data)
    found: list[r.SnapshotRecord] = []
    while (block := decoder.next_block()) is not None:
        found += block
    assert decoder.finished
    parts: dict[int, list[object]] = {}
    for record in found:
        if isinstance(record, r.ValuePart):
            parts.setdefault(record.id, []).extend(record.elements)
    members = [b"member %d" % i for i in range(500)]
    values = [record.raw for record in found if isinstance(record, r.Value)]
    assert len(values) + len(parts) == len(ids)
    assert len(values) == (8 if small > len(raw) else 0)
    assert all(value == raw for value in values)
    assert all(elements == members for elements in parts.values())
