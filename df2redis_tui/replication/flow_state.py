"""One FLOW of a job: what outlives the source's sessions (writer, ledger, counters), and what happens in it."""

from __future__ import annotations

import logging
import time

from df2redis_tui.errors import printable
from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import REREAD, Block
from df2redis_tui.pipeline.dispatch import Dispatcher
from df2redis_tui.pipeline.knobs import FlowKnobs
from df2redis_tui.pipeline.signal import Signal
from df2redis_tui.replication.checkpoint import FlowLedger
from df2redis_tui.replication.doubts import Doubts
from df2redis_tui.replication.flush_log import FlushLog
from df2redis_tui.replication.ingest import Ingest
from df2redis_tui.replication.lateness import LATE, fields_in_doubt, in_doubt
from df2redis_tui.replication.leftovers import Leftovers
from df2redis_tui.replication.reread import Rereads
from df2redis_tui.replication.source_history import SourceHistory
from df2redis_tui.replication.spool import Spool
from df2redis_tui.target.pending import Overtaken, Pending
from df2redis_tui.target.writer import Writer
from df2redis_tui.telemetry.snapshot import Phase
from df2redis_tui.telemetry.stats import FlowStats, Records
from df2redis_tui.translate.expiry import DeferredExpiry, ExpiryBudget
from df2redis_tui.translate.refusals import OnTarget, Refusal, RefusalPort
from df2redis_tui.translate.scripts import MOVED_ONTO_ITSELF

log = logging.getLogger(__name__)

ACK_BEHIND = 1024  # records (§4.3)
NEAR = 1.0  # seconds
SAY_AGAIN = 30.0  # seconds

# What a journal command meets on a key that is not in the state of that moment. Inside a full sync a later base value
# heals it (§3.9).
_HEALED = ("WRONGTYPE", "ERR no such key", "ERR index out of range", "ERR The ID specified", "BUSYGROUP", "NOGROUP")
# What no other value changes: the target does not know the command (so which keys it is about is not certain), or the
# result is too large for it.
_NOT_KNOWN = ("ERR unknown command", "ERR unknown subcommand", "ERR Unknown subcommand")
_FOR_GOOD = (*_NOT_KNOWN, "ERR string exceeds")

TOO_LONG = "exceeds maximum allowed size"  # the answer to a piece that makes a string too long


