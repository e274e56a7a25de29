"""What is fuzzed: each harness takes any bytes, and allows typed errors and short steps only.

The first byte chooses among options: how the stream is cut, what it is wrapped in, which target it is for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from df2redis_tui.dragonfly.dumps import in_parts
from df2redis_tui.dragonfly.journal import JournalDecoder, decode_blob
from df2redis_tui.dragonfly.rdb import encodings, lzf
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder
from df2redis_tui.dragonfly.rdb.values import decode_elements, decode_stream
from df2redis_tui.dragonfly.records import OP_COMMAND, Blob, Entry, Strings, Value, ValueEnd, ValuePart, ValueStart
from df2redis_tui.errors import Df2RedisError
from df2redis_tui.translate.keys import keys_of
from df2redis_tui.translate.quirks import Quirks
from df2redis_tui.translate.values import Unrepresentable, ValueWriter
from tests.unit.dragonfly import wire
from tests.unit.translate.surroundings import (
    CLUSTER,
    NOW,
    REDIS62,
    REDIS70,
    REDIS80,
    VALKEY9,
    Refusals,
    items,
    journal,
    snapshot,
)

STEP = 0.5  # seconds of the thread's own time
TARGETS = (REDIS62, REDIS70, REDIS80, VALKEY9, CLUSTER)
RELEASES = ("1.15.1", "1.27.2", "1.30.0", "1.40.1")
NAMES = tuple(
    b"SET SETEX GETEX DEL EXPIRE RENAME MOVE COPY RESTORE SORT LPUSH LMOVE LMPOP BLMPOP ZMPOP BZMPOP HSETEX HEXPIRE "
    b"HGETEX SADDEX FIELDEXPIRE SPOP ZADD ZUNIONSTORE ZRANGESTORE BITOP BITFIELD GEOSEARCHSTORE XADD XTRIM XCLAIM "
    b"XGROUP XACK XAUTOCLAIM XREADGROUP JSON.SET JSON.MSET JSON.NUMINCRBY BF.ADD CMS.MERGE MSET EVAL INCRBYFLOAT DELEX "
    b"FLUSHDB DFLYCLUSTER PFMERGE SINTERSTORE GEORADIUS".split()
)

T = TypeVar("T")


class TooSlow(Exception):
    """One step took longer than the event loop may be kept."""


def timed(work: Callable[[], T]) -> T:
    began = time.thread_time()
    result = work()
    if (took := time.thread_time() - began) > STEP:
        raise TooSlow(f"{took:.2f} s")
    return result


def stepped(found: Iterable[T]) -> Iterator[T]:
    """What an iterator gives, none of it late."""
    end = object()
    iterator = iter(found)
    while (one := timed(lambda: next(iterator, end))) is not end:
        yield one  # type: ignore[misc]


def cut(data: bytes, options: int) -> Iterator[bytes]:
    size = (len(data) or 1, 1, 7, 997)[options & 3]
    return (data[at : at + size] for at in range(0, len(data), size))


def wrapped(body: bytes, how: int) -> bytes:
    if how == 1:
        return wire.lz4_blob(body)
    if how == 2 and body:
        return wire.chunk(7, body[:40]) + wire.chunk(7, body[40:]) if len(body) > 40 else wire.chunk(7, body)
    if how == 3:
        return b"\xd2\x01" + wire.string(body)
    return body


def full_sync(data: bytes) -> None:
    """A full sync up to the commands for a target."""
    options, body = data[0], data[1:]
    caps = TARGETS[options >> 5 & 7] if options >> 5 & 7 < len(TARGETS) else REDIS70
    limits = {"small_limit": 64, "part_bytes": 50} if options & 16 else {}
    decoder = SnapshotDecoder(0, wire.TOKEN, **limits)  # type: ignore[arg-type]
    refusals = Refusals()
    values = snapshot(caps, refusals=refusals, db_policy="merge-into-0")
    commands = journal(caps, refusals=refusals, db_policy="merge-into-0", open_keys=values.open_keys)
    try:
        for piece in cut(wire.HEADER + wrapped(body, options >> 2 & 3) + wire.end(), options):
            decoder.receive(piece)
            while (block := timed(decoder.next_block)) is not None:
                for record in block:
                    if isinstance(record, Blob):
                        for _ in stepped(items(commands, *record.entries, counted=False)):
                            pass
                    elif isinstance(record, Strings | Value | ValueStart | ValuePart | ValueEnd):
                        for _ in stepped(values.translate([record], NOW, 0, 0.0)):
                            pass
    except Df2RedisError:
        pass


def stable_sync(data: bytes) -> None:
    """A journal up to the commands for a target."""
    options, body = data[0], data[1:]
    caps = TARGETS[(options >> 2) % len(TARGETS)]
    decoder = JournalDecoder(0)
    commands = journal(caps, db_policy="merge-into-0", quirks=Quirks.of(RELEASES[options >> 6]))
    try:
        for piece in cut(body, options):
            decoder.receive(piece)
            while (block := timed(decoder.next_block)) is not None:
                for _ in stepped(items(commands, *block)):
                    pass
    except Df2RedisError:
        pass


def blob(data: bytes) -> None:
    """A journal inside a full sync."""
    try:
        timed(lambda: decode_blob(0, data, 0))
    except Df2RedisError:
        pass


def record(data: bytes) -> None:
    """Commands, divided by FE bytes, whose arguments are divided by FF bytes."""
    options, body = data[0], data[1:]
    caps = TARGETS[options % len(TARGETS)]
    commands = journal(
        caps,
        db_policy="merge-into-0",
        quirks=Quirks.of(RELEASES[options >> 6]),
        member_ttl="fail" if options & 32 else "drop",
    )
    entries = []
    for text in body.split(b"\xfe"):
        name, *args = text.split(b"\xff")
        if len(name) == 1:
            name = NAMES[name[0] % len(NAMES)]
        keys_of([name, *args])
        entries.append(Entry(OP_COMMAND, 0, 0, [name, *args]))
    try:
        for _ in stepped(items(commands, *entries)):
            pass
    except Df2RedisError:
        pass


def value(data: bytes) -> None:
    """A whole value: a type byte and its raw form."""
    type, raw = data[0] % 40, data[1:]
    for work in (
        lambda: decode_elements(type, raw),
        lambda: decode_stream(type, raw),
        *(lambda caps=caps: ValueWriter(caps, "drop").commands(b"k", type, raw, 0) for caps in TARGETS),  # type: ignore[misc]
    ):
        try:
            timed(work)
        except (Df2RedisError, Unrepresentable):
            pass
    try:
        for _ in stepped(in_parts(Value(0, b"k", 0, type, raw), 0)):
            pass
    except Df2RedisError:
        pass


def packed(data: bytes) -> None:
    """Packed containers and LZF texts, whose declared size is the first bytes."""
    content = data[1:]
    decoders: tuple[Callable[[bytes], object], ...] = (
        encodings.listpack,
        encodings.ziplist,
        encodings.intset,
        lambda text: lzf.decompress(text[2:], int.from_bytes(text[:2], "big")),
    )
    try:
        timed(lambda: decoders[data[0] % len(decoders)](content))
    except Df2RedisError:
        pass


HARNESSES: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (full_sync, stable_sync, blob, record, value, packed)
}


def run(name: str, data: bytes) -> None:
    """One execution."""
    if data:
        HARNESSES[name](data)
