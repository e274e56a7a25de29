"""One look at a running engine: frozen plain values that can be turned into JSON, the only thing front ends see.

Units: seconds (float) unless the name says ms; bytes; unix time for `*_at`. None: not known, or does not apply.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """Where a session or a FLOW stands."""

    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    FULL_SYNC = "full sync"
    BARRIER = "barrier"
    STABLE_SYNC = "stable sync"
    PAUSED = "paused"
    RECONNECTING = "reconnecting"
    DRAINING = "draining"
    DONE = "done"
    FAILED = "failed"


class Health(StrEnum):
    """The three grades of design.md's table."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"


class Verdict(StrEnum):
    """How a run ended, by what the target had confirmed then."""

    RUNNING = "running"
    COMPLETE = "complete"  # everything was copied
    INCOMPLETE = "incomplete"  # something could not be copied
    INTERRUPTED = "interrupted"  # asked to end before everything was there
    UNCONFIRMED = "unconfirmed"  # the drain ended before the target had confirmed what was read
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What the target has confirmed, and what is known to be missing there."""

    snapshot: bool  # the full sync of every FLOW (by an earlier run, where this one resumed)
    keys: int  # of this run's full sync, each counted once
    keys_at_start: int | None  # of the source, "~"
    records_behind: int | None  # journal records, as far as the source has told of them
    commands_waiting: int  # read, and not confirmed
    rereads_waiting: int  # keys whose value is still to be read again from the source
    clean_up_due: bool  # keys of an earlier full sync are still to be removed
    unverified: int  # keys that may have expired on the target too early, too many to be read again
    dead_letters_before: int  # of earlier runs, since the full sync that this one goes on from
    evicted: int  # keys that the target dropped since that full sync began, because it was full
    spared_before: bool  # an earlier run left keys alone (--on-existing skip), this one does not
    leftovers_of: str  # "job 'a'", from whose keys those that the source no longer has can't be told; "" none


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict on a run, made in one place (`telemetry.verdict`) and shown alike by all."""

    verdict: Verdict
    text: str  # what it means here: "interrupted: 14,001 of ~30,203 keys", "" while it runs
    not_copied: str  # what is known of what is missing: "none", "3 in state/dead-letters.jsonl", "not known: ..."
    next: str  # what to do, "" when nothing
    confirmed: Confirmed


@dataclass(frozen=True, slots=True)
class Knobs:
    """What can be tuned while it runs, as in force now (per FLOW)."""

    batch_size: int  # entries
    max_in_flight: int  # batches
    flush_interval: float  # seconds a partial batch waits at most
    adaptive_flush: bool
    channel_entries: int
    channel_bytes: int
    rate_limit: int  # entries/s of the whole engine, 0 = none


@dataclass(frozen=True, slots=True)
class FlowSnapshot:
    flow: int
    phase: Phase
    reason: str  # why it isn't running, "" while it runs
    health: Health
    health_reason: str  # the figure that makes it so, "" when healthy
    knobs: Knobs
    channel_entries: int
    channel_bytes: int
    in_flight: int  # batches
    in_flight_bytes: int
    open_batch_entries: int
    open_batch_wait: float
    entries: int  # confirmed by the target, since the start
    commands: int  # confirmed commands
    bytes_in: int  # read from the FLOW socket
    bytes_out: int  # written to the target
    batches: int
    retries: int
    redirects: int
    errors: int
    entries_per_s: float
    bytes_in_per_s: float
    lsn_received: int | None  # next LSN, stable sync only
    lsn_confirmed: int | None
    lsn_acked: int | None
    lsn_source: int | None  # what the source said last
    lag_records: int | None
    lag_seconds: float | None
    latency_p50_ms: float | None  # read from the socket → confirmed, over the last seconds
    latency_p99_ms: float | None
    reader_stalled: float  # seconds the socket has not been read because of backpressure, 0 while it is read
    node_in_flight: tuple[tuple[str, int], ...]  # (node, batches) where the target has several
    spool_bytes: int  # of the journal, waiting on disk

    @property
    def channel_fill(self) -> float:
        """0..1: whichever of the two bounds is nearer."""
        k = self.knobs
        return min(
            1.0, max(self.channel_entries / max(1, k.channel_entries), self.channel_bytes / max(1, k.channel_bytes))
        )

    @property
    def limiter_fill(self) -> float:
        """0..1 (more than 1 while a lowered limit drains)."""
        return self.in_flight / max(1, self.knobs.max_in_flight)


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """A target server."""

    name: str  # host:port
    version: str
    role: str
    slots: int | None
    used_memory: int | None
    max_memory: int | None  # 0 = no limit
    connected: bool
    in_flight: int
    entries: int
    entries_per_s: float
    latency_ms: float | None
    errors: int  # error replies
    detail: str  # what is wrong with its connections, "" when nothing


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One flush. `seq` runs over all FLOWs."""

    seq: int
    at: float
    flow: int
    batch: int
    entries: int
    bytes: int
    nodes: int
    ms: float
    result: str  # "ok" or what happened
    failed: bool


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something an operator wants to read: a retry, an error reply, a reconnect, a dead letter, a tuning change."""

    seq: int
    at: float
    level: str  # info, warning, error
    kind: str  # retry, server-error, dead-letter, reconnect, tuning, phase
    flow: int | None
    text: str


