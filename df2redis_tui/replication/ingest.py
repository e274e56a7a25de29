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
from df2redis_tui.errors import NotCopied, ResyncNeeded, printable
from df2redis_tui.pipeline.block import Block, Global, Item, Reread
from df2redis_tui.pipeline.channel import Channel
from df2redis_tui.replication.leftovers import Leftovers
from df2redis_tui.replication.reread import Rereads
from df2redis_tui.replication.spool import Spool
from df2redis_tui.telemetry.stats import FlowStats
from df2redis_tui.translate.capabilities import Capabilities
from df2redis_tui.translate.expiry import HOLD_MS, OVERDUE_MS, DeferredExpiry
from df2redis_tui.translate.journal import JournalTranslator
from df2redis_tui.translate.keys import slots_of
from df2redis_tui.translate.old_keys import OldKeys
from df2redis_tui.translate.quirks import Quirks
from df2redis_tui.translate.refusals import Refusal, RefusalPort
from df2redis_tui.translate.resp import COMMAND_OVERHEAD, command
from df2redis_tui.translate.rewriter import true_expiry_command
from df2redis_tui.translate.snapshot import SnapshotTranslator

FULL_SYNC_GRACE_MS = 60_000  # how far behind the source a full sync may be is not known
IDLE = 1.0  # seconds
REREAD_AGAIN = 0.05  # seconds
STALE = 2.0  # seconds; the source's offsets are asked more often
REREADS_MOST = 10_000  # keys of a FLOW whose values may wait in memory for reasons of expiry
EXPIRY_CHANGES = frozenset({b"PERSIST", b"PEXPIREAT", b"PEXPIRE", b"EXPIREAT", b"EXPIRE", b"GETEX"})
EXPIRIES_PER_BLOCK = 1024
LOOKED_AT_PER_MS = 20  # remembered expiries: of 100,000 every five seconds, that takes some 15 ms
SMALL_READ = 16 * 1024  # bytes
SOON = 0.002  # seconds