class FlowState:
    """The writer's events come here; front ends read the figures."""

    def __init__(
        self,
        flow: int,
        knobs: FlowKnobs,
        ledger: FlowLedger | None,
        refusals: RefusalPort,
        records: Records,
        budget: ExpiryBudget | None = None,
    ) -> None:
        self.flow = flow
        self.knobs = knobs
        self.ledger = ledger
        self.refusals = refusals
        self.expiry = DeferredExpiry(budget)
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
        self._source_history = SourceHistory()
        self._flush_log = FlushLog(flow)
        self._records = records
        self._said_unverified = self._said_refused = 0.0
        self._unsaid = 0
        self._confirmed_at = 0.0
        self._refused: tuple[float, str] | None = None  # since when the target refuses for the time being, and why

    # What the writer tells

    def sending(self, blocks: list[Block]) -> None:
        if self.doubts:
            for overtaken in self.doubts.carried(blocks):
                self.doubt(overtaken)

    def confirmed(self, batch: Batch) -> None:
        now = self._confirmed_at = time.monotonic()
        self._refused = None
        if self.dispatcher is not None:
            self.dispatcher.confirmed(batch)
        stats = self.stats
        stats.entries += batch.entries
        stats.commands += batch.commands
        stats.batches += 1
        stats.retries += batch.retries
        if batch.kinds:
            kinds = stats.kinds
            stats.rereads += batch.kinds.pop(REREAD, 0)
            for kind, count in batch.kinds.items():
                kinds[kind] = kinds.get(kind, 0) + count
        doubts = 0
        for block in batch.blocks:
            if block.commands:
                ms = (now - block.arrived) * 1000
                stats.latency.add(ms, len(block.commands))
                if block.next_lsn or batch.next_lsn:
                    stats.stable_latency.add(ms, len(block.commands))
                waited = now - block.arrived
                if block.too_late or waited > LATE or (self.expiry.with_fields and waited > NEAR):
                    doubts += self._was_late(block, waited)
        if doubts:
            self._carry_on()
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
            self._flush_log.flushed(batch, now, took)

    def _was_late(self, block: Block, waited: float) -> int:
        """Read again what the target may have ended before this block came to it; returns how much that is."""
        if self.rereads is None or block.lsns is None:
            return 0
        wall_ms, expiry = time.time_ns() // 1_000_000, self.expiry
        found = [*in_doubt(block, wall_ms, waited, expiry.ends_at)]
        if waited > NEAR:
            found += fields_in_doubt(block, expiry.with_fields)
        for key, lsn in found:
            if not self.rereads.supersedes(block.db, key, lsn):
                self._expired(block.db, key, "the target may have expired it before what changed it was applied")
        return len(found)

    def _carry_on(self) -> None:
        """Commands that are on their way may carry on what came in doubt just now."""
        if self.doubts and self.writer is not None:
            for overtaken in self.doubts.carried(self.writer.blocks_in_flight()):
                self.doubt(overtaken)

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

    def refused(self, pending: Pending, batch: Batch) -> None:
        error = printable(pending.error.encode("utf-8", "backslashreplace"))
        if pending.tolerant and pending.error.startswith(_HEALED):
            self.stats.tolerated += 1
            if pending.error.startswith("ERR no such key"):
                self._reread_after_full_sync(pending)
            return
        keys = pending.names()
        if pending.tolerant and keys and self._asked_after_full_sync(pending, keys, error):
            self.stats.tolerated += 1
            return
        if keys and self._superseded(pending, keys):
            self.stats.tolerated += 1
            return
        if (
            keys
            and not error.startswith(_NOT_KNOWN)
            and (self._may_come_late(pending, batch) or self._may_be_gone(pending))
        ):
            self._read_again(pending, keys, error)
            return
        if TOO_LONG in error and keys and self.refusals.refused(pending.db, keys[0]):
            return  # another piece of the same string
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
        reason = f"the target answered {error}"
        removed: OnTarget = "removed" if keys and self.rereads is not None and not self.merged else "untouched"
        self.refusals.refuse(
            Refusal(pending.db, key, name, reason, self.flow, pending.lsn or None, pending.command, removed)
        )
        if removed == "removed" and self.rereads is not None:
            for key in keys:
                self.rereads.remove(pending.db, key, reason)

    def _asked_after_full_sync(self, pending: Pending, keys: tuple[bytes, ...], error: str) -> bool:
        """Whether the keys of a command that the target does not take, from inside a full sync, will be read again."""
        rereads = self.rereads
        if rereads is None or self.merged or error.startswith(_FOR_GOOD):
            return False
        return all(rereads.doubt(pending.db, key, f"the target answered {error}") for key in keys)

    def _may_be_gone(self, pending: Pending) -> bool:
        """Whether the key can be read again: the source took this command, so its value is right. The target may have
        had another one, since it expires keys by itself, or because a command before was refused."""
        readable = self.rereads is not None and not self.merged and not pending.tolerant
        return readable and bool(pending.lsn) and not pending.error.startswith(_FOR_GOOD)

    def _read_again(self, pending: Pending, keys: tuple[bytes, ...], error: str) -> None:
        for key in keys:
            self.doubt(Overtaken(pending.db, key), f"the target answered {error}")
        self._carry_on()
        name = printable(pending.command.split(b"\r\n", 3)[2])
        self.stats.tolerated += 1
        self._unsaid += 1
        if (now := time.monotonic()) - self._said_refused < 1.0:
            return
        self._said_refused, unsaid, self._unsaid = now, self._unsaid, 0
        self._records.event("warning", "re-read", f"{name} {printable(keys[0])}: {error}: read again", self.flow)
        log.warning(
            "The target refused a command, its keys are read again",
            extra={
                "fields": {
                    "flow": self.flow,
                    "command": name,
                    "key": printable(keys[0]),
                    "error": error,
                    "times": unsaid,
                }
            },
        )

    def found_nothing(self, pending: Pending) -> None:
        """The source changes the expiry of a key that it has, or copies it: the target expired it too early (§4.8)."""
        if pending.command.startswith(MOVED_ONTO_ITSELF):
            self._may_have_lost_its_ttl(pending)
            return
        lsn = pending.lsn
        if pending.tolerant:
            self._reread_after_full_sync(pending)
        if self.rereads is None or pending.tolerant or not lsn or lsn < self.missed_until():
            return  # what the source did while nobody followed is seen to as it is read
        if pending.args()[0] == b"PERSIST" and (self.ingest is None or not self.ingest.persist_tells):
            return
        for key in pending.names():
            if not self.rereads.supersedes(pending.db, key, lsn):
                self._expired(pending.db, key, "it was gone on the target when its expiry was changed")
        self._carry_on()

    def _may_have_lost_its_ttl(self, pending: Pending) -> None:
        """A list of one element, popped and pushed: its TTL is gone, unless it was moved onto itself."""
        rereads = self.rereads
        for key in pending.names():
            if rereads is not None and not rereads.supersedes(pending.db, key, pending.lsn or 0):
                self._expired(pending.db, key, "a list may have been moved onto itself")

    def _reread_after_full_sync(self, pending: Pending) -> None:
        """The key may have expired on the target before its time was changed: a full sync may take long."""
        if self.rereads is not None:
            for key in pending.names():
                self._expired(pending.db, key, "its expiry was changed when it was gone on the target")

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

    def doubt(
        self, overtaken: Overtaken, reason: str = "commands on it may not have been applied in their order"
    ) -> None:
        db, key = overtaken.db, overtaken.key
        if self.ingest is not None:
            self.doubts.add(db, key, self.ingest.position)
        if self.merged:
            self.refusals.refuse(
                Refusal(db, key, "order", f"{reason}, and its database is not known", self.flow, None, b"")
            )
        elif self.rereads is not None:
            self.rereads.request(db, (key,), reason)

    def _expired(self, db: int, key: bytes, reason: str) -> None:
        """As `doubt`, of keys that may be so many that not all of them can be read again."""
        if self.rereads is not None and not self.merged and self.rereads.doubt(db, key, reason):
            if self.ingest is not None:
                self.doubts.add(db, key, self.ingest.position)
            return
        stats, now = self.stats, time.monotonic()
        stats.unverified += 1
        if stats.unverified == 1 or now - self._said_unverified >= SAY_AGAIN:
            self._said_unverified = now
            text = f"{stats.unverified:,} keys may have expired on the target too early: compare both sides when done"
            self._records.event("error", "unverified", text, self.flow)
            log.error(
                "Keys in doubt are not read again",
                extra={"fields": {"flow": self.flow, "keys": stats.unverified, "key": printable(key)}},
            )

    def unreadable(self, db: int, key: bytes, why: str) -> None:
        """This key can't be read again. Raises NotCopied under the policy `stop`."""
        position = self.ingest.position if self.ingest is not None else None
        self.refusals.refuse(Refusal(db, key, "journal record", why, self.flow, position, b"", "removed"))
        if self.rereads is not None:
            # What the target has of it is not the source's any more.
            self.rereads.remove(db, key, why)

    def retrying(self, batch: Batch, commands: int, reason: str) -> None:
        self._refused = (self._refused[0] if self._refused else time.monotonic(), reason)
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
        if state not in ("connected", "closed"):
            self._records.event("warning", "reconnect", f"target {node}: {state}", self.flow)
            log.warning("Target connection lost", extra={"fields": {"flow": self.flow, "node": node, "reason": state}})

    # What front ends ask

    def bytes_out(self) -> int:
        return self.writer.bytes_out() if self.writer is not None else 0

    def reader_stalled(self) -> float:
        dispatcher = self.dispatcher
        since = dispatcher.channel.blocked_since if dispatcher is not None else None
        return time.monotonic() - since if since is not None else 0.0

    def silent_for(self) -> float:
        """Seconds in which the target confirmed nothing while something was in flight."""
        sent = self.writer.oldest_sent() if self.writer is not None else 0.0
        return time.monotonic() - max(sent, self._confirmed_at) if sent else 0.0

    def refused_for(self) -> tuple[float, str]:
        """Seconds for which the target has been refusing what it may take later, and what it answered."""
        return (time.monotonic() - self._refused[0], self._refused[1]) if self._refused else (0.0, "")

    def lost_lanes(self) -> str:
        """Connections to the target that are not there, "" when all are."""
        return ", ".join(
            f"{node}: {state}" for node, state in self.lane_states.items() if state not in ("connected", "closed")
        )

    def commands_waiting(self) -> int:
        """Read, and not confirmed."""
        dispatcher = self.dispatcher
        sent = self.writer.commands_in_flight() if self.writer is not None else 0
        if dispatcher is None:
            return sent
        return sent + dispatcher.channel.entries + dispatcher.accumulator.waiting() + dispatcher.held

    def rereads_waiting(self) -> int:
        """Keys to be read again, or whose value that was read again is not confirmed."""
        if not self.unread():
            return 0
        waiting = len(self.resume_rereads) + len(self.leftovers)
        return waiting + (len(self.rereads.open_keys()) if self.rereads is not None else 0)

    def nearly_read(self) -> bool:
        """Whether the source has said of records that were not received, and they can't be far."""
        stats = self.stats
        return (stats.lsn_source or 0) > (stats.lsn_received or 0) and self.unread_for() < NEAR

    def oldest_wait(self) -> float:
        """Seconds since the oldest unconfirmed record was read, 0 when all is confirmed."""
        dispatcher, writer = self.dispatcher, self.writer
        if dispatcher is None or writer is None:
            return 0.0
        arrived = (
            writer.oldest_arrival()
            or dispatcher.held_arrival
            or dispatcher.accumulator.oldest_arrival()
            or dispatcher.channel.oldest_arrival()
        )
        return max(0.0, time.monotonic() - arrived) if arrived else 0.0

    def note_source_offset(self, lsn: int) -> None:
        """What the source said of this FLOW's next LSN just now."""
        self.stats.lsn_source = lsn
        self._source_history.note(lsn)

    def unread_for(self) -> float:
        """Seconds (about) by which reading is behind the source: since when it has had records we have not received."""
        received = self.stats.lsn_received
        return self._source_history.behind_for(received) if received is not None else 0.0

    def unread(self) -> bool:
        """Whether keys wait for a re-read, or for their removal, or for the confirmation of either."""
        if self.resume_rereads or self.leftovers or (self.rereads is not None and self.rereads.active):
            return True
        if (self.stats.lsn_confirmed or 0) <= self.leftovers.taken_at and not self._quiet():
            return True
        return self.rereads is not None and self.rereads.unconfirmed and not self._quiet()

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

    def end_to_end_lag(self) -> float:
        """How much later than on the source a record read now may take effect, as far as is known."""
        return self.oldest_wait() + self.unread_for()

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
        return max(0, max(stats.lsn_received, stats.lsn_source or 0) - stats.lsn_confirmed)
