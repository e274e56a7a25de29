"""One FLOW of a job: what outlives the source's sessions (writer, ledger, counters), and what happens in it."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass

from df2redis_tui.errors import printable
from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Block
from df2redis_tui.pipeline.dispatch import Dispatcher
from df2redis_tui.pipeline.knobs import FlowKnobs
from df2redis_tui.pipeline.signal import Signal
from df2redis_tui.replication.checkpoint import FlowLedger
from df2redis_tui.replication.doubts import Doubts
from df2redis_tui.replication.ingest import REREADS_MOST, Ingest
from df2redis_tui.replication.leftovers import Leftovers
from df2redis_tui.replication.reread import Rereads
from df2redis_tui.replication.spool import Spool
from df2redis_tui.target.pending import Overtaken, Pending, decode_command
from df2redis_tui.target.writer import Writer
from df2redis_tui.telemetry.snapshot import Phase
from df2redis_tui.telemetry.stats import FlowStats, Records
from df2redis_tui.translate.expiry import DeferredExpiry
from df2redis_tui.translate.refusals import Refusal, RefusalPort

log = logging.getLogger(__name__)

LOG_EVERY = 0.01  # seconds: flushes that follow faster are counted into the next line
ACK_BEHIND = 1024  # records (§4.3)
NEAR = 1.0  # seconds

EXPIRY_CHANGES = (b"*3\r\n$9\r\nPEXPIREAT\r\n", b"*2\r\n$7\r\nPERSIST\r\n")

# What a journal command meets on a key that is not in the state of that moment. Inside a full sync a later base value
# heals it (§3.9).
_HEALED = ("WRONGTYPE", "ERR no such key", "ERR index out of range", "ERR The ID specified", "BUSYGROUP", "NOGROUP")


@dataclass(slots=True)
class _Unlogged:
    flushes: int = 0
    entries: int = 0


class FlowState:
    """The writer's events come here; front ends read the figures."""

    def __init__(
        self,
        flow: int,
        knobs: FlowKnobs,
        ledger: FlowLedger | None,
        refusals: RefusalPort,
        records: Records,
    ) -> None:
        self.flow = flow
        self.knobs = knobs
        self.ledger = ledger
        self.refusals = refusals
        self.expiry = DeferredExpiry()
        self.doubts = Doubts()
        self.stats = FlowStats(flow)
        self.phase = Phase.CONNECTING
        self.writer: Writer | None = None
        self.dispatcher: Dispatcher | None = None
        self.rereads: Rereads | None = None
        self.resume_rereads: list[tuple[int, bytes]] = []  # keys an earlier session or run did not get to read again
        self.leftovers = Leftovers()
        self.ingest: Ingest | None = None
        self.spool: Spool | None = None
        self.ack = Signal()
        self.lane_states: dict[str, str] = {}
        self.cut_confirmed = False
        self.lsn_checkpointed: int | None = None  # on targets where checkpoints are written apart
        self.interval_tuned = False
        self.merged = False  # databases of the source are one on the target
        self._source_history: deque[tuple[float, int]] = deque(maxlen=10_000)
        self._records = records
        self._logged_at = 0.0
        self._unlogged = _Unlogged()
        self._trouble_at = 0.0  # monotonic; when the target last held up what had been read before

    # What the writer tells

    def sending(self, blocks: list[Block]) -> None:
        if self.doubts:
            for overtaken in self.doubts.carried(blocks):
                self.doubt(overtaken)

    def confirmed(self, batch: Batch) -> None:
        now = time.monotonic()
        if self.dispatcher is not None:
            self.dispatcher.confirmed(batch)
        stats = self.stats
        stats.entries += batch.entries
        stats.commands += batch.commands
        stats.batches += 1
        stats.retries += batch.retries
        if batch.kinds:
            kinds = stats.kinds
            for kind, count in batch.kinds.items():
                kinds[kind] = kinds.get(kind, 0) + count
        for block in batch.blocks:
            if block.commands:
                ms = (now - block.arrived) * 1000
                stats.latency.add(ms, len(block.commands))
                if block.next_lsn or batch.next_lsn:
                    stats.stable_latency.add(ms, len(block.commands))
                if block.arrived < max(self._trouble_at, now - NEAR):
                    self._was_late(block)
        if batch.next_lsn:
            self._moved_to(batch.next_lsn, batch.ack_now)
        if batch.commands:
            took = (now - batch.sent_at) * 1000
            self._records.batch(
                self.flow,
                batch.number,
                batch.entries,
                batch.size,
                batch.nodes,
                took,
                batch.result,
                batch.result != "ok",
            )
            self._log_flush(batch, now, took)

    def _was_late(self, block: Block) -> None:
        """The target expires by itself: what the source kept in time may have been gone there (§4.8). What was read
        while the FLOW was known to be late or held up has been seen to; this was read before."""
        if self.rereads is None or self.merged or block.tolerant or block.lsns is None:
            return
        for command, lsn in zip(block.commands, block.lsns, strict=True):
            if command.startswith(EXPIRY_CHANGES) and self.rereads.count < REREADS_MOST:
                key = decode_command(command)[1]
                if not self.rereads.supersedes(block.db, key, lsn):
                    self.doubt(Overtaken(block.db, key))

    def _moved_to(self, lsn: int, ack_now: bool) -> None:
        stats = self.stats
        stats.lsn_confirmed = lsn
        if self.rereads is not None:
            self.rereads.confirmed(lsn)
        if self.doubts:
            self.doubts.confirmed(lsn)
        self.cut_confirmed = True
        if ack_now or lsn - (stats.lsn_acked or 0) > ACK_BEHIND:
            self.ack.set()

    def passed_global(self, next_lsn: int) -> None:
        """A global command ran; the FLOW stands behind it."""
        if next_lsn:
            if self.ledger is not None:
                self.ledger.passed(next_lsn)
            self._moved_to(next_lsn, False)
        self.stats.entries += 1
        self.stats.commands += 1

    def _log_flush(self, batch: Batch, now: float, took: float) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        if now - self._logged_at < LOG_EVERY and batch.result == "ok":
            self._unlogged.flushes += 1
            self._unlogged.entries += batch.entries
            return
        self._logged_at = now
        fields: dict[str, object] = {
            "flow": self.flow,
            "batch": batch.number,
            "entries": batch.entries,
            "bytes": batch.size,
            "nodes": batch.nodes,
            "ms": round(took, 2),
        }
        if self._unlogged.flushes:
            fields |= {"unlogged_batches": self._unlogged.flushes, "unlogged_entries": self._unlogged.entries}
            self._unlogged = _Unlogged()
        if batch.result != "ok":
            fields["result"] = batch.result
        log.info("Flushing batch", extra={"fields": fields})

    def refused(self, pending: Pending, batch: Batch) -> None:
        error = printable(pending.error.encode("utf-8", "backslashreplace"))
        if pending.tolerant and pending.error.startswith(_HEALED):
            self.stats.tolerated += 1
            if pending.error.startswith("ERR no such key"):
                self._reread_after_full_sync(pending)
            return
        keys = pending.names()
        if keys and self._superseded(pending, keys):
            self.stats.tolerated += 1
            return
        if keys and self._may_come_late(pending, batch):
            for key in keys:
                self.doubt(Overtaken(pending.db, key))
            return
        self.stats.errors += 1
        args = pending.args()
        name = printable(args[0]) if args else "command"
        key = keys[0] if keys else b""
        self._records.event("error", "server-error", f"{name} {printable(key)}: {error}", self.flow)
        log.error(
            "The target refused a command",
            extra={"fields": {"flow": self.flow, "command": name, "key": printable(key), "error": error}},
        )
        batch.result = f"refused: {error}"
        self.refusals.refuse(
            Refusal(
                pending.db, key, name, f"the target answered {error}", self.flow, pending.lsn or None, pending.command
            )
        )

    def found_nothing(self, pending: Pending) -> None:
        """The source changes the expiry of a key that it has: the target expired it too early (§4.8)."""
        lsn = pending.lsn
        if pending.tolerant:
            self._reread_after_full_sync(pending)
        if self.rereads is None or self.merged or pending.tolerant or not lsn or lsn < self.missed_until():
            return  # what the source did while nobody followed is seen to as it is read
        name, key = pending.args()[:2]
        if name == b"PERSIST" and (self.ingest is None or not self.ingest.persist_tells):
            return
        if not self.rereads.supersedes(pending.db, key, lsn):
            self.doubt(Overtaken(pending.db, key))

    def _reread_after_full_sync(self, pending: Pending) -> None:
        """The key may have expired on the target before its time was changed: a full sync may take long."""
        if self.rereads is not None and not self.merged and self.rereads.count < REREADS_MOST:
            self.rereads.request(pending.db, pending.names(), "its expiry was changed when it was gone on the target")

    def _superseded(self, pending: Pending, keys: tuple[bytes, ...]) -> bool:
        rereads = None if self.merged else self.rereads
        return rereads is not None and all(rereads.supersedes(pending.db, key, pending.lsn or 0) for key in keys)

    def _may_come_late(self, pending: Pending, batch: Batch) -> bool:
        """Whether the target may have had this command before, or later ones: then what it finds there is no reason."""
        if batch.out_of_order:
            return True
        if self.ledger is None or self.ledger.exact or not pending.lsn:
            return False
        return pending.error.startswith(_HEALED) and pending.lsn < self.missed_until()

    def missed_until(self) -> int:
        """Where the source was when this session resumed; 0 = it did not, or nobody knows."""
        return self.ingest.missed_until if self.ingest is not None else 0

    def doubt(self, overtaken: Overtaken) -> None:
        db, key = overtaken.db, overtaken.key
        if self.ingest is not None:
            self.doubts.add(db, key, self.ingest.position)
        reason = "commands on it may not have been applied in their order"
        if self.merged:
            self.refusals.refuse(
                Refusal(db, key, "order", f"{reason}, and its database is not known", self.flow, None, b"")
            )
        elif self.rereads is not None:
            self.rereads.request(db, (key,), reason)

    def retrying(self, batch: Batch, commands: int, reason: str) -> None:
        self._trouble_at = time.monotonic()
        self._records.event(
            "warning", "retry", f"batch #{batch.number}: {commands} commands again: {reason}", self.flow
        )
        log.warning(
            "Retrying",
            extra={"fields": {"flow": self.flow, "batch": batch.number, "entries": commands, "reason": reason}},
        )

    def redirected(self, commands: int) -> None:
        self.stats.redirects += commands

    def lane_changed(self, node: str, state: str) -> None:
        self.lane_states[node] = state
        self._trouble_at = time.monotonic()
        if state not in ("connected", "closed"):
            self._records.event("warning", "reconnect", f"target {node}: {state}", self.flow)
            log.warning("Target connection lost", extra={"fields": {"flow": self.flow, "node": node, "reason": state}})

    # What front ends ask

    def bytes_out(self) -> int:
        writer = self.writer
        return sum(lane.bytes_out for lane in list(writer.lanes.values())) if writer is not None else 0

    def reader_stalled(self) -> float:
        dispatcher = self.dispatcher
        since = dispatcher.channel.blocked_since if dispatcher is not None else None
        return time.monotonic() - since if since is not None else 0.0

    def oldest_wait(self) -> float:
        """Seconds since the oldest unconfirmed record was read, 0 when all is confirmed."""
        dispatcher, writer = self.dispatcher, self.writer
        if dispatcher is None or writer is None:
            return 0.0
        arrived = (
            writer.oldest_arrival() or dispatcher.accumulator.oldest_arrival() or dispatcher.channel.oldest_arrival()
        )
        return max(0.0, time.monotonic() - arrived) if arrived else 0.0

    def note_source_offset(self, lsn: int) -> None:
        """What the source said of this FLOW's next LSN just now."""
        self.stats.lsn_source = lsn
        history = self._source_history
        if not history or history[-1][1] < lsn:
            history.append((time.monotonic(), lsn))

    def unread_for(self) -> float:
        """Seconds (about) by which reading is behind the source: since when it has had records we have not received."""
        received, history = self.stats.lsn_received, self._source_history
        if received is None:
            return 0.0
        while history and history[0][1] <= received:
            history.popleft()
        return time.monotonic() - history[0][0] if history else 0.0

    def unread(self) -> bool:
        """Whether keys wait for a re-read, or for their removal, or for the confirmation of either."""
        if self.resume_rereads or self.leftovers or (self.rereads is not None and self.rereads.active):
            return True
        if (self.stats.lsn_confirmed or 0) <= self.leftovers.taken_at and not self._quiet():
            return True
        return (
            self.rereads is not None and bool(self.rereads.open_at(self.stats.lsn_confirmed or 0)) and not self._quiet()
        )

    def _quiet(self) -> bool:
        """Nothing read is unconfirmed."""
        dispatcher = self.dispatcher
        return dispatcher is not None and not (
            len(dispatcher.channel)
            or dispatcher.accumulator.open
            or dispatcher.holds_batch
            or dispatcher.limiter.in_flight
        )

    def lag_seconds(self) -> float:
        """Age of the oldest record that is not applied yet, read or unread."""
        return max(self.oldest_wait(), self.unread_for())

    def near(self) -> bool:
        """Nothing waits for long between the source and the target."""
        return self.stats.lsn_received is not None and self.lag_seconds() < NEAR

    def idle(self) -> bool:
        """Everything received is confirmed, and nothing newer is known of."""
        stats = self.stats
        return (
            self.dispatcher is not None
            and stats.lsn_received is not None
            and stats.lsn_confirmed == stats.lsn_received
            and (stats.lsn_source is None or stats.lsn_source <= stats.lsn_received)
        )

    def lag_records(self) -> int | None:
        stats = self.stats
        if stats.lsn_confirmed is None or stats.lsn_received is None:
            return None
        return max(stats.lsn_received, stats.lsn_source or 0) - stats.lsn_confirmed
