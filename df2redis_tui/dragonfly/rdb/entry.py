"""Reading one keyed entry, `[FC…] [DC…] type key value`, and turning its value into records of bounded size."""

from __future__ import annotations

from typing import Final

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb.lengths import ENC_LZF, INT_WIDTH, check_string_length
from df2redis_tui.dragonfly.rdb.source import BLOCK, PackedText, Source, Steps
from df2redis_tui.dragonfly.rdb.walk import WALKED, walk
from df2redis_tui.errors import DecodeError, printable

IDLE, FREQ, EXPIRETIME_MS, EXPIRETIME, DF_MASK = 248, 249, 252, 253, 220
PREFIXES: Final = frozenset({IDLE, FREQ, EXPIRETIME_MS, EXPIRETIME, DF_MASK})
ENTRY_TYPES: Final = WALKED | {r.STRING, r.JSON, r.JSON_OLD}

# Beyond the year 140,000: no server means it.
MAX_EXPIRE_MS: Final = 1 << 52

RECORD_OVERHEAD: Final = 64  # bytes that a record counts besides its content
ELEMENT_OVERHEAD: Final = 16  # the same of an element of a big value
LEAST_ENTRY: Final = 32  # bytes that an entry counts at least

_MASK_MEMCACHED: Final = 2


class Outlet:
    """Collects records until `block_bytes` of content are together."""

    __slots__ = ("_last_id", "block_bytes", "part_bytes", "records", "size", "small_limit")

    def __init__(self, small_limit: int, part_bytes: int, block_bytes: int) -> None:
        self.small_limit = small_limit
        self.part_bytes = part_bytes
        self.block_bytes = block_bytes
        self.records: list[r.SnapshotRecord] = []
        self.size = 0
        self._last_id = 0

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def put(self, record: r.SnapshotRecord, size: int) -> None:
        self.records.append(record)
        self.size += size + RECORD_OVERHEAD

    def put_string(self, db: int, key: bytes, value: bytes, expire_ms: int) -> None:
        last = self.records[-1] if self.records else None
        if isinstance(last, r.Strings) and last.db == db:
            last.items.append((key, value, expire_ms))
        else:
            self.records.append(r.Strings(db, [(key, value, expire_ms)]))
        self.size += max(len(key) + len(value), LEAST_ENTRY)

    def full(self) -> bool:
        return self.size >= self.block_bytes

    def take(self) -> list[r.SnapshotRecord] | None:
        if not self.records:
            return None
        records, self.records, self.size = self.records, [], 0
        return records


class _BigValue:
    """The parts of one value, once it proves too big to be delivered whole: of more than `small` bytes."""

    __slots__ = ("_db", "_expire_ms", "_id", "_key", "_outlet", "_part", "_src", "_tape", "limit", "type")

    def __init__(self, outlet: Outlet, small: int, src: Source, db: int, key: bytes, expire_ms: int, type: int) -> None:
        self._outlet = outlet
        self._part = min(small, outlet.part_bytes)
        self._src = src
        self._tape = src.start_tape()
        self._db = db
        self._key = key
        self._expire_ms = expire_ms
        self.type = type
        self._id = 0
        self.limit = small

    def whole(self) -> bytes | None:
        """The value as it stood, if it is complete and small."""
        if self._id or self._src.tell() - self._tape.begin > self.limit:
            return None
        return self._src.stop_tape(self._tape)

    def forget(self) -> None:
        """Stop keeping the bytes as they stood."""
        self._src.drop_tape(self._tape)

    def start(self) -> None:
        self.forget()
        outlet = self._outlet
        self._id = outlet.next_id()
        self.limit = self._part
        outlet.put(r.ValueStart(self._id, self._db, self._key, self._expire_ms, self.type), len(self._key))

    def part(self, elements: list[object]) -> bool:
        if not self._id:
            self.start()
        outlet = self._outlet
        size = sum(map(_size, elements))
        if size <= 2 * outlet.part_bytes:
            if elements:
                outlet.put(r.ValuePart(self._id, elements), size)
            return outlet.full()
        group = _GROUP.get(self.type, 1)
        begin = size = 0
        for at in range(0, len(elements), group):
            size += sum(map(_size, elements[at : at + group]))
            if size >= outlet.part_bytes:
                outlet.put(r.ValuePart(self._id, elements[begin : at + group]), size)
                begin, size = at + group, 0
        if begin < len(elements):
            outlet.put(r.ValuePart(self._id, elements[begin:]), size)
        return outlet.full()

    def end(self) -> None:
        self._outlet.put(r.ValueEnd(self._id), 0)


