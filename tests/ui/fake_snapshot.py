"""Snapshots that look like a run's, as a pure function of time: same arguments, same figures."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from df2redis_tui.telemetry.snapshot import (
    BatchRecord,
    Confirmed,
    EngineSnapshot,
    EventRecord,
    FlowSnapshot,
    Health,
    Knobs,
    NodeSnapshot,
    Outcome,
    Phase,
    SourceInfo,
    TargetInfo,
    Totals,
    Verdict,
)

START = 1_790_000_000.0  # unix time of t = 0
KNOBS = Knobs(
    batch_size=2000,
    max_in_flight=50,
    flush_interval=0.05,
    adaptive_flush=True,
    channel_entries=2_000_000,
    channel_bytes=64 * 1024**2,
    rate_limit=0,
)
KEYS = 20_100_000


def wave(t: float, seed: int, low: float, high: float, period: float = 17.0) -> float:
    """A smooth figure between `low` and `high`, with a little noise that depends on (t, seed) only."""
    noise = random.Random(f"{t:.3f}/{seed}").random() * 0.15
    return low + (high - low) * min(1.0, 0.425 * (1 + math.sin(t * 2 * math.pi / period + seed * 1.7)) + noise)


def _grade(channel: float, limiter: float, wait: float) -> tuple[Health, str]:
    if channel > 0.8:
        return Health.CRITICAL, f"channel {channel * 100:.0f} % > 80 %"
    if limiter > 0.9:
        return Health.CRITICAL, f"limiter {limiter * 100:.0f} % > 90 %"
    if channel >= 0.5:
        return Health.WARNING, f"channel {channel * 100:.0f} % ≥ 50 %"
    if limiter >= 0.7:
        return Health.WARNING, f"limiter {limiter * 100:.0f} % ≥ 70 %"
    if wait >= 5:
        return Health.WARNING, f"batch waits {wait:.1f} s ≥ 5 s"
    return Health.HEALTHY, ""


def make_flow(index: int, t: float, phase: Phase, knobs: Knobs, loaded: bool) -> FlowSnapshot:
    """`loaded`: this FLOW's channel is well filled."""
    waiting = phase in (Phase.CONNECTING, Phase.HANDSHAKE)
    ended = phase in (Phase.DONE, Phase.FAILED)
    idle = waiting or ended or phase is Phase.PAUSED
    channel = 0.0 if waiting or ended else wave(t, index, 0.55, 0.86) if loaded else wave(t, index, 0.01, 0.3)
    limiter = 0.0 if idle else wave(t, index + 40, 0.6, 1.0) if loaded else wave(t, index + 40, 0.1, 0.5)
    in_flight = round(limiter * knobs.max_in_flight)
    rate = 0.0 if idle else wave(t, index + 80, 3800, 5900)
    wait = 0.0 if waiting or ended else (1.2 if loaded else 0.004) * (0.5 + wave(t, index + 3, 0, 1))
    health, why = _grade(channel, in_flight / knobs.max_in_flight, wait)
    stable = phase in (Phase.STABLE_SYNC, Phase.DRAINING) or (phase is Phase.PAUSED and not waiting)
    lsn = int(88_200_000 + index * 1777 + t * 5000)
    lag = (2.4 if loaded else 0.1) * (0.5 + wave(t, index + 9, 0, 1))
    filled = int(channel * knobs.channel_entries)
    return FlowSnapshot(
        flow=index,
        phase=phase,
        reason="by operator" if phase is Phase.PAUSED else "",
        health=health,
        health_reason=why,
        knobs=knobs,
        channel_entries=filled,
        channel_bytes=int(filled * 31),
        in_flight=in_flight,
        in_flight_bytes=in_flight * 24_000,
        open_batch_entries=0 if idle else int(wave(t, index + 5, 0.05, 1) * knobs.batch_size),
        open_batch_wait=wait,
        entries=0 if waiting else int(300_000 + t * 5000 + index * 990),
        commands=0 if waiting else int(310_000 + t * 5000),
        bytes_in=0 if waiting else int(4e7 + t * 640_000),
        bytes_out=0 if waiting else int(5e7 + t * 700_000),
        batches=int(t * 3),
        retries=3 if loaded else 0,
        redirects=0,
        errors=1 if loaded and index % 2 else 0,
        entries_per_s=rate,
        bytes_in_per_s=rate * 128,
        lsn_received=lsn if stable else None,
        lsn_confirmed=lsn - int(lag * 400) if stable else None,
        lsn_acked=lsn - int(lag * 400) if stable else None,
        lsn_source=lsn + 3 if stable else None,
        lag_records=int(lag * 400) if stable else None,
        lag_seconds=lag if stable else None,
        latency_p50_ms=wave(t, index + 20, 2, 8) if stable else None,
        latency_p99_ms=wave(t, index + 21, 12, 44) if stable else None,
        reader_stalled=12.4 if channel > 0.8 else 0.0,
        node_in_flight=(),
        spool_bytes=0,
    )


