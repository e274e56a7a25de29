"""Walking the elements of a value of any size in bounded memory.

`walk` reads one value of a container or sketch type from a source and hands its elements over in the shapes that
`records.ValuePart` documents.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, Protocol

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb import encodings
from df2redis_tui.dragonfly.rdb.lengths import ENC_LZF
from df2redis_tui.dragonfly.rdb.source import BLOCK, Source, Steps
from df2redis_tui.dragonfly.rdb.stream_values import StreamCheck
from df2redis_tui.errors import DecodeError

# Member expiry in types 31 and 32 counts seconds from 2023-02-01T00:00:00Z (Dragonfly, kMemberExpiryBase).
MEMBER_EXPIRY_BASE: Final = 1675209600
_MAX_EXPIRY_SECONDS: Final = 1 << 40

PLAIN_NODE, PACKED_NODE = 1, 2
UNPACKED_LIST: Final = 1024 * 1024  # bytes out of LZF nodes, from which a list comes in parts however short it stood
_IDS_AT_ONCE: Final = 4096
_META_MOST: Final = 64 * 1024 * 1024  # bytes of a stream's groups: 1.6 million pending entries
_DOUBLE: Final = Struct("<d")


_TOO_MANY_PENDING: Final = "a stream's groups have more pending entries than can be held"


class Sink(Protocol):
    """Takes parts while a value is walked. `limit`: stream bytes after which the next part is wanted."""

    @property
    def limit(self) -> int: ...

    def part(self, elements: list[object]) -> bool:
        """Take a part; True when the block under construction is full."""


def score_text(score: float) -> bytes:
    """A sorted-set score as Redis reads it back exactly: shortest form, `inf` and `-inf`."""
    if score != score:
        raise DecodeError("a sorted set holds the score NaN")
    text = repr(score)
    return (text[:-2] if text.endswith(".0") else text).encode()


def member_expiry(text: bytes) -> int:
    """Absolute unix milliseconds of a member expiry as types 31 and 32 store it; 0 for none (−1)."""
    try:
        seconds = int(text) if len(text) < 20 else _MAX_EXPIRY_SECONDS
    except ValueError:
        seconds = _MAX_EXPIRY_SECONDS
    if seconds == -1:
        return 0
    if not -MEMBER_EXPIRY_BASE < seconds < _MAX_EXPIRY_SECONDS:
        raise DecodeError("a member's expiry is not a time")
    return (MEMBER_EXPIRY_BASE + seconds) * 1000


def walk(src: Source, type: int, sink: Sink) -> Steps[list[object]]:
    """Read one value's payload; full parts go to `sink`, the elements not yet handed over are returned."""
    stride = _STRIDES.get(type)
    if stride is not None:
        return (yield from _walk_strings(src, stride, type, sink))
    if type == r.ZSET2:
        return (yield from _walk_zset(src, sink))
    packed = encodings.PACKED.get(type)
    if packed is not None:
        elements = packed((yield from src.string()))
        src.spend(len(elements))
        return [*elements]
    if type in (r.LIST_QUICKLIST, r.LIST_QUICKLIST2):
        return (yield from _walk_nodes(src, type, sink))
    if type in (r.STREAM1, r.STREAM3):
        return (yield from _walk_stream(src, type, sink))
    sketch = _SKETCHES.get(type)
    if sketch is None:
        raise src.fail(f"value type {type} is unknown")
    raw = _RawWalk(src, sink)
    yield from sketch(raw)
    return raw.rest()


_STRIDES: Final = {r.SET: 1, r.HASH: 2, r.HASH_TTL: 3, r.SET_TTL: 2}


