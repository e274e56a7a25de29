"""The full-sync byte stream of one FLOW, decoded without any IO (protocol page §3).

    decoder.receive(data)                      # as read from the socket, any split
    while (block := decoder.next_block()):     # None: more bytes are needed
        ...

Records come in stream order and as early as possible. Whole strings and small values pass a tight loop
(`_take_entries`); everything else, and every entry that is cut by the end of what has arrived, is read by generators
that go on where they stopped. Compressed blobs are sources of their own, read with the same state; each open tagged
chunk id (opcode 224) has its own source and its own suspended reader.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from df2redis_tui.dragonfly.journal import decode_blob
from df2redis_tui.dragonfly.rdb.blobs import LZ4, ZSTD, BlobSource
from df2redis_tui.dragonfly.rdb.entry import ENTRY_TYPES, MAX_EXPIRE_MS, PREFIXES, Outlet, read_entry
from df2redis_tui.dragonfly.rdb.lengths import check_string_length
from df2redis_tui.dragonfly.rdb.search import skip_key_map, skip_vector_index
from df2redis_tui.dragonfly.rdb.skips import SKIPS
from df2redis_tui.dragonfly.rdb.source import BLOCK, Source, Steps
from df2redis_tui.dragonfly.records import (
    Aux,
    Blob,
    FullSyncEnd,
    JournalOffset,
    SnapshotRecord,
    StreamEnd,
    Strings,
    Value,
)
from df2redis_tui.errors import DecodeError, SourceError, SourceLost, printable

FULLSYNC_END, BLOB_END, JOURNAL_BLOB, JOURNAL_OFFSET = 200, 203, 210, 211
VECTOR_INDEX, KEY_MAP, TAGGED_CHUNK = 222, 223, 224
SLOT_INFO, FUNCTION, MODULE_AUX, AUX, RESIZEDB, SELECTDB, EOF = 244, 245, 247, 250, 251, 254, 255

_HEADER_BYTES: Final = 9
_MAX_DB: Final = 1 << 31
# A server has a handful open; each costs a suspended reader, so a hostile stream can't open them without bound.
_MAX_OPEN_IDS: Final = 16384
_MAX_RUN: Final = 8192
_HOT_STRING: Final = 16384
_CHUNK_STEP: Final = 64 * 1024

_CHUNK_HEADER: Final = Struct("<II")
_INT8_TEXT: Final = tuple(b"%d" % (n if n < 128 else n - 256) for n in range(256))


class SnapshotDecoder:
    """Full-sync bytes of one FLOW in, blocks of records out.

    `token`: the eof token of the reply to DFLY FLOW; the stream must end with it. `small_limit`: values of more bytes
    come in parts of about `part_bytes`. `block_bytes`: about how much content a block holds; only one element that is
    itself bigger can exceed it. `df_version`: (major, minor) of the server, for the one opcode (222) whose layout
    depends on it; without it the AUX field `df-ver` decides.

    Malformed input raises DecodeError (with flow and offset) from `next_block`, after all records in front of it have
    been delivered; the decoder is dead then and raises the same again.
    """

    def __init__(
        self,
        flow: int,
        token: bytes,
        *,
        small_limit: int = 256 * 1024,
        part_bytes: int = 128 * 1024,
        block_bytes: int = 512 * 1024,
        df_version: tuple[int, int] | None = None,
    ) -> None:
        self.finished = False
        self._flow = flow
        self._token = token
        self._df_version = df_version
        self._outlet = Outlet(small_limit, part_bytes, block_bytes)
        self._source = Source()
        self._db = 0
        self._open: dict[int, tuple[Source, Steps[None]]] = {}
        self._steps = self._run()
        self._waiting = False
        self._ended = False
        self._error: SourceError | None = None

    @property
    def offset(self) -> int:
        """Bytes consumed since the stream began (inside a compressed blob: of its compressed form)."""
        return self._source.tell()

    @property
    def leftover(self) -> bytes:
        """What was received behind the token, once `finished`: the raw journal's first bytes."""
        if not self.finished:
            return b""
        source = self._source
        if source.available() > len(source.data) - source.pos:
            for _ in source.need(source.available()):
                raise AssertionError("bytes that are there are never waited for")
        return source.data[source.pos :]

    def receive(self, data: bytes) -> None:
        """Hand over bytes as they were read."""
        self._source.add(data)

    def next_block(self) -> list[SnapshotRecord] | None:
        """The next records in stream order, or None when more bytes are needed or the stream is finished."""
        if not self._ended and self._error is None and not self._starved():
            try:
                self._waiting = next(self._steps) != BLOCK
            except StopIteration:
                self._ended = True
            except DecodeError as error:
                context = error.context or self._source.data[self._source.pos : self._source.pos + 16]
                self._error = DecodeError(error.reason, flow=self._flow, offset=self.offset, context=context)
            except SourceError as error:
                self._error = error
        records = self._outlet.take()
        if records is None and self._error is not None:
            raise self._error
        if self._ended:
            self.finished = True
        return records

    def _starved(self) -> bool:
        return self._waiting and self._source.available() < self._source.wanted

    def _run(self) -> Steps[None]:
        src = self._source
        if (yield from src.take(1)) == b"-":
            src.pos -= 1
            text = printable(src.data.splitlines()[0])
            raise SourceLost(f"FLOW {self._flow}: the source answered: {text}")
        src.pos -= 1
        header = yield from src.take(_HEADER_BYTES)
        if not header.startswith(b"REDIS") or not header[5:].isdigit():
            src.pos -= _HEADER_BYTES
            raise src.fail("the stream does not begin like an RDB")
        yield from self._items(src, in_blob=False)

    def _items(self, src: Source, *, in_blob: bool) -> Steps[None]:
        """Read items until EOF, or until the blob `src` is used up."""
        outlet = self._outlet
        while True:
            self._take_entries(src)
            if outlet.full():
                yield BLOCK
            elif src.pos < len(src.data):
                op = src.data[src.pos]
                src.pos += 1
                if op in ENTRY_TYPES or op in PREFIXES:
                    yield from read_entry(src, op, self._db, outlet)
                elif op == EOF and not in_blob:
                    yield from self._end(src)
                    return
                else:
                    yield from self._item(src, op, in_blob)
            elif not in_blob:
                yield from src.need(1)
            elif isinstance(src, BlobSource) and (yield from src.ended()):
                return

    def _take_entries(self, src: Source) -> None:
        """The hot path: consume plain entries that are all there. What it does not take, the generators read."""
        outlet = self._outlet
        small = outlet.small_limit
        if small < _HOT_STRING:
            return
        data, pos, db = src.data, src.pos, self._db
        begin, end = pos, len(data)
        stop = pos + outlet.block_bytes - outlet.size
        records = outlet.records
        last = records[-1] if records else None
        append = last.items.append if isinstance(last, Strings) and last.db == db else None
        from_bytes = int.from_bytes
        skips = SKIPS
        int8_text = _INT8_TEXT
        try:
            for _ in range(_MAX_RUN):
                if pos >= stop:
                    break
                op = data[pos]
                at = pos + 1
                expire = 0
                if op == 252:
                    op = data[pos + 9]
                    expire = from_bytes(data[at : pos + 9], "little")
                    if not 0 < expire < MAX_EXPIRE_MS:
                        break
                    at = pos + 10
                skip = None
                if op:
                    skip = skips[op]
                    if skip is None:
                        break
                first = data[at]
                if first < 64:
                    at += 1
                    behind = at + first
                    key = data[at:behind]
                elif first < 128:
                    behind = at + 2 + ((first & 63) << 8 | data[at + 1])
                    key = data[at + 2 : behind]
                elif first == 0xC0:
                    behind = at + 2
                    key = int8_text[data[at + 1]]
                elif first == 0xC1 or first == 0xC2:
                    behind = at + (3 if first == 0xC1 else 5)
                    key = b"%d" % from_bytes(data[at + 1 : behind], "little", signed=True)
                else:
                    break
                if skip is not None:
                    at = skip(data, behind)
                    if at > end or at - behind > small:
                        break
                    records.append(Value(db, key, expire, op, data[behind:at]))
                    append = None
                    pos = at
                    continue
                first = data[behind]
                if first < 64:
                    behind += 1
                    at = behind + first
                    value = data[behind:at]
                elif first < 128:
                    at = behind + 2 + ((first & 63) << 8 | data[behind + 1])
                    value = data[behind + 2 : at]
                elif first == 0xC0:
                    at = behind + 2
                    value = int8_text[data[behind + 1]]
                elif first == 0xC1 or first == 0xC2:
                    at = behind + (3 if first == 0xC1 else 5)
                    value = b"%d" % from_bytes(data[behind + 1 : at], "little", signed=True)
                else:
                    break
                if at > end:
                    break
                if append is None:
                    items: list[tuple[bytes, bytes, int]] = []
                    records.append(Strings(db, items))
                    append = items.append
                append((key, value, expire))
                pos = at
        except IndexError:
            pass
        src.pos = pos
        outlet.size += pos - begin

    def _item(self, src: Source, op: int, in_blob: bool) -> Steps[None]:
        outlet = self._outlet
        if op == TAGGED_CHUNK:
            yield from self._chunk(src)
        elif op == JOURNAL_BLOB:
            yield from src.length()
            content = yield from src.string()
            outlet.put(Blob(decode_blob(self._flow, content, self.offset)), len(content))
        elif op in (LZ4, ZSTD) and not in_blob:
            left = check_string_length((yield from src.length()))
            yield from self._items(BlobSource(src, op, left), in_blob=True)
        elif op == SELECTDB:
            db = yield from src.length()
            if db >= _MAX_DB:
                raise src.fail(f"database number {db:,}")
            self._db = db
        elif op == AUX:
            key = yield from src.string()
            value = yield from src.string()
            if key == b"df-ver" and self._df_version is None:
                self._df_version = _version(value)
            outlet.put(Aux(key, value), len(key) + len(value))
        elif op == FULLSYNC_END:
            yield from src.take(8)
            outlet.put(FullSyncEnd(), 0)
        elif op == JOURNAL_OFFSET:
            outlet.put(JournalOffset(int.from_bytes((yield from src.take(8)), "little")), 0)
        elif op == BLOB_END:
            pass
        elif op == RESIZEDB:
            for _ in range(2):
                yield from src.length()
        elif op == SLOT_INFO:
            for _ in range(3):
                yield from src.length()
        elif op == FUNCTION:
            yield from src.string()
        elif op == MODULE_AUX:
            yield from _skip_module_aux(src)
        elif op == KEY_MAP:
            yield from skip_key_map(src)
        elif op == VECTOR_INDEX:
            yield from skip_vector_index(src, self._df_version)
        else:
            src.pos -= 1
            raise src.fail(f"{op} is no value type or opcode that may stand here")

    def _chunk(self, src: Source) -> Steps[None]:
        """E0 u32le stream id, u32le payload length, payload: a piece of one value (§3.7)."""
        id, left = _CHUNK_HEADER.unpack((yield from src.take(8)))
        if not id or not left:
            raise src.fail("a tagged chunk has the id or the length 0")
        if id not in self._open:
            if len(self._open) >= _MAX_OPEN_IDS:
                raise src.fail(f"more than {_MAX_OPEN_IDS:,} values are open in tagged chunks")
            begun = Source()
            self._open[id] = begun, self._tagged_entry(begun, self._db)
        chunk, steps = self._open[id]
        while left:
            # Not what happens to be there, so that an error is met at the same place however the stream is cut.
            piece = yield from src.take(min(left, _CHUNK_STEP))
            left -= len(piece)
            chunk.add(piece)
            try:
                while next(steps) == BLOCK:
                    yield BLOCK
            except StopIteration:
                del self._open[id]
                if left or chunk.available():
                    raise src.fail("a tagged chunk goes on behind the end of its value") from None

    def _tagged_entry(self, chunk: Source, db: int) -> Steps[None]:
        op = yield from chunk.byte()
        yield from read_entry(chunk, op, db, self._outlet)

    def _end(self, src: Source) -> Steps[None]:
        if self._open:
            raise src.fail(f"the full sync ends with {len(self._open)} values unfinished in tagged chunks")
        yield from src.take(8)
        token = yield from src.take(len(self._token))
        if token != self._token:
            raise src.fail("the full sync ends with another token than DFLY FLOW announced")
        self._outlet.put(StreamEnd(token), 0)


def _version(text: bytes) -> tuple[int, int] | None:
    """(major, minor) of `df-v1.40.1` or `1.40.1`."""
    parts = text.removeprefix(b"df-").removeprefix(b"v").split(b".")
    if len(parts) >= 2 and parts[0].isdigit() and parts[1].isdigit():
        return int(parts[0]), int(parts[1])
    return None


def _skip_module_aux(src: Source) -> Steps[None]:
    """Module id, then typed fields up to a 0 (Redis rdb.h, RDB_MODULE_OPCODE_*)."""
    yield from src.length()
    while field := (yield from src.length()):
        if field in (1, 2):
            yield from src.length()
        elif field in (3, 4):
            yield from src.skip(4 if field == 3 else 8)
        elif field == 5:
            yield from src.string()
        else:
            raise src.fail("a module's AUX field has an unknown type")