def make_batches(t: float, flows: int, count: int = 200) -> tuple[BatchRecord, ...]:
    """The flushes up to time `t`, twelve a second."""
    last = int(t * 12)
    out = []
    for seq in range(max(1, last - count + 1), last + 1):
        rng = random.Random(seq)
        entries = rng.choice((2000, 2000, 2000, rng.randint(1, 2000)))
        result, failed = "ok", False
        if seq % 61 == 0:
            result, failed = "failed: OOM command not allowed when used memory > 'maxmemory'", True
        elif seq % 17 == 0:
            result = "ok · 3 redirected"
        ms = rng.uniform(90, 240) if seq % 23 == 0 else rng.uniform(2, 30)
        out.append(
            BatchRecord(
                seq, START + seq / 12, seq % flows, 9000 + seq // flows, entries, entries * 512, 3, ms, result, failed
            )
        )
    return tuple(out)


def make_events(t: float, flows: int) -> tuple[EventRecord, ...]:
    said = [
        (1.0, "info", "phase", None, "full sync began: 8 flows, ~20,100,000 keys"),
        (
            9.0,
            "warning",
            "retry",
            2 % flows,
            "READONLY You can't write against a read only replica. · retried in 200 ms, attempt 1",
        ),
        (9.4, "info", "reconnect", 2 % flows, "10.0.4.2:7001 is the master of slots 5461-10922 now"),
        (
            31.0,
            "error",
            "server-error",
            3 % flows,
            "WRONGTYPE Operation against a key holding the wrong kind of value · key cart:\x1b[31m8812",
        ),
        (
            31.1,
            "error",
            "dead-letter",
            3 % flows,
            "key cart:8812 (db 0, hash): WRONGTYPE · written to state/dead-letters.jsonl",
        ),
        (44.0, "info", "phase", None, "barrier passed in 212 ms, stable sync began"),
    ]
    return tuple(
        EventRecord(seq + 1, START + at, level, kind, flow, text)
        for seq, (at, level, kind, flow, text) in enumerate(said)
        if at <= t
    )


