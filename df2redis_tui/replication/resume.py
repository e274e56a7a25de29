"""Where a session goes on: the last session's positions, an earlier run's checkpoints, or the start."""

from __future__ import annotations

import logging

from df2redis_tui.dragonfly.control import Greeting
from df2redis_tui.dragonfly.flow import Resume
from df2redis_tui.errors import SourceError, printable
from df2redis_tui.replication.checkpoint import Checkpoint, Key, key_of
from df2redis_tui.replication.failover import succeeds
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.streams import encode
from df2redis_tui.target.answers import check_each
from df2redis_tui.telemetry.format import plural

log = logging.getLogger(__name__)


def positions(job: JobState, greeting: Greeting) -> Resume | None:
    """Where to resume, None when this source can't be resumed."""
    if len(job.flows) != greeting.flows:
        return None
    confirmed = [state.stats.lsn_confirmed for state in job.flows]
    found = [lsn for lsn in confirmed if lsn is not None]
    return Resume(job.followed, tuple(found)) if len(found) == greeting.flows else None


def source_changed(job: JobState, greeting: Greeting) -> None:
    """It is another process, or has another number of FLOWs. Raises SourceError when the policy is to stop."""
    if succeeds(greeting, job.flows):
        text = "the source was taken over by one of its replicas: a partial sync is asked for"
        job.records.event("info", "reconnect", text)
        log.info(text, extra={"fields": {"old": job.followed, "new": greeting.master_id}})
        return
    text = _another(job.followed, len(job.flows), greeting)
    full_sync_allowed(job, text)
    job.records.event("warning", "reconnect", f"{text}: full sync")
    log.warning("Full sync instead of a resume", extra={"fields": {"reason": text}})
    start_over(job)


def _another(master_id: str, flows: int, greeting: Greeting) -> str:
    """Why positions in the journal of that master, which had so many FLOWs, are worth nothing here."""
    if flows != greeting.flows:
        return f"the source has {greeting.flows} FLOWs now, it had {flows}"
    return f"the source is another process now ({greeting.master_id[:8]}, it was {printable(master_id.encode(), 8)})"


async def read_checkpoints(job: JobState, greeting: Greeting) -> None:
    """Where an earlier run of this job ended; without a position for every FLOW there is a full sync."""
    if job.noted.refusal:
        text = f"the last run had to stop ({job.noted.refusal})"
        _full_sync_instead(job, text)
        job.noted.refusal, job.noted.clean_up_due = "", True
        return
    found: list[Checkpoint] = []
    for state in job.flows:
        # Its connections are there: what an earlier run has under way is fenced off, the checkpoints are final.
        assert state.writer is not None
        await state.writer.ready()
    numbers = range(len(job.flows))
    records = [encode("GET", job.keys.flow(flow)) for flow in numbers]
    counts = [encode("GET", job.keys.batches(flow)) for flow in numbers]
    again = [encode("SMEMBERS", job.keys.rereads(flow)) for flow in numbers]
    read = await job.patiently(lambda: _read(job, records + counts + again))
    unread = [_keys_of(members) for members in read[2 * len(job.flows) :]]
    for state, raw, ran in zip(job.flows, read, read[len(job.flows) :], strict=False):
        checkpoint = Checkpoint.parse(raw)
        if checkpoint is None:
            break
        job.noted.saw_flows(checkpoint.flows)
        if not checkpoint.lsn:
            break
        if checkpoint.flows != greeting.flows or checkpoint.master_id != greeting.master_id:
            text = _another(checkpoint.master_id, checkpoint.flows, greeting)
            _full_sync_instead(job, text)
            break
        # A FLOW without a batch has no count.
        if checkpoint.batches >= 0 and (ran or b"0") != b"%d" % checkpoint.batches:
            text = f"a batch of FLOW {state.flow} that the target had refused was not sent again before the run ended"
            _full_sync_instead(job, text)
            break
        found.append(checkpoint)
    merged = job.target.router.cluster and job.settings.db_policy == "merge-into-0"
    if len(found) == greeting.flows and job.noted.clean_up_due and merged:
        _full_sync_instead(job, "the last run ended before its clean-up, and the databases of the source are one here")
        found.clear()
    if len(found) < greeting.flows:
        job.noted.clean_up_due = True
        return
    job.followed = greeting.master_id
    job.late.append(job.old.resume)
    for state, checkpoint, rereads in zip(job.flows, found, unread, strict=True):
        state.stats.lsn_confirmed = checkpoint.lsn
        state.cut_confirmed = True
        state.resume_rereads = rereads
        if state.ledger is not None:
            state.ledger.resume(checkpoint)
    copied = f", {plural(job.noted.copied, 'key')} copied so far" if job.noted.copied else ""
    text = f"resuming job {job.settings.job!r} from its checkpoints{copied}"
    job.records.event("info", "resume", text)
    log.info(text, extra={"fields": {"lsn": [c.lsn for c in found]}})
    if number := job.noted.lacks.earlier.dead_letters:
        text = f"{number:,} of the keys or commands could not be copied by an earlier run of this job"
        job.records.event("warning", "resume", text)
        log.warning(text)


def _full_sync_instead(job: JobState, why: str) -> None:
    """Say so. Raises SourceError when the policy is to stop."""
    full_sync_allowed(job, why)
    job.records.event("warning", "resume", f"{why}: full sync")
    log.warning("Full sync instead of a resume", extra={"fields": {"reason": why}})


async def _read(job: JobState, commands: list[bytes]) -> list[object]:
    """All at once: the source's backlog may hold a second only."""
    replies = await job.target.pipeline(commands)
    check_each(job.target.name, "to read the job's checkpoints", commands, replies)
    return replies


def _keys_of(members: object) -> list[Key]:
    """Of the set of keys that were being read again."""
    found = [key_of(m) for m in members if isinstance(m, bytes)] if isinstance(members, list) else []
    return [key for key in found if key is not None]


def start_over(job: JobState) -> None:
    """The next session is a full sync, over what earlier ones wrote."""
    if job.noted.copied is None:  # a source that was lost before it was asked
        job.noted.copied = sum(sum(state.stats.kinds.values()) for state in job.flows)
    job.noted.clean_up_due = job.noted.clean_up_due or bool(job.flows)
    job.followed = ""
    for state in job.flows:
        state.stats.lsn_received = state.stats.lsn_confirmed = state.stats.lsn_source = None
        state.stats.kinds.clear()  # the next full sync counts its keys itself
        state.lsn_checkpointed = None
        state.cut_confirmed = False
        state.resume_rereads = []
        state.rereads = None
        state.expiry.clear()


def full_sync_allowed(job: JobState, why: str) -> None:
    """Raises SourceError when the policy is to stop."""
    if job.settings.on_lost_backlog == "stop":
        raise only_a_full_sync(why)


def only_a_full_sync(why: str) -> SourceError:
    """The error that the policy asks for."""
    error = SourceError(f"{why}: only a full sync could go on, and --on-lost-backlog is stop")
    error.advice = "run it again with --on-lost-backlog resync, or keep the target as it is"
    return error
