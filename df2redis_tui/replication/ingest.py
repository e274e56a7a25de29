"""Reads one FLOW: bytes → records → commands → channel, first the full sync, then the journal."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Protocol

import anyio
import anyio.lowlevel

from df2redis_tui.dragonfly.dumps import in_parts
from df2redis_tui.dragonfly.flow import FlowConnection
from df2redis_tui.dragonfly.journal import JournalDecoder
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder
from df2redis_tui.dragonfly.records import (
    OP_FIN,
    OP_LSN,
    OP_PING,
    Aux,
    Blob,
    Entry,
    FullSyncEnd,
    JournalOffset,
    SnapshotRecord,
    StreamEnd,
)
from df2redis_tui.errors import DecodeError, ResyncNeeded, printable
from df2redis_tui.pipeline.block import REREAD, Block, Global, Item, Reread
from df2redis_tui.pipeline.channel import Channel
from df2redis_tui.replication.leftovers import Leftovers
from df2redis_tui.replication.reread import Rereads
from df2redis_tui.replication.rereading import Rereading
from df2redis_tui.replication.silence import Listener, receive_watched
from df2redis_tui.replication.spool import Spool
from df2redis_tui.replication.turns import Turns
from df2redis_tui.telemetry.stats import FlowStats
from df2redis_tui.translate.capabilities import Capabilities
from df2redis_tui.translate.expiry import DeferredExpiry, hold_ms
from df2redis_tui.translate.journal import JournalTranslator
from df2redis_tui.translate.keys import slots_of
from df2redis_tui.translate.old_keys import OldKeys
from df2redis_tui.translate.quirks import Quirks
from df2redis_tui.translate.refusals import RefusalPort
from df2redis_tui.translate.resp import COMMAND_OVERHEAD, command
from df2redis_tui.translate.rewriter import true_expiry_command
from df2redis_tui.translate.snapshot import SnapshotTranslator

IDLE = 1.0  # seconds
REREAD_AGAIN = 0.05  # seconds
LAG_HALVES_IN = 30.0  # seconds; keys are held with regard to the largest lag of late
EXPIRY_CHANGES = frozenset({b"PERSIST", b"PEXPIREAT", b"PEXPIRE", b"EXPIREAT", b"EXPIRE", b"GETEX"})
EXPIRIES_PER_BLOCK = 1024
LOOKED_AT_PER_MS = 20  # remembered expiries: of 100,000 every five seconds, that takes some 15 ms
SMALL_READ = 16 * 1024  # bytes
SOON = 0.002  # seconds


class IngestEvents(Listener, Protocol):
    """What the session wants to know; sync and quick."""

    def full_sync_end(self, flow: int) -> None:
        """Opcode 200 was seen."""

    def cut_reached(self, flow: int, lsn: int) -> None:
        """The full sync of this FLOW is complete; `lsn` is where its journal goes on."""

    def lsn_gap(self, flow: int, expected: int, got: int) -> None:
        """The source's LSN record does not agree with our count."""


@dataclass(frozen=True, slots=True)
class Translators:
    """The translation of one FLOW."""

    snapshot: SnapshotTranslator
    journal: JournalTranslator
    expiry: DeferredExpiry
    refusals: RefusalPort
    caps: Capabilities
    route: bool
    quirks: Quirks
    old: OldKeys | None = None


