"""Makes the engine's snapshots from the state of its job."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from pathlib import Path

import psutil

from df2redis_tui.pipeline.knobs import FlowKnobs
from df2redis_tui.replication.confirmed import confirmed, ending
from df2redis_tui.replication.flow_checkpoints import checkpoint_text
from df2redis_tui.replication.flow_state import FlowState
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.telemetry.health import SILENCE, bottleneck, ends_health, flow_health, worst
from df2redis_tui.telemetry.logs import log_path
from df2redis_tui.telemetry.snapshot import (
    EngineSnapshot,
    FlowSnapshot,
    Health,
    Knobs,
    NodeSnapshot,
    Outcome,
    Phase,
    SourceInfo,
    TargetInfo,
    Totals,
)
from df2redis_tui.telemetry.stats import Rate, quantiles_of
from df2redis_tui.telemetry.verdict import running

READY_AFTER = 30.0  # seconds at lag 0 before a cutover is offered
ETA_AFTER = 10.0  # seconds of full sync before an ETA is honest
ETA_FROM = 0.01  # share of the keys
KEY_RATE_SAMPLES = 100  # looks, about 20 s
NEARLY = 0.999  # a full sync that is not confirmed everywhere is not whole, whatever the source counted at the start


class Look:
    """One per engine; keeps the rates between two snapshots. To be called on the engine's loop."""

    def __init__(self, job: JobState) -> None:
        self._job = job
        self._seq = 0
        self._started_at = time.time()
        self._started = time.monotonic()
        self._bytes_out = Rate()
        self._keys = Rate(KEY_RATE_SAMPLES)
        self._nodes: dict[str, Rate] = {}
        self._process = psutil.Process()
        self._last_busy = 0.0
        self._last_entries = 0

    def take(
        self, outcome: Outcome | None = None, *, exit_code: int | None = None, failure: str = ""
    ) -> EngineSnapshot:
        """How things stand; `outcome` once the run has ended."""
        job = self._job
        now = time.monotonic()
        self._seq += 1
        flows = tuple(self._flow(state, now) for state in job.flows)
        totals = self._totals(flows, now)
        if totals.entries != self._last_entries:
            self._last_entries, self._last_busy = totals.entries, now
        asked = job.target_asked_at
        ends = ends_health(
            now - job.source_lost_since if job.source_lost_since is not None else None,
            job.source_silent(),
            now - asked if asked is not None else 0.0,
        )
        health, health_reason = worst([ends, *((f.health, f"FLOW {f.flow}: {f.health_reason}") for f in flows)])
        if health is Health.HEALTHY:
            health_reason = ""
        silent = job.source_silent() or job.phase is Phase.RECONNECTING  # what it has told is of no worth any more
        lags = [f.lag_records for f in flows if f.lag_records is not None and not silent]
        lag_seconds = [f.lag_seconds for f in flows if f.lag_seconds is not None and not silent]
        caught_up = job.caught_up_since
        progress, eta = self._progress(totals, now)
        paused = job.gate.closed
        rss = self._process.memory_info().rss
        if outcome is None:
            outcome = running(confirmed(job), ending(job))
        phase = Phase.PAUSED if paused and job.phase in (Phase.FULL_SYNC, Phase.STABLE_SYNC) else job.phase
        return EngineSnapshot(
            seq=self._seq,
            at=time.time(),
            started_at=self._started_at,
            elapsed=now - self._started,
            job=job.settings.job,
            phase=phase,
            phase_since=job.phase_since,
            reason=self._reason(paused),
            health=health,
            health_reason=health_reason,
            bottleneck=self._bottleneck(flows, paused, now),
            source=self._source(),
            target=self._target(),
            flows=flows,
            nodes=self._node_snapshots(now),
            totals=totals,
            knobs=_knobs(job.common(), job.rate.per_second),
            configured=_knobs(job.configured(), job.settings.tuning.rate_limit),
            paused=paused,
            progress=progress,
            eta=eta,
            lag_records=sum(lags) if len(lags) == len(flows) and flows else None,
            lag_seconds=max(lag_seconds) if len(lag_seconds) == len(flows) and flows else None,
            caught_up_for=now - caught_up if caught_up is not None else None,
            ready_to_cut_over=caught_up is not None and now - caught_up >= READY_AFTER and health is Health.HEALTHY,
            batches=tuple(job.records.batches),
            events=tuple(job.records.events),
            rss_bytes=rss,
            peak_rss_bytes=max(rss, _peak_rss()),
            phase_seconds=tuple(job.phase_durations().items()),
            dead_letter_file=str(job.dead_letters.path),
            log_file=str(log_path() or ""),
            outcome=outcome,
            exit_code=exit_code,
            failure=failure,
            spool_bytes=sum(f.spool_bytes for f in flows),
            spool_limit=job.spool_space.limit if job.settings.backpressure == "spill" else 0,
            checkpoint=checkpoint_text(job),
            extra=self._extra(),
        )

    def _reason(self, paused: bool) -> str:
        job = self._job
        if paused:
            return f"paused {job.pause_reason}".strip()
        if job.reason:
            return job.reason
        for state in job.flows:
            if state.writer is not None and state.writer.status:
                return state.writer.status
        return ""

    def _flow(self, state: FlowState, now: float) -> FlowSnapshot:
        stats, dispatcher, writer = state.stats, state.dispatcher, state.writer
        stats.entry_rate.sample(now, stats.entries)
        stats.byte_rate.sample(now, stats.bytes_in)
        stats.latency.turn(now)
        channel = dispatcher.channel if dispatcher is not None else None
        accumulator = dispatcher.accumulator if dispatcher is not None else None
        limiter = dispatcher.limiter if dispatcher is not None else None
        open_entries = accumulator.count if accumulator is not None else 0
        wait = now - accumulator.opened_at if accumulator is not None and open_entries else 0.0
        stalled = state.reader_stalled()
        latency = stats.latency.recent(0.5, 0.99)
        knobs = _knobs(state.knobs, self._job.rate.per_second)
        in_flight = limiter.in_flight if limiter is not None else 0
        fill = 0.0
        if channel is not None:
            fill = max(channel.entries / max(1, knobs.channel_entries), channel.bytes / max(1, knobs.channel_bytes))
        lag = state.lag_seconds() if stats.lsn_received is not None and state.cut_confirmed else None
        health, reason = flow_health(
            min(1.0, fill),
            in_flight / max(1, knobs.max_in_flight),
            wait,
            stalled,
            lag=lag or 0.0,
            silent=state.silent_for(),
            refused=state.refused_for(),
            lost=state.lost_lanes(),
        )
        phase = state.phase if self._job.phase is not Phase.RECONNECTING else Phase.RECONNECTING
        if phase in (Phase.BARRIER, Phase.STABLE_SYNC) and not state.cut_confirmed:
            phase = Phase.FULL_SYNC
        spool = state.spool
        return FlowSnapshot(
            flow=state.flow,
            phase=phase,
            reason=(writer.status if writer is not None else "") or (spool.blocked if spool is not None else ""),
            health=health,
            health_reason=reason,
            knobs=knobs,
            channel_entries=channel.entries if channel is not None else 0,
            channel_bytes=channel.bytes if channel is not None else 0,
            in_flight=in_flight,
            in_flight_bytes=limiter.bytes if limiter is not None else 0,
            open_batch_entries=open_entries,
            open_batch_wait=wait,
            entries=stats.entries,
            commands=stats.commands,
            bytes_in=stats.bytes_in,
            bytes_out=state.bytes_out(),
            batches=stats.batches,
            retries=stats.retries,
            redirects=stats.redirects,
            errors=stats.errors,
            entries_per_s=stats.entry_rate.value,
            bytes_in_per_s=stats.byte_rate.value,
            lsn_received=stats.lsn_received,
            lsn_confirmed=stats.lsn_confirmed,
            lsn_acked=stats.lsn_acked,
            lsn_source=stats.lsn_source,
            lag_records=state.lag_records(),
            lag_seconds=lag,
            latency_p50_ms=latency[0] if latency else None,
            latency_p99_ms=latency[1] if latency else None,
            reader_stalled=stalled,
            node_in_flight=tuple(writer.node_depths().items()) if writer is not None and len(writer.lanes) > 1 else (),
            spool_bytes=spool.bytes if spool is not None else 0,
        )

    def _totals(self, flows: tuple[FlowSnapshot, ...], now: float) -> Totals:
        kinds: dict[str, int] = {}
        for state in self._job.flows:
            for kind, count in state.stats.kinds.items():
                kinds[kind] = kinds.get(kind, 0) + count
        bytes_out = sum(f.bytes_out for f in flows)
        self._bytes_out.sample(now, bytes_out)
        return Totals(
            entries=sum(f.entries for f in flows),
            commands=sum(f.commands for f in flows),
            bytes_in=sum(f.bytes_in for f in flows),
            bytes_out=bytes_out,
            batches=sum(f.batches for f in flows),
            retries=sum(f.retries for f in flows),
            redirects=sum(f.redirects for f in flows),
            errors=sum(f.errors for f in flows),
            dead_letters=self._job.dead_letters.count,
            entries_per_s=sum(f.entries_per_s for f in flows),
            bytes_in_per_s=sum(f.bytes_in_per_s for f in flows),
            bytes_out_per_s=self._bytes_out.value,
            keys_copied=sum(kinds.values()),
            keys_by_type=tuple(sorted(kinds.items())),
            rereads=sum(state.stats.rereads for state in self._job.flows),
        )

    def _progress(self, totals: Totals, now: float) -> tuple[float | None, float | None]:
        """Of a full sync, by the keys that the target has confirmed."""
        job = self._job
        if job.phase is not Phase.FULL_SYNC or not job.source_keys:
            return None, None
        self._keys.sample(now, totals.keys_copied)
        progress = min(NEARLY, totals.keys_copied / job.source_keys)
        left = job.source_keys - totals.keys_copied
        early = progress < ETA_FROM or now - job.full_sync_since < ETA_AFTER
        if early or left <= 0 or not self._keys.value or job.gate.closed or self._held_up():
            return progress, None
        return progress, left / self._keys.value

    def _bottleneck(self, flows: tuple[FlowSnapshot, ...], paused: bool, now: float) -> str:
        if not flows:
            return "idle"
        fullest = max(flows, key=lambda f: (f.channel_fill, f.limiter_fill))
        limited = any(s.dispatcher is not None and s.dispatcher.rate_limited for s in self._job.flows)
        return bottleneck(
            fullest.channel_fill,
            max(f.in_flight for f in flows),
            fullest.knobs.max_in_flight,
            limited,
            paused,
            now - self._last_busy < 2.0,
            self._held_up(),
        )

    def _held_up(self) -> bool:
        """Whether the target takes nothing in some FLOW."""
        return any(s.refused_for()[1] or s.lost_lanes() or s.silent_for() >= SILENCE[0] for s in self._job.flows)

    def _source(self) -> SourceInfo:
        job = self._job
        greeting = job.greeting
        return SourceInfo(
            address=job.settings.source.label,
            version=greeting.df_version if greeting is not None else "",
            flows=greeting.flows if greeting is not None else 0,
            master_id=greeting.master_id if greeting is not None else "",
            keys=job.source_keys,
            connected=job.source_connected,
            link="connected" if job.source_connected else job.reason or "not connected",
        )

    def _target(self) -> TargetInfo:
        job = self._job
        facts = job.target.facts
        caps = job.target.caps if facts else None
        states = {s for state in job.flows for s in state.lane_states.values() if s not in ("connected", "closed")}
        return TargetInfo(
            address=job.settings.target.label,
            product=caps.product if caps is not None else "",
            version=".".join(map(str, caps.version)) if caps is not None else "",
            cluster=job.target.router.cluster,
            modules=tuple(sorted({m for f in facts for m in f.modules})),
            capabilities=(
                ("JSON", "yes" if caps.json else "no"),
                ("field TTLs", "yes" if caps.field_ttl else "no"),
                ("RESTORE types", " ".join(map(str, sorted(caps.rdb_types)))),
            )
            if caps is not None
            else (),
            existing_keys=job.target.existing_keys if facts else None,
            link=", ".join(sorted(states)) or ("connected" if facts else "not connected"),
        )

    def _node_snapshots(self, now: float) -> tuple[NodeSnapshot, ...]:
        job = self._job
        nodes = []
        for facts in job.target.facts:
            lanes = [
                lane
                for state in job.flows
                if state.writer is not None and (lane := state.writer.lanes.get(facts.name)) is not None
            ]
            commands = sum(lane.commands for lane in lanes)
            rate = self._nodes.setdefault(facts.name, Rate())
            rate.sample(now, commands)
            latencies = [lane.latency for lane in lanes if lane.latency]
            wrong = {lane.lost for lane in lanes if lane.lost and lane.lost != "closed"}
            if (silent := max((lane.silent_for() for lane in lanes), default=0.0)) >= SILENCE[0]:
                wrong.add(f"no answer for {silent:.0f} s")
            nodes.append(
                NodeSnapshot(
                    name=facts.name,
                    version=f"{facts.product} {facts.version}",
                    role=facts.role,
                    slots=job.target.slots_of(facts.name),
                    used_memory=facts.used_memory,
                    max_memory=facts.max_memory,
                    connected=bool(lanes) and not any(lane.lost for lane in lanes),
                    in_flight=sum(len(lane.waiting) for lane in lanes),
                    entries=commands,
                    entries_per_s=rate.value,
                    latency_ms=max(latencies) * 1000 if latencies else None,
                    errors=sum(lane.errors for lane in lanes),
                    detail=", ".join(sorted(wrong)),
                )
            )
        return tuple(nodes)

    def _extra(self) -> tuple[tuple[str, str], ...]:
        stable: list[int] = []
        for state in self._job.flows:
            buckets = state.stats.stable_latency.all
            stable = [a + b for a, b in zip(stable, buckets, strict=True)] if stable else list(buckets)
        found: list[tuple[str, str]] = []
        if stable:
            quantiles = quantiles_of(stable, (0.5, 0.99))
            if quantiles:
                found += [
                    ("latency p50", f"{quantiles[0]:.1f} ms"),
                    ("latency p99", f"{quantiles[1]:.1f} ms"),
                ]
        flows = self._job.flows
        counted = {
            "LSN gaps": sum(state.stats.lsn_gaps for state in flows),
            "tolerated errors": sum(state.stats.tolerated for state in flows),
            "unverified keys": sum(state.stats.unverified for state in flows),
        }
        found += [(what, f"{number:,}") for what, number in counted.items() if number]
        return tuple(found)


def _knobs(k: FlowKnobs, rate_limit: int) -> Knobs:
    return Knobs(
        k.batch_size,
        k.max_in_flight,
        k.flush_interval,
        k.adaptive_flush,
        k.channel_entries,
        k.channel_bytes,
        rate_limit,
    )


def _peak_rss() -> int:
    with contextlib.suppress(OSError, IndexError):  # what getrusage says may be of the process that started this one
        _, _, kib = Path("/proc/self/status").read_text().partition("VmHWM:")
        return int(kib.split(maxsplit=1)[0]) * 1024
    peak = 0
    with contextlib.suppress(OSError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
