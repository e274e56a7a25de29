"""From the backend's replication stream to shard journals and full syncs, one command after the other.

Two moments matter. *Queueing* a command puts it into the mirror's pipeline; then it is decided whether a running
full sync must first read the old value of its keys. *Emission* happens when the mirror's reply arrives, in the same
order; then records get their LSNs and values and records enter the FLOWs. So a base value always stands before the
first record of its key and holds nothing of what the records repeat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import hiredis

from df2redis_tui.demo.backend_stream import BackendStream
from df2redis_tui.demo.encode_journal import PING, command
from df2redis_tui.demo.flow_stream import FlowStream, Mode
from df2redis_tui.demo.mirror import Mirror, MirrorDiverged
from df2redis_tui.demo.release import Release
from df2redis_tui.demo.rewrite import Record, Rewrite, Rewriter
from df2redis_tui.demo.session import Session, State
from df2redis_tui.demo.shards import Shard, shard_of

log = logging.getLogger(__name__)

DATABASES: Final = 16


class Journal:
    """Owns the shards. Writers wait for `writable`, which is cleared while some FLOW's reader is too slow."""

    def __init__(
        self,
        release: Release,
        shards: int,
        *,
        backlog: int,
        omit: bool,
        stall_timeout: float,
        output_limit: int,
        on_cancel: Callable[[Session, str], None],
    ) -> None:
        self.release = release
        self.shards = [Shard(index, backlog) for index in range(shards)]
        self.sessions: dict[str, Session] = {}
        self.enabled = False
        self.processed = 0  # offset of the backend's stream that has been queued
        self.locked = 0  # global locks held: writers wait
        self.room = asyncio.Event()
        self.room.set()
        self.writable = asyncio.Event()
        self.writable.set()
        self._backlog = backlog
        self._omit = omit
        self._stall_timeout = stall_timeout
        self._output_limit = output_limit
        self._on_cancel = on_cancel
        self._rewriter = Rewriter(release, lambda key: shard_of(key, shards))
        self._db = 0
        self._txid = 0
        self._dirty: set[FlowStream] = set()
        self._slow_since: dict[FlowStream, float] = {}
        self._progress = asyncio.Condition()
        self.mirror: Mirror

    def begin_anew(self, shards: int) -> None:
        """As in a new process: LSNs from 1, nothing journalled yet. No session may be alive."""
        self.shards = [Shard(index, self._backlog) for index in range(shards)]
        self._rewriter = Rewriter(self.release, lambda key: shard_of(key, shards))
        self.enabled = False

    def mark_dirty(self, flow: FlowStream) -> None:
        self._dirty.add(flow)

    # --- the stream

    async def run(self, stream: BackendStream) -> None:
        """Follow the backend for ever; raises when the journal can't be trusted any more."""
        async for commands, offset in stream.batches():
            for args in commands:
                self._queue(args)
            await self.mirror.room()
            self.processed = offset
            async with self._progress:
                self._progress.notify_all()
        raise MirrorDiverged("the backend's replication stream ended")

    def _queue(self, args: list[bytes]) -> None:
        name = args[0].upper()
        if name == b"SELECT":
            self._db = int(args[1])
            return
        db = self._db
        rewrite = self._rewriter.rewrite(db, args)
        if not rewrite.keys and not rewrite.records:
            return
        omitted = False
        if self.enabled:
            syncing = [session for session in self.sessions.values() if session.traversing]
            if syncing:
                omitted = self._before_write(syncing, name, rewrite)
        before, after = list(rewrite.before), [query for _, query in rewrite.after]
        other = rewrite.after[0][0] if rewrite.after else db
        switch = [(b"SELECT", b"%d" % other)] if other != db else []
        back = [(b"SELECT", b"%d" % db)] if other != db else []
        self.mirror.select(db)
        self.mirror.request(
            [*before, args, *switch, *after, *back],
            self._emission(args, rewrite, len(before), len(before) + 1 + len(switch), omitted),
        )

    def _before_write(self, syncing: list[Session], name: bytes, rewrite: Rewrite) -> bool:
        """Ask for base values that are still missing; True when the write is left out instead (§3.9 deviation b)."""
        if self._omit and len(syncing) == 1 and len(rewrite.keys) == 1:
            omittable = name == b"SET" or (name in (b"DEL", b"UNLINK") and self.release.since(40))
            if omittable and syncing[0].wants_base(rewrite.keys[0]):
                syncing[0].leave_out(rewrite.keys[0])
                return True
        for session in syncing:
            for key in rewrite.keys:
                if session.wants_base(key):
                    session.visit(self.mirror, key, self.release.since(31))
        return False

    def _emission(
        self, args: list[bytes], rewrite: Rewrite, reply_at: int, after_at: int, omitted: bool
    ) -> Callable[[list[object]], None]:
        def emit(replies: list[object]) -> None:
            reply = replies[reply_at]
            if isinstance(reply, hiredis.ReplyError):
                raise MirrorDiverged(f"{args[0].decode('ascii', 'replace')}: {reply}")
            if not self.enabled:
                return
            if omitted:
                self.shards[shard_of(rewrite.keys[0][1], len(self.shards))].omit()
                return
            records = rewrite.records
            if rewrite.later is not None:
                records = rewrite.later(replies[:reply_at], reply, replies[after_at : after_at + len(rewrite.after)])
            self._append(records, rewrite)

        return emit

    def _append(self, records: list[Record], rewrite: Rewrite) -> None:
        txid = 0
        if len(records) > 1 or (records and records[0][1] is None):
            self._txid += 1
            txid = self._txid
        shards = 1 if self.release.since(38) else len(records)
        for db, key, args in records:
            if key is None:
                record = command(db, args, txid=txid, shards=1 if self.release.since(38) else len(self.shards))
                for shard in self.shards:
                    shard.append(record)
            else:
                record = command(db, args, txid=txid, shards=shards)
                self.shards[shard_of(key, len(self.shards))].append(record, frozenset(rewrite.keys))

    # --- moments

    async def barrier(self, at_cut: Callable[[], None] | None = None) -> None:
        """Wait until everything queued so far is emitted; run `at_cut` exactly there."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def reached(_: list[object]) -> None:
            try:
                if at_cut is not None:
                    at_cut()
            except Exception as failure:
                if not done.done():
                    done.set_exception(failure)
            else:
                if not done.done():
                    done.set_result(None)

        self.mirror.request([(b"PING",)], reached)
        self.mirror.flush()
        await done

    async def catch_up(self, offset: int) -> None:
        """Wait until the backend's stream is journalled up to `offset`."""
        async with self._progress:
            await self._progress.wait_for(lambda: self.processed >= offset)
        await self.barrier()

    async def ping_all(self) -> None:
        """A PING record in every shard (it counts)."""

        def append() -> None:
            for shard in self.shards:
                shard.append(PING)

        await self.barrier(append)
        self.after_emission()

    # --- sessions

    async def begin_full_sync(self, session: Session, pace: float) -> None:
        """DFLY SYNC: one cut over all shards; returns when the headers are written."""
        session.state = State.FULL_SYNC
        session.traversing = True

        def cut() -> None:
            for flow in session.connected_flows:
                flow.begin_full(1 << 20, len(self.shards))
                if flow.resume_at is not None:
                    if not flow.shard.holds(flow.resume_at):
                        raise LookupError("backlog overrun")
                    for record in flow.shard.since(flow.resume_at):
                        flow.put_blob(record)

        try:
            await self.barrier(cut)
        except LookupError as failure:
            self.cancel(session, str(failure))
            return
        session.task = asyncio.create_task(
            session.traverse(self.mirror, DATABASES, self.release.since(31), self.room, pace)
        )

    async def begin_stable_sync(self, session: Session) -> bool:
        """DFLY STARTSTABLE: one cut over all shards; False when the session ended over it."""

        def cut() -> None:
            if session.state is State.CANCELLED:
                return
            if any(f.resume_at is not None and not f.shard.holds(f.resume_at) for f in self._raw_flows(session)):
                raise LookupError("backlog overrun")
            raw = self._raw_flows(session)
            for flow in session.connected_flows:
                if flow in raw:
                    flow.begin_stable_from_backlog()
                else:
                    flow.begin_stable_after_full()
            session.state = State.STABLE_SYNC

        try:
            await self.barrier(cut)
        except LookupError as failure:
            self.cancel(session, str(failure))
        return session.state is State.STABLE_SYNC

    @staticmethod
    def _raw_flows(session: Session) -> list[FlowStream]:
        return [flow for flow in session.connected_flows if flow.mode is Mode.PREPARATION]

    def cancel(self, session: Session, reason: str) -> None:
        if session.state is not State.CANCELLED:
            log.info("session %s ended: %s", session.sync_id, reason)
            session.cancel(reason)
            self.sessions.pop(session.sync_id, None)
            for flow in session.connected_flows:
                self._slow_since.pop(flow, None)
                self._dirty.discard(flow)
            self._on_cancel(session, reason)
            self.regulate()

    # --- slow readers

    def after_emission(self) -> None:
        """Send what the last replies brought; hold writers back while a reader is behind."""
        for flow in self._dirty:
            if flow.mode is Mode.FULL:
                flow.flush()
            else:
                flow.push()
        self._dirty.clear()
        self.regulate()

    def regulate(self) -> None:
        """Open or close the gates of the snapshot (`room`) and of the writers (`writable`)."""
        slow = False
        for session in self.sessions.values():
            for flow in session.connected_flows:
                if flow.mode in (Mode.FULL, Mode.STABLE) and flow.waiting > self._output_limit:
                    slow = True
        for gate, closed in ((self.room, slow), (self.writable, slow or self.locked > 0)):
            if closed:
                gate.clear()
            else:
                gate.set()

    async def watch_readers(self) -> None:
        """Cancel sessions of which a FLOW was not read for the timeout; open the gate when readers have caught up."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(0.05, self._stall_timeout / 4))
            for session in list(self.sessions.values()):
                for flow in session.connected_flows:
                    if flow.mode not in (Mode.FULL, Mode.STABLE) or flow.waiting <= self._output_limit:
                        self._slow_since.pop(flow, None)
                    elif loop.time() - self._slow_since.setdefault(flow, loop.time()) > self._stall_timeout:
                        self.cancel(session, f"FLOW {flow.shard.index} was not read for {self._stall_timeout:g} s")
                        break
            self.regulate()