def _walk_strings(src: Source, stride: int, type: int, sink: Sink) -> Steps[list[object]]:
    left = stride * (yield from src.length())
    elements: list[object] = []
    whole = True
    limit = src.tell() + sink.limit
    while left:
        data, pos = src.data, src.pos
        end = len(data)
        stop = limit - src.base
        append = elements.append
        try:
            while left and (pos < stop or left % stride):
                first = data[pos]
                if first < 64:
                    start = pos + 1
                    behind = start + first
                elif first < 128:
                    start = pos + 2
                    behind = start + ((first & 63) << 8 | data[pos + 1])
                else:
                    break
                if behind > end:
                    break
                append(data[start:behind])
                pos = behind
                left -= 1
        except IndexError:
            pass
        src.pos = pos
        if pos >= stop and left and not left % stride:
            if sink.part(_expiries(type, elements)):
                yield BLOCK
            elements = []
            whole = False
            limit = src.tell() + sink.limit
        elif left:
            elements.append((yield from src.string()))
            left -= 1
    if whole and type != r.SET:  # targets look for members of a set that are there twice
        encodings.check_different(elements[::stride])
    return _expiries(type, elements)


def _expiries(type: int, elements: list[object]) -> list[object]:
    if type == r.HASH_TTL:
        elements[2::3] = [member_expiry(text) for text in elements[2::3] if isinstance(text, bytes)]
    elif type == r.SET_TTL:
        elements[1::2] = [member_expiry(text) for text in elements[1::2] if isinstance(text, bytes)]
    return elements


def _walk_zset(src: Source, sink: Sink) -> Steps[list[object]]:
    left = yield from src.length()
    elements: list[object] = []
    limit = src.tell() + sink.limit
    unpack = _DOUBLE.unpack
    while left:
        elements.append((yield from src.string()))
        elements.append(score_text(unpack((yield from src.take(8)))[0]))
        left -= 1
        if left and src.tell() >= limit:
            if sink.part(elements):
                yield BLOCK
            elements = []
            limit = src.tell() + sink.limit
    return elements


def _walk_nodes(src: Source, type: int, sink: Sink) -> Steps[list[object]]:
    left = yield from src.length()
    unpacked = 0
    elements: list[object] = []
    limit = src.tell() + sink.limit
    while left:
        container = PACKED_NODE if type == r.LIST_QUICKLIST else (yield from src.length())
        if src.pos >= len(src.data):
            yield from src.need(1)
        compressed = src.data[src.pos] == ENC_LZF
        node = yield from src.string()
        if compressed:
            unpacked += len(node)
        before = len(elements)
        if type == r.LIST_QUICKLIST:
            elements += encodings.ziplist(node)
        elif container == PACKED_NODE:
            elements += encodings.listpack(node)
        elif container == PLAIN_NODE:
            elements.append(node)
        else:
            raise src.fail(f"a list node has the unknown container {container}")
        src.spend(len(elements) - before)
        left -= 1
        if (left and src.tell() >= limit) or unpacked > UNPACKED_LIST:
            if sink.part(elements):
                yield BLOCK
            elements = []
            unpacked = 0
            limit = src.tell() + sink.limit
    return elements


def _walk_stream(src: Source, type: int, sink: Sink) -> Steps[list[object]]:
    left = yield from src.length()
    check = StreamCheck()
    elements: list[object] = []
    limit = src.tell() + sink.limit
    while left:
        master = yield from src.string()
        if len(master) != 16:
            raise src.fail(f"a stream node has an id of {len(master)} bytes")
        listpack = yield from src.string()
        node = r.StreamNode(int.from_bytes(master[:8], "big"), int.from_bytes(master[8:], "big"), listpack)
        src.spend(check.node(node))
        elements.append(node)
        left -= 1
        if src.tell() >= limit:
            if sink.part(elements):
                yield BLOCK
            elements = []
            limit = src.tell() + sink.limit
    tape = src.start_tape()
    yield from _walk_stream_meta(src, type, tape.begin + min(_META_MOST, src.held_most), check)
    elements.append(r.StreamMeta(type, src.stop_tape(tape)))
    return elements


