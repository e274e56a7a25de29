"""What the target of a job has confirmed, gathered from its FLOWs for the verdict."""

from __future__ import annotations

from df2redis_tui.replication.flow_state import FlowState
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.telemetry.snapshot import Confirmed
from df2redis_tui.telemetry.verdict import Ending


def confirmed(job: JobState) -> Confirmed:
    """As things stand now."""
    flows, lacks, earlier = job.flows, job.noted.lacks.now(), job.noted.lacks.earlier
    return Confirmed(
        snapshot=job.snapshot_confirmed,
        keys=sum(sum(state.stats.kinds.values()) for state in flows),
        keys_at_start=job.source_keys,
        records_behind=_records_behind(job),
        commands_waiting=sum(state.commands_waiting() for state in flows),
        rereads_waiting=sum(state.rereads_waiting() for state in flows),
        clean_up_due=job.noted.clean_up_due or job.noted.cleaning,
        unverified=lacks.unverified,
        dead_letters_before=earlier.dead_letters,
        evicted=lacks.evicted,
        spared_before=earlier.spared and job.spared is None,
        leftovers_of=job.noted.leftovers_of,
    )


def ending(job: JobState) -> Ending:
    """What else the verdict needs, but for an error."""
    return Ending(
        unchecked=job.unchecked,
        restarted=job.restarted,
        cut_short=job.hurry,
        dead_letters=job.dead_letters.count,
        dead_letter_file=str(job.dead_letters.path),
        unrecorded=job.dead_letters.unrecorded,
        why_unrecorded=job.dead_letters.why_unrecorded,
        spares=job.spared is not None,
        full_sync_begun=job.full_sync_begun,
        checkpoints=job.settings.exactly_once,
    )


def as_asked(job: JobState) -> bool:
    """Whether the run came to what --until or --mode asked for."""
    return job.complete or (job.settings.mode == "snapshot" and job.snapshot_confirmed)


def _records_behind(job: JobState) -> int | None:
    """None where nobody knows: a FLOW has no position, or the source was not followed when the end was asked for."""
    reached = as_asked(job)
    if not job.flows or not (job.followed_to_end or reached):
        return None
    behind = [_behind(state, reached) for state in job.flows]
    known = [number for number in behind if number is not None]
    return sum(known) if len(known) == len(behind) else None


def _behind(state: FlowState, reached: bool) -> int | None:
    """What the source wrote after the run had come to its goal is nobody's loss."""
    stats = state.stats
    if stats.lsn_received is None or stats.lsn_confirmed is None:
        return None
    known = stats.lsn_received if reached else max(stats.lsn_received, stats.lsn_source or 0)
    return max(0, known - stats.lsn_confirmed)
