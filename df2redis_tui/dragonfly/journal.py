"""The journal of one FLOW, decoded without any IO: stable sync, and the blobs inside a full sync (protocol page §4).

Records that are all there pass a tight loop; one that is cut is read on by a generator, argument by argument.
SELECT is folded into the entries behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from df2redis_tui.dragonfly.rdb.lengths import check_string_length
from df2redis_tui.dragonfly.rdb.source import BLOCK, Held, Source, Steps
from df2redis_tui.dragonfly.records import (
    LARGE,
    OP_COMMAND,
    OP_EXEC,
    OP_EXPIRED,
    OP_FIN,
    OP_LARGE,
    OP_LSN,
    OP_MULTI,
    OP_PING,
    OP_SELECT,
    Entry,
)
from df2redis_tui.errors import DecodeError, SourceError, SourceLost, printable

# Rewritten by the server (SUNIONSTORE to SADD), a command may have more of them than any client can send.
ARGUMENTS_MOST: Final = 1 << 24
_BLOB_PART: Final = 512 * 1024  # bytes
_MAX_DB: Final = 1 << 31
_MAX_ERROR_TEXT: Final = 512
_MAX_RUN: Final = 8192
_ERROR_TEXT: Final = 0x2D


class JournalDecoder:
    """Journal bytes of one FLOW in, blocks of entries out. `db`: the database until the first SELECT.

    Malformed input raises DecodeError (with flow and offset) from `next_block`, after all entries in front of it have
    been delivered; an error text of the server in place of a record raises SourceLost. Both are final.
    """

    def __init__(self, flow: int, *, db: int = 0) -> None:
        self._flow = flow
        self._db = db
        self._source = Source()
        self._entries: list[Entry] = []
        self._limit = 0
        self._taken_at = 0
        self._steps = self._run()
        self._waiting = False
        self._error: SourceError | None = None

    @property
    def offset(self) -> int:
        """Bytes consumed since the journal began."""
        return self._source.tell()

    def receive(self, data: bytes) -> None:
        """Hand over bytes as they were read."""
        self._source.add(data)

    def next_block(self, limit_bytes: int = 512 * 1024) -> list[Entry] | None:
        """The next entries, of about `limit_bytes` together, or None when more bytes are needed. An empty block: much
        was read that gave no entry yet, and there is more."""
        self._limit = limit_bytes
        if self._error is None and not (self._waiting and self._source.available() < self._source.wanted):
            try:
                self._waiting = next(self._steps) != BLOCK
            except DecodeError as error:
                self._error = DecodeError(error.reason, flow=self._flow, offset=self.offset, context=error.context)
            except SourceError as error:
                self._error = error
        if self._entries:
            entries, self._entries = self._entries, []
            self._taken_at = self.offset
            return entries
        if self._error is not None:
            raise self._error
        return None if self._waiting else []

    def _run(self) -> Steps[None]:
        src = self._source
        while True:
            if self._full():
                yield BLOCK
            limit = self._taken_at + self._limit - src.tell()
            self._db, wanted = _take_records(src, self._entries, self._db, limit)
            if wanted or src.pos >= len(src.data):
                yield from src.need(wanted or 1)
                continue
            if self._full():
                continue
            if src.data[src.pos] == _ERROR_TEXT:
                yield from self._error_text(src)
            self._db, entry = yield from _read_record(src, self._db)
            if entry is not None:
                self._entries.append(entry)

    def _full(self) -> bool:
        if not self._entries:
            return False
        return self.offset - self._taken_at >= self._limit or len(self._entries) >= _MAX_RUN

    def _error_text(self, src: Source) -> Steps[None]:
        while src.available() < _MAX_ERROR_TEXT and b"\n" not in src.data[src.pos :]:
            yield from src.need(src.available() + 1)
        text = src.data[src.pos :].split(b"\n", 1)[0].strip()
        raise SourceLost(f"FLOW {self._flow}: the source ended the session: {printable(text)}")


def read_blob(
    flow: int, data: bytes, offset: int, arguments_most: int = ARGUMENTS_MOST
) -> Iterator[tuple[list[Entry], int]]:
    """The records of an opcode-210 blob, some at a time and how many bytes they took; it must be used up exactly.

    None among them: others should have a turn. `offset` is where the blob stands, for errors.
    """
    src = Held(data)
    entries: list[Entry] = []
    db = begin = 0
    try:
        while src.pos < len(data):
            db, _ = _take_records(src, entries, db, _BLOB_PART)
            if src.pos < len(data):
                steps = _read_record(src, db, arguments_most)
                try:
                    while True:
                        next(steps)
                        yield [], 0
                except StopIteration as done:
                    db, entry = done.value
                    if entry is not None:
                        entries.append(entry)
            if len(entries) >= _MAX_RUN or (entries and src.pos - begin >= _BLOB_PART):
                yield entries, src.pos - begin
                entries, begin = [], src.pos
    except DecodeError as error:
        reason = f"journal blob: {error.reason}"
        raise DecodeError(reason, flow=flow, offset=offset, context=error.context) from None
    if entries:
        yield entries, src.pos - begin


def decode_blob(flow: int, data: bytes, offset: int) -> list[Entry]:
    """All records of a blob."""
    return [entry for entries, _ in read_blob(flow, data, offset) for entry in entries]


def _take_records(src: Source, entries: list[Entry], db: int, limit: int) -> tuple[int, int]:
    """The hot path: consume whole records with short fields.

    Gives the database then current, and how many bytes the next record needs at least; 0 if that is not known or if
    the record is not of the kind that is read here.
    """
    data, pos = src.data, src.pos
    end = len(data)
    stop = pos + limit
    wanted = 0
    append = entries.append
    new = tuple.__new__
    try:
        for _ in range(_MAX_RUN):
            if pos >= stop:
                break
            at = pos
            op = data[at]
            chosen = db
            if op == OP_SELECT:
                chosen = data[at + 1]
                if chosen > 63:
                    break
                op = data[at + 2]
                at += 2
            if op != OP_COMMAND and op != OP_MULTI and op != OP_EXPIRED:
                break
            txid = data[at + 1]
            if txid < 64:
                at += 2
            elif txid < 128:
                txid = (txid & 63) << 8 | data[at + 2]
                at += 3
            elif txid == 0x80:
                txid = int.from_bytes(data[at + 2 : at + 6], "big")
                at += 6
            else:
                break
            if data[at] > 63:
                break
            argc = data[at + 1]
            if argc > 63:
                break
            total = data[at + 2]
            at += 3
            if total < 64:
                pass
            elif total < 128:
                total = (total & 63) << 8 | data[at]
                at += 1
            else:
                break
            # The lengths of the arguments must add up to `total`, so the record's end is known in advance.
            behind = at + argc + total
            if behind > end:
                wanted = behind - pos
                break
            args: list[bytes] = []
            add = args.append
            for _ in range(argc):
                size = data[at]
                at += 1
                if size > 63:
                    if size > 127:
                        break
                    size = (size & 63) << 8 | data[at]
                    at += 1
                    behind += 1
                add(data[at : at + size])
                at += size
            if at != behind or len(args) != argc or not argc:
                break
            if at > end:
                wanted = at - pos
                break
            append(new(Entry, (op, chosen, txid, args)))
            db = chosen
            pos = at
    except IndexError:
        if pos < end:
            wanted = end - pos + 1
    src.pos = pos
    return db, wanted


def _read_record(src: Source, db: int, arguments_most: int = ARGUMENTS_MOST) -> Steps[tuple[int, Entry | None]]:
    """Read one record of any kind, however it arrives: the database then current, and the entry unless a SELECT."""
    op = yield from src.byte()
    if op == OP_SELECT:
        db = yield from src.length()
        if db >= _MAX_DB:
            raise src.fail(f"database number {db:,}")
        return db, None
    if op in (OP_COMMAND, OP_MULTI, OP_EXPIRED):
        txid = yield from src.length()
        yield from src.length()
        args = yield from _read_args(src, arguments_most)
        return db, Entry(OP_LARGE if max(map(len, args)) > LARGE else op, db, txid, args)
    if op == OP_EXEC:
        txid = yield from src.length()
        yield from src.length()
        return db, Entry(op, db, txid, [])
    if op == OP_LSN:
        return db, Entry(op, db, (yield from src.length()), [])
    if op in (OP_PING, OP_FIN):
        return db, Entry(op, db, 0, [])
    src.pos -= 1
    raise src.fail(f"{op} is no journal opcode")


def _read_args(src: Source, most: int) -> Steps[list[bytes]]:
    argc = yield from src.length()
    total = check_string_length((yield from src.length()))
    if not argc:
        raise src.fail("a journal command has no name")
    if argc > most:
        raise src.fail(f"a journal command declares {argc:,} arguments where {most:,} are the most")
    left = total
    args: list[bytes] = []
    for _ in range(argc):
        size = check_string_length((yield from src.length()))
        left -= size
        if left < 0:
            raise src.fail(f"the arguments of a journal command exceed their declared {total:,} bytes")
        args.append((yield from src.take(size) if size <= LARGE else src.take_large(size)))
    if left:
        raise src.fail(f"the arguments of a journal command fall {left:,} bytes short of their declared {total:,}")
    return args