class Ingest:
    """`run` reads until the connection ends (SourceLost), a stop (`stopping`), or an error."""

    def __init__(
        self,
        connection: FlowConnection,
        channel: Channel,
        translators: Translators,
        rereads: Rereads,
        rereading: Rereading,
        stats: FlowStats,
        events: IngestEvents,
        *,
        release: tuple[int, int] | None,
        is_near: Callable[[], bool],
        lag: Callable[[], float],
        deliver: Callable[[Block | Global], Awaitable[None]] | None = None,
        leftovers: Leftovers | None = None,
    ) -> None:
        self.flow = connection.flow
        self.ends_with_ping = False  # the newest record read
        self._connection = connection
        self._channel = channel
        self._translate = translators
        self._rereads = rereads
        self._rereading = rereading
        self._stats = stats
        self._events = events
        self._release = release
        self._is_near = is_near
        self._look_at_ms = 0  # not before then, what is remembered of expiries is gone through
        self._lag = lag
        self._lag_kept, self._lag_at = 0.0, time.monotonic()
        self.missed_until = 0  # records below it were written while nobody applied any
        self._deliver = deliver or channel.send
        self._leftovers = leftovers if leftovers is not None else Leftovers()
        self._turns = Turns()
        self._offset = 0  # of the stream, in bytes
        self._blob_number = 0  # numbers the journal entries inside a full sync
        self._position = 0

    @property
    def position(self) -> int:
        """Every record below this LSN has been read, and perhaps some more translated; 0 in a full sync."""
        return self._position

    @property
    def persist_tells(self) -> bool:
        """Whether a PERSIST in the journal has done something."""
        return not self._translate.quirks.idle_persist

    def resumes_behind(self, next_lsn: int) -> None:
        """A partial sync begins, and the source is at `next_lsn`."""
        self.missed_until = next_lsn

    async def full_sync(self, counted_from: int | None) -> tuple[int, bytes]:
        """Read the RDB stream to its end. `counted_from`: the blobs are missed records with LSNs from there (a legacy
        partial sync). Returns (next LSN, the journal's first bytes)."""
        decoder = SnapshotDecoder(self.flow, self._connection.token, df_version=self._release)
        self._position = counted_from or 0
        offset = 0
        while not decoder.finished:
            data = await receive_watched(self.flow, self._connection.receive, self._events)
            self._stats.bytes_in += len(data)
            decoder.receive(data)
            arrived = time.monotonic()
            while (records := decoder.next_block()) is not None:
                self._offset = decoder.offset
                offset = await self._snapshot_records(records, arrived, counted_from is not None) or offset
                await self._turns.give()
        if counted_from is not None and self._position != offset:
            self._events.lsn_gap(self.flow, self._position, offset)
        return offset, decoder.leftover

    async def journal(self, next_lsn: int, first: bytes, spool: Spool | None = None) -> None:
        """Follow the journal from `next_lsn`, read through `spool` where there is one. Ends only by an exception."""
        self._position = self._stats.lsn_received = next_lsn
        self._events.cut_reached(self.flow, next_lsn)
        await self._deliver(Block(0, [], next_lsn=next_lsn, arrived=time.monotonic(), ack_now=True))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._rereading.run)
            await self._follow(first, spool.receive if spool is not None else self._connection.receive)

    async def _follow(self, data: bytes | None, receive: Callable[[], Awaitable[bytes]]) -> None:
        decoder = JournalDecoder(self.flow)
        looked = time.monotonic()
        while True:
            now = time.monotonic()
            if data:
                decoder.receive(data)
                while (entries := decoder.next_block()) is not None:
                    self._offset = decoder.offset
                    await self._entries(entries, now)
                    await self._turns.give()
            if now - looked >= IDLE:
                looked = now
                await self._write_due_expiries()
            if self._rereads.active:
                await self._write_reread(time.monotonic())
            if self._leftovers:
                await self._remove_leftovers()
            if data and len(data) < SMALL_READ and time.monotonic() - now < SOON:
                # Small reads in quick succession: let a few records gather, each read costs as much as many records.
                await anyio.sleep(SOON)
            data = None
            with anyio.move_on_after(REREAD_AGAIN if self._rereads.active or self._leftovers else IDLE):
                data = await receive()
                self._stats.bytes_in += len(data)

    # Full sync

    async def _snapshot_records(self, records: list[SnapshotRecord], arrived: float, counted: bool) -> int | None:
        """Returns the JOURNAL_OFFSET when it is among them."""
        run: list[SnapshotRecord] = []
        offset = None
        for record in records:
            if not isinstance(record, (Blob, FullSyncEnd, JournalOffset, StreamEnd, Aux)):
                run.append(record)
                continue
            if run:
                await self._values(run, arrived)
                run = []
            if isinstance(record, Blob):
                if counted:
                    await self._entries(record.entries, arrived)
                else:
                    await self._blob(record.entries, arrived)
            elif isinstance(record, FullSyncEnd):
                self._events.full_sync_end(self.flow)
            elif isinstance(record, JournalOffset):
                offset = record.lsn
        if run:
            await self._values(run, arrived)
        return offset

    async def _values(self, records: list[SnapshotRecord], arrived: float, *, again: bool = False) -> None:
        """`again`: read once more from the source, so not counted among the entries and keys of the stream."""
        try:
            for block in self._translate.snapshot.translate(records, _now_ms(), self._hold_ms(), arrived):
                if again:
                    block.entries, block.kinds = 0, {REREAD: sum(block.kinds.values())}
                await self._deliver(block)
                await self._turns.give()
        except DecodeError as error:  # a value that proves malformed only where it is translated
            if error.offset >= 0:
                raise
            reason = f"{error.reason}, in a value before that"
            raise DecodeError(reason, flow=self.flow, offset=self._offset) from None

    async def _blob(self, entries: list[Entry], arrived: float) -> None:
        first = self._blob_number
        self._blob_number += len(entries)
        for item in self._translate.journal.translate(
            entries,
            first,
            counted=False,
            now_ms=_now_ms(),
            grace_ms=self._hold_ms(),
            arrived=arrived,
            pending=self._rereads,
        ):
            if isinstance(item, Global):
                # The traversal goes on over the flushed tables (§3.9): this full sync can't end right.
                name = item.args[0].upper()
                raise ResyncNeeded(
                    f"{printable(name)} on the source during the full sync", item.db if name == b"FLUSHDB" else None
                )
            if isinstance(item, Reread):
                # Asked once the journal has positions; until then records of these keys are dropped.
                self._rereads.request(item.db, item.keys, item.reason, item.lsn)
            else:
                item.next_lsn = 0
                await self._deliver(item)
                await self._turns.give()

    # Stable sync

    async def _entries(self, entries: list[Entry], arrived: float) -> None:
        """Entries with LSNs from the current position on."""
        last = next((entry.op for entry in reversed(entries) if entry.op not in (OP_LSN, OP_FIN)), None)
        if last is not None:
            self.ends_with_ping = last == OP_PING
        start = first = self._position
        begin = 0
        cuts = self._rereads.cuts(first, first + len(entries)) if self._rereads.active else []
        for index, entry in enumerate(entries):
            op = entry.op
            if op == OP_LSN:
                if entry.txid != self._position - 1:
                    await self._translated(entries[begin:index], first, arrived)
                    self._events.lsn_gap(self.flow, self._position - 1, entry.txid)
                    self._position = first = entry.txid + 1
                    begin = index + 1
            elif op != OP_FIN:
                self._position += 1
                if cuts and self._position == cuts[0]:
                    cuts.pop(0)
                    await self._translated(entries[begin : index + 1], first, arrived)
                    await self._write_reread(arrived)
                    begin, first = index + 1, self._position
        await self._translated(entries[begin:], first, arrived)
        if self._position != start:
            self._stats.lsn_received = self._position
        if self._rereads.active:
            await self._write_reread(arrived)

    async def _translated(self, entries: list[Entry], first_lsn: int, arrived: float) -> None:
        if not entries:
            return
        if first_lsn < self.missed_until:
            self._reread_changed_expiries(entries)
        items: Iterable[Item] = self._translate.journal.translate(
            entries,
            first_lsn,
            counted=True,
            now_ms=_now_ms(),
            grace_ms=self._hold_ms(),
            arrived=arrived,
            pending=self._rereads,
            replayed_until=self.missed_until,
        )
        for item in items:
            if isinstance(item, Reread):
                self._rereads.request(item.db, item.keys, item.reason, item.lsn)
                continue
            if isinstance(item, Global):
                self._rereads.forget(item.db if item.args[0].upper() == b"FLUSHDB" else None)
            await self._deliver(item)
            await self._turns.give()

    def _reread_changed_expiries(self, entries: list[Entry]) -> None:
        """The target is a master and expires by itself: what the source kept in time while nothing was applied may be
        gone there (§4.8). Of keys that are remembered it is known when the target ends them."""
        expiry, cluster = self._translate.expiry, self._translate.caps.cluster
        for entry in entries:
            if entry.args and len(entry.args) > 1 and entry.args[0].upper() in EXPIRY_CHANGES:
                key = entry.args[1]
                if expiry.ends_at(0 if cluster else entry.db, key) is None:
                    self._rereads.request(entry.db, (key,), "its expiry was changed while nothing was applied")

    async def _write_reread(self, arrived: float) -> None:
        for db, key, value in self._rereads.due(self._position):
            if value is None:
                self._translate.expiry.cancel(0 if self._translate.caps.cluster else db, key)
                gone = self._block(db, [command(b"DEL", key)], [key], arrived)
                gone.kinds = {REREAD: 1}
                await self._deliver(gone)
            else:
                for part in in_parts(value, self.flow):
                    await self._values(part, arrived, again=True)

    async def _remove_leftovers(self) -> None:
        if self._translate.old is None:
            self._leftovers.clear()
            return
        gone = self._leftovers.take(self._translate.old, self._position)
        for db, group in groupby(gone, key=itemgetter(0)):
            keys = [key for _, key in group]
            await self._deliver(self._block(db, [command(b"UNLINK", k) for k in keys], keys, time.monotonic()))

    async def _write_due_expiries(self) -> None:
        """Hold what will end soon; once the FLOW has caught up, write the true times that are due (§4.8)."""
        expiry, now_ms = self._translate.expiry, _now_ms()
        if not expiry.count or now_ms < self._look_at_ms:
            return
        self._look_at_ms = now_ms + expiry.count // LOOKED_AT_PER_MS
        await self._write_expiries(expiry.nearing(now_ms, self._hold_ms()))
        if self._is_near():
            await self._write_expiries(expiry.due(now_ms))

    async def write_all_expiries(self) -> None:
        """The end of the run: every key gets its true time now."""
        while some := self._translate.expiry.take_held(EXPIRIES_PER_BLOCK):
            await self._write_expiries(some)

    async def _write_expiries(self, expiries: list[tuple[int, bytes, int]]) -> None:
        now = time.monotonic()
        caps = self._translate.caps
        by_db: dict[int, list[tuple[bytes, int]]] = {}
        for db, key, expire_ms in expiries:
            by_db.setdefault(db, []).append((key, expire_ms))
        for db, held in by_db.items():
            for i in range(0, len(held), EXPIRIES_PER_BLOCK):
                some = held[i : i + EXPIRIES_PER_BLOCK]
                wires = [true_expiry_command(caps, key, expire_ms) for key, expire_ms in some]
                await self._deliver(self._block(db, wires, [key for key, _ in some], now))
                await anyio.lowlevel.checkpoint()

    def _block(self, db: int, wires: list[bytes], keys: list[bytes], arrived: float) -> Block:
        route = self._translate.route
        slots = slots_of(keys) if route else None
        size = sum(map(len, wires)) + COMMAND_OVERHEAD * len(wires)
        return Block(0 if route else db, wires, slots, size=size, entries=0, arrived=arrived)

    def _hold_ms(self) -> int:
        """How much later than on the source keys that end soon have to end on the target."""
        now = time.monotonic()
        kept = self._lag_kept * 0.5 ** ((now - self._lag_at) / LAG_HALVES_IN)
        self._lag_kept, self._lag_at = max(self._lag(), kept), now
        return hold_ms(self._lag_kept)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