def make_snapshot(
    t: float = 100.0,
    *,
    seq: int = 1,
    flows: int = 8,
    phase: Phase = Phase.STABLE_SYNC,
    nodes: int = 3,
    knobs: Knobs = KNOBS,
    flow_knobs: dict[int, Knobs] | None = None,
    loaded: tuple[int, ...] = (2,),
    reason: str = "",
    **changes: object,
) -> EngineSnapshot:
    """One look at a run which has lasted `t` seconds; `changes` replace top-level fields."""
    each = flow_knobs or {}
    parts = tuple(make_flow(i, t, phase, each.get(i, knobs), i in loaded) for i in range(flows))
    worst = max(parts, key=lambda f: list(Health).index(f.health), default=None)
    rate = sum(f.entries_per_s for f in parts)
    full = phase in (Phase.FULL_SYNC, Phase.BARRIER)
    copied = min(KEYS, int(t * 184_000)) if full else KEYS
    lag = max((f.lag_seconds or 0.0 for f in parts), default=0.0)
    stable = any(f.lag_seconds is not None for f in parts)
    verdict = "source-bound: limiter 24 %, channel 3 %"
    if worst is not None and worst.health is not Health.HEALTHY:
        limiter = f"{worst.in_flight}/{worst.knobs.max_in_flight}"
        verdict = f"target-bound: limiter {limiter}, channel {worst.channel_fill * 100:.0f} %"
    names = [f"10.0.4.{n + 1}:7001" for n in range(nodes)]
    snap = EngineSnapshot(
        seq=seq,
        at=START + t,
        started_at=START,
        elapsed=t,
        job="default",
        phase=phase,
        phase_since=START + max(0.0, t - 60),
        reason=reason,
        health=worst.health if worst else Health.HEALTHY,
        health_reason=f"FLOW {worst.flow}: {worst.health_reason}" if worst and worst.health_reason else "",
        bottleneck=verdict,
        source=SourceInfo("10.0.3.7:6379", "df-v1.40.1", flows, "7c0ffee" * 5, KEYS, True, "connected"),
        target=TargetInfo(
            ",".join(names[:1]) + (",10.0.4.2:7001" if nodes > 1 else ""),
            "valkey",
            "9.1.0",
            nodes > 1,
            ("ReJSON", "search"),
            (
                ("RESTORE payload version", "up to 80"),
                ("hash field TTL (HPEXPIREAT)", "yes"),
                ("JSON", "yes: ReJSON 2.8"),
                ("Bloom filters", "no: BF.LOADCHUNK is missing · policy stop"),
                ("functions", "yes"),
            ),
            1204,
            "connected",
        ),
        flows=parts,
        nodes=tuple(
            NodeSnapshot(
                name,
                "9.1.0",
                "master",
                5461 + (n == 1) if nodes > 1 else None,
                int(3.2e9 + n * 2e8),
                int(8e9),
                True,
                int(wave(t, n, 3, 20)),
                int(t * 13_000),
                rate / nodes * (1 + 0.02 * n),
                wave(t, n + 7, 1.5, 3),
                0,
                "",
            )
            for n, name in enumerate(names)
        ),
        totals=Totals(
            entries=sum(f.entries for f in parts),
            commands=sum(f.commands for f in parts),
            bytes_in=sum(f.bytes_in for f in parts),
            bytes_out=sum(f.bytes_out for f in parts),
            batches=sum(f.batches for f in parts),
            retries=sum(f.retries for f in parts),
            redirects=sum(f.redirects for f in parts),
            errors=sum(f.errors for f in parts),
            dead_letters=1 if loaded else 0,
            entries_per_s=rate,
            bytes_in_per_s=rate * 900,
            bytes_out_per_s=rate * 930,
            keys_copied=copied,
            keys_by_type=(
                ("string", copied * 6 // 10),
                ("hash", copied * 2 // 10),
                ("list", copied // 10),
                ("zset", copied // 10),
            ),
            rereads=12 if loaded else 0,
        ),
        knobs=knobs,
        configured=KNOBS,
        paused=phase is Phase.PAUSED,
        progress=copied / KEYS if full else None,
        eta=max(0.0, (KEYS - copied) / 184_000) if full else None,
        lag_records=sum(f.lag_records or 0 for f in parts) if stable else None,
        lag_seconds=lag if stable else None,
        caught_up_for=None,
        ready_to_cut_over=False,
        batches=make_batches(t, max(1, flows)) if flows else (),
        events=make_events(t, max(1, flows)),
        rss_bytes=int(9.1e7),
        peak_rss_bytes=int(1.3e8),
        phase_seconds=(("connecting", 0.2), ("handshake", 0.1), ("full sync", 43.7), ("stable sync", max(0.0, t - 44))),
        dead_letter_file="state/dead-letters.jsonl",
        log_file="log/replicate.log",
        outcome=replace(RUNNING, not_copied="1 in state/dead-letters.jsonl") if loaded else RUNNING,
        exit_code=None,
        failure="",
        spool_bytes=0,
        spool_limit=0,
        checkpoint="8 positions on the target, 312 records behind what is confirmed",
        extra=(),
    )
    return replace(snap, **changes) if changes else snap  # type: ignore[arg-type]


RUNNING = Outcome(
    Verdict.RUNNING, "", "none so far", "", Confirmed(True, KEYS, KEYS, 0, 0, 0, False, 0, 0, 0, False, "")
)


def ended(verdict: Verdict, failure: str = "") -> Outcome:
    """How a run came to its end."""
    not_whole = Confirmed(False, 14_001, 30_203, None, 96, 0, False, 0, 0, 0, False, "")
    match verdict:
        case Verdict.COMPLETE:
            return replace(RUNNING, verdict=verdict, text="everything was copied", not_copied="none")
        case Verdict.INTERRUPTED:
            return Outcome(
                verdict,
                "interrupted: 14,001 of ~30,203 keys",
                "not known: the full sync had not ended",
                "run the same command again: it begins the full sync again",
                not_whole,
            )
        case Verdict.UNCONFIRMED:
            return Outcome(
                verdict,
                "the drain was cut short: 96 commands not confirmed, 14,001 of ~30,203 keys",
                "not known: 96 commands were sent or read, and not confirmed",
                "run the same command again: it begins the full sync again",
                not_whole,
            )
        case _:
            next_step = "run the same command again to resume" if failure else ""
            return Outcome(verdict, "", "not known: it failed before everything was confirmed", next_step, not_whole)