# How many elements of a part belong together.
_GROUP: Final = {
    r.HASH: 2, r.HASH_ZIPLIST: 2, r.HASH_LISTPACK: 2, r.HASH_TTL: 3, r.SET_TTL: 2,
    r.ZSET2: 2, r.ZSET_ZIPLIST: 2, r.ZSET_LISTPACK: 2,
}  # fmt: skip


def _size(element: object) -> int:
    if isinstance(element, bytes):
        return len(element) + ELEMENT_OVERHEAD
    if isinstance(element, r.StreamNode):
        return len(element.listpack) + 2 * ELEMENT_OVERHEAD
    if isinstance(element, r.StreamMeta):
        return len(element.raw)
    return ELEMENT_OVERHEAD


def read_entry(src: Source, op: int, db: int, outlet: Outlet, small: int) -> Steps[None]:
    """Read an entry whose first byte `op` (a prefix or a type) has been consumed; of more than `small` bytes its value
    comes in parts."""
    expire_ms = 0
    while op in PREFIXES:
        if op == EXPIRETIME_MS:
            expire_ms = _expiry(src, int.from_bytes((yield from src.take(8)), "little"))
        elif op == EXPIRETIME:
            expire_ms = _expiry(src, int.from_bytes((yield from src.take(4)), "little") * 1000)
        elif op == DF_MASK:
            if int.from_bytes((yield from src.take(4)), "little") & _MASK_MEMCACHED:
                yield from src.take(4)
        elif op == IDLE:
            yield from src.length()
        else:
            yield from src.take(1)
        op = yield from src.byte()
    if op not in ENTRY_TYPES:
        src.pos -= 1
        raise src.fail(f"{op} is no value type or opcode that may stand here")
    key = yield from src.string()
    try:
        yield from _read_value(src, op, db, key, expire_ms, outlet, small)
    except DecodeError as error:
        raise DecodeError(f"{error.reason}, in the {r.KIND[op]} {printable(key)}", context=error.context) from None


def _read_value(src: Source, op: int, db: int, key: bytes, expire_ms: int, outlet: Outlet, small: int) -> Steps[None]:
    value = _BigValue(outlet, small, src, db, key, expire_ms, op)
    if op == r.STRING:
        text = yield from _read_text(src, value)
        if text is not None:
            value.forget()
            outlet.put_string(db, key, text, expire_ms)
        return
    if op in (r.JSON, r.JSON_OLD):
        rest: list[object] = [(yield from _read_text(src, value))]
        if rest == [None]:
            return
    else:
        rest = yield from walk(src, op, value)
    raw = value.whole()
    if raw is not None:
        outlet.put(r.Value(db, key, expire_ms, op, raw), len(key) + len(raw))
    else:
        value.part(rest)
        value.end()


def _expiry(src: Source, expire_ms: int) -> int:
    """0 means none in the records, so an expiry at the epoch becomes 1 ms behind it: as long past."""
    if expire_ms >= MAX_EXPIRE_MS:
        raise src.fail(f"an expiry of {expire_ms:,} ms is no time")
    return max(expire_ms, 1)


def _read_text(src: Source, value: _BigValue) -> Steps[bytes | None]:
    """The decoded text of a string or JSON; None if it was too big and has been delivered in pieces."""
    if src.pos >= len(src.data):
        yield from src.need(1)
    begin, first = src.tell(), src.data[src.pos]
    if first == ENC_LZF:
        left, size = yield from src.lzf_lengths()
        # Of a JSON text its raw form counts, as everywhere where a value is passed on as it stands.
        if (size if value.type == r.STRING else src.tell() - begin + left) <= value.limit:
            return (yield from src.unpacked(left, size))
        value.start()
        packed = PackedText(src, left, size)
        while text := (yield from packed.piece()):
            for at in range(0, len(text), value.limit):
                if value.part([text[at : at + value.limit]]):
                    yield BLOCK
    elif first > ENC_LZF or first in INT_WIDTH:
        return (yield from src.special_string())
    else:
        left = check_string_length((yield from src.length()))
        if src.tell() - begin + left <= value.limit:
            return (yield from src.take(left))
        value.start()
        while left:
            piece = yield from src.take(min(left, value.limit))
            left -= len(piece)
            if value.part([piece]):
                yield BLOCK
    value.end()
    return None