def _walk_stream_meta(src: Source, type: int, most: int, check: StreamCheck) -> Steps[None]:
    newer = type == r.STREAM3
    length = yield from src.length()
    check.described(length, ((yield from src.length()), (yield from src.length())))
    for _ in range(5 if newer else 0):
        yield from src.length()
    for _ in range((yield from src.length())):
        check.group((yield from src.string()))
        for _ in range(3 if newer else 2):
            yield from src.length()
        for _ in range((yield from src.length())):
            check.pending((yield from src.take(24)))
            yield from src.length()
            if src.tell() > most:
                raise src.fail(_TOO_MANY_PENDING)
        for _ in range((yield from src.length())):
            check.consumer((yield from src.string()))
            yield from src.skip(16 if newer else 8)
            left = yield from src.length()
            if src.tell() + 16 * left > most:
                raise src.fail(_TOO_MANY_PENDING)
            while left:
                ids = yield from src.take(16 * min(left, _IDS_AT_ONCE))
                check.owned(ids)
                left -= len(ids) // 16
                src.spend(len(ids) // 16)
        check.group_ends()
        if src.tell() > most:
            raise src.fail(_TOO_MANY_PENDING)


class _RawWalk:
    """Passes over a sketch's fields (protocol page §3.5) and gives its bytes as they stood, in pieces."""

    def __init__(self, src: Source, sink: Sink) -> None:
        self._src = src
        self._sink = sink
        self._tape = src.start_tape()
        self._limit = src.tell() + sink.limit + 1

    def rest(self) -> list[object]:
        last = self._src.stop_tape(self._tape)
        return [last] if last else []

    def length(self) -> Steps[int]:
        return (yield from self._src.length())

    def skip(self, count: int) -> Steps[None]:
        src = self._src
        while count:
            step = min(count, max(1, self._limit - src.tell()))
            yield from src.skip(step)
            count -= step
            if src.tell() >= self._limit:
                yield from self._cut()

    def string(self) -> Steps[int]:
        """Pass a STR; the bytes it decodes to."""
        src = self._src
        if src.pos >= len(src.data):
            yield from src.need(1)
        if src.data[src.pos] < 0xC0:
            size = yield from src.length()
            yield from self.skip(size)
            return size
        return len((yield from src.special_string()))

    def chunks(self) -> Steps[None]:
        """LEN total, then STR chunks until it is reached."""
        total = yield from self.length()
        while total > 0:
            size = yield from self.string()
            if not size:
                raise self._src.fail("a sketch has an empty chunk")
            total -= size
        if total:
            raise self._src.fail("a sketch's chunks exceed its declared size")

    def _cut(self) -> Steps[None]:
        src = self._src
        if self._sink.part([src.stop_tape(self._tape)]):
            yield BLOCK
        self._tape = src.start_tape()
        self._limit = src.tell() + self._sink.limit


def _bloom(raw: _RawWalk) -> Steps[None]:
    yield from _bloom_header(raw)
    for _ in range((yield from raw.length())):
        yield from raw.length()
        yield from raw.string()


def _bloom2(raw: _RawWalk) -> Steps[None]:
    yield from _bloom_header(raw)
    for _ in range((yield from raw.length())):
        yield from raw.length()
        yield from raw.chunks()


def _bloom_header(raw: _RawWalk) -> Steps[None]:
    yield from raw.length()
    yield from raw.skip(16)
    for _ in range(3):
        yield from raw.length()


def _cms(raw: _RawWalk) -> Steps[None]:
    width = yield from raw.length()
    depth = yield from raw.length()
    yield from raw.length()
    yield from raw.skip(8 * width * depth)


def _topk(raw: _RawWalk) -> Steps[None]:
    for _ in range(4):
        yield from raw.length()
    yield from raw.skip(8)
    for _ in range((yield from raw.length())):
        yield from raw.string()
        yield from raw.length()
    yield from raw.skip((yield from raw.length()))


def _cuckoo(raw: _RawWalk) -> Steps[None]:
    for _ in range(6):
        yield from raw.length()
    for _ in range((yield from raw.length())):
        yield from raw.chunks()


_SKETCHES: Final[dict[int, Callable[[_RawWalk], Steps[None]]]] = {
    r.BLOOM: _bloom,
    r.BLOOM2: _bloom2,
    r.CMS: _cms,
    r.TOPK: _topk,
    r.CUCKOO: _cuckoo,
}

WALKED: Final = frozenset(
    {*_STRIDES, *encodings.PACKED, *_SKETCHES, r.ZSET2, r.LIST_QUICKLIST, r.LIST_QUICKLIST2, r.STREAM1, r.STREAM3}
)