@dataclass(frozen=True, slots=True)
class SourceInfo:
    address: str
    version: str  # "df-v1.40.1", "" until known
    flows: int
    master_id: str
    keys: int | None  # DBSIZE over all databases at the start: "~"
    connected: bool
    link: str  # one line: "connected", "reconnecting in 4 s (attempt 3: connection refused)"


@dataclass(frozen=True, slots=True)
class TargetInfo:
    address: str
    product: str
    version: str
    cluster: bool
    modules: tuple[str, ...]
    capabilities: tuple[tuple[str, str], ...]  # (what, "yes"/"no"/detail), for the Target screen
    existing_keys: int | None  # what it held before we began
    link: str


@dataclass(frozen=True, slots=True)
class Totals:
    entries: int
    commands: int
    bytes_in: int
    bytes_out: int
    batches: int
    retries: int
    redirects: int
    errors: int
    dead_letters: int
    entries_per_s: float
    bytes_in_per_s: float
    bytes_out_per_s: float
    keys_copied: int  # keys of the full sync confirmed, each counted once
    keys_by_type: tuple[tuple[str, int], ...]
    rereads: int  # values read from the source again, and confirmed


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """Everything a front end may show. `seq` grows by one with each snapshot."""

    seq: int
    at: float  # unix time
    started_at: float
    elapsed: float
    job: str
    phase: Phase
    phase_since: float  # unix time
    reason: str  # of every state that isn't running
    health: Health
    health_reason: str
    bottleneck: str  # "source-bound", "target-bound: limiter 50/50, channel 83 %", "rate limit", "paused", "idle"
    source: SourceInfo
    target: TargetInfo
    flows: tuple[FlowSnapshot, ...]
    nodes: tuple[NodeSnapshot, ...]
    totals: Totals
    knobs: Knobs  # defaults for all FLOWs, as in force
    configured: Knobs  # what the configuration said (for reset)
    paused: bool
    progress: float | None  # 0..1 of keys in the full sync, None when it means nothing
    eta: float | None  # seconds, only when honest
    lag_records: int | None
    lag_seconds: float | None
    caught_up_for: float | None  # seconds with lag 0 in every FLOW, None when not
    ready_to_cut_over: bool
    batches: tuple[BatchRecord, ...]  # the newest, oldest first (a bounded ring)
    events: tuple[EventRecord, ...]  # likewise
    rss_bytes: int
    peak_rss_bytes: int
    phase_seconds: tuple[tuple[str, float], ...]  # finished and running phases
    dead_letter_file: str
    log_file: str
    outcome: Outcome
    exit_code: int | None  # set when done
    failure: str  # one line, when it failed
    spool_bytes: int
    spool_limit: int  # 0 = there is no spool
    checkpoint: str  # one line: where a resume would begin, "" before there is a checkpoint
    extra: tuple[tuple[str, str], ...]  # further figures of the report

    def as_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings."""
        return dataclasses.asdict(self)
