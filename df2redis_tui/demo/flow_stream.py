"""What one FLOW of a session sends: RDB items, blobs, tagged chunks, journal blobs, then the raw journal (§3, §4)."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final

from df2redis_tui.demo import encode_rdb as rdb
from df2redis_tui.demo.encode_journal import lsn as lsn_record
from df2redis_tui.demo.release import Release
from df2redis_tui.demo.shards import Shard
from df2redis_tui.demo.valkey_dump import pieces

Key = tuple[int, bytes]

_FLUSH_AT: Final = 32 * 1024  # bytes of items that become one blob
_SMALLEST_BLOB: Final = 256
_OPEN_VALUES: Final = 2  # big values whose chunks may be interleaved
_LSN_INTERVAL: Final = 4.0  # seconds


class Mode(Enum):
    """`PREPARATION` nothing is sent; `FULL` RDB with journal blobs; `STABLE` the raw journal; `ENDED` closed."""

    PREPARATION = "preparation"
    FULL = "full_sync"
    STABLE = "stable_sync"
    ENDED = "cancelled"


class FlowStream:
    """One FLOW connection. Everything is synchronous; bytes go to the transport in `push`."""

    def __init__(
        self,
        shard: Shard,
        transport: asyncio.WriteTransport,
        *,
        token: bytes,
        release: Release,
        resume_at: int | None,
        chunk_limit: int,
        compress: bool,
        sends_lsn: bool,
        on_dirty: Callable[[FlowStream], None],
    ) -> None:
        self.shard = shard
        self.transport = transport
        self.token = token
        self.resume_at = resume_at  # the LSN of a granted PARTIAL, else None
        self.mode = Mode.PREPARATION
        self.acked = 0
        self.held = False  # fault switch: keep the bytes here instead of sending them
        self.delay = 0.0  # fault switch: seconds before each push reaches the socket
        self.bytes_sent = 0
        self.static_done = False
        self._release = release
        self._chunk_limit = chunk_limit
        self._compress = compress
        self._sends_lsn = sends_lsn
        self._on_dirty = on_dirty
        self._items = bytearray()
        self._raw = bytearray()
        self._held = bytearray()
        self._db: int | None = None
        self._open: dict[Key, tuple[int, deque[bytes]]] = {}
        self._entries = 0
        self._lsn_sent = time.monotonic()

    @property
    def waiting(self) -> int:
        """Bytes that the reader has not taken from this process yet."""
        size: int = self.transport.get_write_buffer_size()
        return size + len(self._held) + len(self._raw)

    # --- full sync

    def begin_full(self, used_memory: int, shards: int) -> None:
        """Header and AUX fields; from now on the shard's records are blobs here."""
        self.mode = Mode.FULL
        fields = [(b"redis-ver", b"7.4.0"), (b"redis-bits", b"64"), (b"ctime", b"%d" % time.time())]
        fields += [(b"used-mem", b"%d" % used_memory), (b"aof-preamble", b"0")]
        if self._release.since(26):
            fields.append((b"df-ver", self._release.text.encode()))
        if self._release.since(32):
            if self.shard.index == 0:
                fields += [(b"shard-count", b"%d" % shards), (b"table-mem", b"%d" % used_memory)]
            fields.append((b"shard-id", b"%d" % self.shard.index))
        self._raw += rdb.HEADER + b"".join(rdb.aux(key, value) for key, value in fields)
        self.shard.flows.append(self)
        self.push()

    def put_entry(self, db: int, key: bytes, expire_ms: int, type_code: int, value: bytes) -> None:
        """A key with its value; a big one is cut, and other items may stand between its pieces."""
        if self._db != db:
            self._db = db
            self._items += rdb.select_db(db)
        self._entries += 1
        head = rdb.entry_head(key, type_code, expire_ms)
        parts = deque(pieces(type_code, value, self._chunk_limit)) if len(value) > self._chunk_limit else deque()
        if len(parts) < 2 or not self._release.since(40):
            self._items += head + value
            self._advance()
        else:
            if len(self._open) >= _OPEN_VALUES:
                self._finish(next(iter(self._open)))
            self._items += rdb.tagged_chunk(self._entries, head + parts.popleft())
            self._open[(db, key)] = (self._entries, parts)
        if len(self._items) >= _FLUSH_AT:
            self.flush()

    def _advance(self) -> None:
        for key in list(self._open):
            stream, parts = self._open[key]
            self._items += rdb.tagged_chunk(stream, parts.popleft())
            if not parts:
                del self._open[key]

    def _finish(self, key: Key) -> None:
        entry = self._open.pop(key, None)
        if entry is not None:
            for part in entry[1]:
                self._items += rdb.tagged_chunk(entry[0], part)

    def put_blob(self, records: bytes) -> None:
        self._items += rdb.journal_blob(records)
        if len(self._items) >= _FLUSH_AT:
            self.flush()
        else:
            self._on_dirty(self)

    def finish_static(self) -> None:
        """All of the shard's data was sent: opcode 200."""
        for key in list(self._open):
            self._finish(key)
        self._items += rdb.FULLSYNC_END
        self.static_done = True
        self.flush()

    def flush(self) -> None:
        """Items become one blob, or plain bytes when that is not smaller."""
        if self._items:
            items = bytes(self._items)
            self._items.clear()
            blob = rdb.lz4_blob(items) if self._compress and len(items) >= _SMALLEST_BLOB else None
            self._raw += items if blob is None else blob
        self.push()

    # --- stable sync

    def begin_stable_after_full(self) -> None:
        """The cut: JOURNAL_OFFSET, EOF, token; then the raw journal."""
        self.flush()
        self._raw += rdb.journal_offset(self.shard.next_lsn) + rdb.stream_end(self.token)
        self._begin_stable()

    def begin_stable_from_backlog(self) -> None:
        """The form of ≥1.35: raw records from the requested LSN; the backlog still holds it."""
        assert self.resume_at is not None
        for record in self.shard.since(self.resume_at):
            self._raw += record
        self.shard.flows.append(self)
        self._begin_stable()

    def _begin_stable(self) -> None:
        self.mode = Mode.STABLE
        self._lsn_sent = time.monotonic()
        self.push()

    def on_record(self, record: bytes, lsn: int, keys: frozenset[Key] | None) -> None:
        if self.mode is Mode.FULL:
            # The master holds back writers of a value that is half sent: here the rest of the value goes first.
            if self._open and keys is not None:
                for key in keys:
                    self._finish(key)
            self.put_blob(record)
        elif self.mode is Mode.STABLE:
            self._raw += record
            if self._sends_lsn and time.monotonic() - self._lsn_sent >= _LSN_INTERVAL:
                self._lsn_sent = time.monotonic()
                self._raw += lsn_record(lsn)
            self._on_dirty(self)

    # --- the socket

    def push(self) -> None:
        """Hand what is ready to the transport."""
        if not self._raw or self.mode is Mode.ENDED:
            return
        data = bytes(self._raw)
        self._raw.clear()
        if self.held:
            self._held += data
        elif self.delay:
            asyncio.get_running_loop().call_later(self.delay, self._send, data)
        else:
            self._send(data)

    def _send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.bytes_sent += len(data)
            self.transport.write(data)

    def release_held(self) -> None:
        """End of the fault `held`."""
        self.held = False
        self._raw[:0] = self._held
        self._held.clear()
        self.push()

    def end(self) -> None:
        """Leave the shard's journal; the transport is closed unless nothing was ever sent on it."""
        if self in self.shard.flows:
            self.shard.flows.remove(self)
        if self.mode in (Mode.FULL, Mode.STABLE):
            self.transport.abort()
        self.mode = Mode.ENDED