class IngestEvents(Protocol):
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
        stats: FlowStats,
        events: IngestEvents,
        *,
        release: tuple[int, int] | None,
        is_near: Callable[[], bool],
        lag: Callable[[], float],
        held_up: Callable[[], bool] = lambda: False,
        deliver: Callable[[Block | Global], Awaitable[None]] | None = None,
        leftovers: Leftovers | None = None,
    ) -> None:
        self.flow = connection.flow
        self.ends_with_ping = False  # the newest record read
        self._connection = connection
        self._channel = channel
        self._translate = translators
        self._rereads = rereads
        self._stats = stats
        self._events = events
        self._release = release
        self._is_near = is_near
        self._held_until_ms = 0
        self._look_at_ms = 0  # not before then, what is remembered of expiries is gone through
        self._put_off_to_ms = 0  # the latest time that was given to keys because the FLOW was late
        self._lag = lag
        self._held_up = held_up
        self._stale_until = 0.0  # until then (monotonic) what is read may be older than it seems
        self.missed_until = 0  # records below it were written while nobody applied any
        self._deliver = deliver or channel.send
        self._leftovers = leftovers if leftovers is not None else Leftovers()
        self._caught_up_once = False
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
            data = await self._connection.receive()
            self._stats.bytes_in += len(data)
            decoder.receive(data)
            arrived = time.monotonic()
            while (records := decoder.next_block()) is not None:
                offset = await self._snapshot_records(records, arrived, counted_from is not None) or offset
        if counted_from is not None and self._position != offset:
            self._events.lsn_gap(self.flow, self._position, offset)
        self._stats.full_sync_done = True
        return offset, decoder.leftover

    async def journal(self, next_lsn: int, first: bytes, spool: Spool | None = None) -> None:
        """Follow the journal from `next_lsn`, read through `spool` where there is one. Ends only by an exception."""
        receive = spool.receive if spool is not None else self._connection.receive
        if self._translate.expiry.count:
            self._put_off_to_ms = _now_ms() + FULL_SYNC_GRACE_MS
        self._position = self._stats.lsn_received = next_lsn
        self._events.cut_reached(self.flow, next_lsn)
        await self._deliver(Block(0, [], next_lsn=next_lsn, arrived=time.monotonic(), ack_now=True))
        decoder = JournalDecoder(self.flow)
        await self._reread()
        data: bytes | None = first
        looked = time.monotonic()
        woken = time.monotonic()
        while True:
            now = time.monotonic()
            if now - woken > IDLE + 0.5:
                self._stale_until = now + STALE  # this process stood still, or the channel was full
            if data:
                decoder.receive(data)
                while (entries := decoder.next_block()) is not None:
                    await self._entries(entries, now)
            if now - looked >= IDLE:
                looked = now
                await self._write_due_expiries()
            if self._rereads.active:
                await self._reread()
            if self._leftovers:
                await self._remove_leftovers()
            if data and len(data) < SMALL_READ and time.monotonic() - now < SOON:
                # Small reads in quick succession: let a few records gather, each read costs as much as many records.
                await anyio.sleep(SOON)
            data = None
            woken = time.monotonic()
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

    async def _values(self, records: list[SnapshotRecord], arrived: float, grace_ms: int = FULL_SYNC_GRACE_MS) -> None:
        translator = self._translate.snapshot
        try:
            blocks = translator.translate(records, _now_ms(), grace_ms, arrived)
        except NotCopied:
            for block in translator.unsent:
                await self._deliver(block)
            raise
        for block in blocks:
            await self._deliver(block)

    async def _blob(self, entries: list[Entry], arrived: float) -> None:
        first = self._blob_number
        self._blob_number += len(entries)
        for item in self._translate.journal.translate(
            entries,
            first,
            counted=False,
            now_ms=_now_ms(),
            grace_ms=FULL_SYNC_GRACE_MS,
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
                self._rereads.request(item.db, item.keys, item.reason)
            else:
                item.next_lsn = 0
                await self._deliver(item)

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
            await self._reread()

    async def _translated(self, entries: list[Entry], first_lsn: int, arrived: float) -> None:
        if not entries:
            return
        if self._may_have_expired(first_lsn):
            self._reread_changed_expiries(entries)
        items: Iterable[Item] = self._translate.journal.translate(
            entries,
            first_lsn,
            counted=True,
            now_ms=_now_ms(),
            grace_ms=self._grace_ms(),
            arrived=arrived,
            pending=self._rereads,
            replayed_until=self.missed_until,
        )
        for item in items:
            if isinstance(item, Reread):
                self._rereads.request(item.db, item.keys, item.reason)
                continue
            if isinstance(item, Global):
                self._rereads.forget(item.db if item.args[0].upper() == b"FLUSHDB" else None)
            await self._deliver(item)

    def _may_have_expired(self, lsn: int) -> bool:
        """Whether the target has had the time to expire keys whose expiry these records change."""
        if lsn < self.missed_until:
            return True
        now = time.monotonic()
        if self._held_up() or not self._is_near():
            self._stale_until = now + STALE
        return now < self._stale_until

    def _reread_changed_expiries(self, entries: list[Entry]) -> None:
        """The target is a master and expires by itself: what the source kept in time may be gone there (§4.8)."""
        if self._rereads.count >= REREADS_MOST:
            return
        for entry in entries:
            if entry.args and len(entry.args) > 1 and entry.args[0].upper() in EXPIRY_CHANGES:
                self._rereads.request(entry.db, (entry.args[1],), "its expiry was changed while nothing was applied")

    async def _reread(self) -> None:
        """Ask for what is to be read again, and write what is due at once."""
        while self._rereads.unresolved:
            for db, key, why in await self._rereads.ask():
                self._translate.refusals.refuse(Refusal(db, key, "journal record", why, self.flow, self._position, b""))
            before = self._rereads.active
            await self._write_reread(time.monotonic())
            if before and self._rereads.unresolved:
                continue
            break

    async def _write_reread(self, arrived: float) -> None:
        for db, key, value in self._rereads.due(self._position):
            if value is None:
                self._translate.expiry.cancel(0 if self._translate.caps.cluster else db, key)
                await self._deliver(self._block(db, [command(b"DEL", key)], [key], arrived))
            else:
                await self._values([value], arrived, self._grace_ms())

    async def _remove_leftovers(self) -> None:
        if self._translate.old is None:
            self._leftovers.clear()
            return
        gone = self._leftovers.take(self._translate.old, self._position)
        for db, group in groupby(gone, key=itemgetter(0)):
            keys = [key for _, key in group]
            await self._deliver(self._block(db, [command(b"UNLINK", k) for k in keys], keys, time.monotonic()))

    async def _write_due_expiries(self) -> None:
        """Nearly true expiry times once the FLOW has caught up; until then what was put off is put off again (§4.8)."""
        expiry = self._translate.expiry
        if not expiry.count:
            return
        now_ms = _now_ms()
        if self._is_near():
            self._caught_up_once = True
            self._held_until_ms = 0
            held, self._put_off_to_ms = expiry.shorter_than(self._put_off_to_ms), 0
            overdue = now_ms - OVERDUE_MS
            await self._write_expiries(
                [(db, key, ms if ms < overdue else max(ms, now_ms) + HOLD_MS) for db, key, ms in held]
            )
            if now_ms >= self._look_at_ms:
                self._look_at_ms = now_ms + expiry.count // LOOKED_AT_PER_MS
                await self._write_expiries(expiry.due(now_ms))
        elif now_ms > self._held_until_ms - self._grace_ms() // 2:
            later = self._held_until_ms = now_ms + self._grace_ms()
            await self._write_expiries([(db, key, later) for db, key, _ in expiry.shorter_than(later)])

    async def write_all_expiries(self) -> None:
        """The end of the run: every key gets its true time now."""
        expiry = self._translate.expiry
        await self._write_expiries(expiry.remembered())
        expiry.clear()

    async def _write_expiries(self, expiries: list[tuple[int, bytes, int]]) -> None:
        now = time.monotonic()
        caps = self._translate.caps
        for db, group in groupby(expiries, key=itemgetter(0)):
            held = list(group)
            for i in range(0, len(held), EXPIRIES_PER_BLOCK):
                some = held[i : i + EXPIRIES_PER_BLOCK]
                wires = [true_expiry_command(caps, key, expire_ms) for _, key, expire_ms in some]
                await self._deliver(self._block(db, wires, [key for _, key, _ in some], now))
                await anyio.lowlevel.checkpoint()

    def _block(self, db: int, wires: list[bytes], keys: list[bytes], arrived: float) -> Block:
        route = self._translate.route
        slots = slots_of(keys) if route else None
        size = sum(map(len, wires)) + COMMAND_OVERHEAD * len(wires)
        return Block(0 if route else db, wires, slots, size=size, entries=0, arrived=arrived)

    def _grace_ms(self) -> int:
        """How long a key has to live at least that is written now."""
        if not self._caught_up_once and self._is_near():
            self._caught_up_once = True
        grace_ms = HOLD_MS + int(2_000 * self._lag()) if self._caught_up_once else FULL_SYNC_GRACE_MS
        if grace_ms > 3 * HOLD_MS:
            self._put_off_to_ms = max(self._put_off_to_ms, _now_ms() + grace_ms)
        return grace_ms


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
