"""Where a session goes on: the last session's positions, an earlier run's checkpoints, or the start."""

from __future__ import annotations

import logging

from df2redis_tui.dragonfly.control import Greeting
from df2redis_tui.dragonfly.flow import Resume
from df2redis_tui.errors import SourceError, TargetError, printable
from df2redis_tui.replication.checkpoint import Checkpoint
from df2redis_tui.replication.failover import succeeds
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.streams import is_error
from df2redis_tui.target.connection import error_text

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
        text = f"the last run stopped at what could not be copied ({job.noted.refusal})"
        _full_sync_instead(job, text)
        job.noted.refusal, job.noted.clean_up_due = "", True
        return
    found: list[Checkpoint] = []
    for state in job.flows:
        assert state.ledger is not None
        assert state.writer is not None
        # Its connections are there: what an earlier run has under way is fenced off, the checkpoints are final.
        await state.writer.ready()
        ledger = state.ledger
        checkpoint = Checkpoint.parse(await job.patiently(lambda key=ledger.key: _read(job, key)))  # type: ignore[misc]
        if checkpoint is None:
            break
        job.noted.saw_flows(checkpoint.flows)
        if not checkpoint.lsn:
            break
        if checkpoint.flows != greeting.flows or checkpoint.master_id != greeting.master_id:
            text = _another(checkpoint.master_id, checkpoint.flows, greeting)
            _full_sync_instead(job, text)
            break
        if checkpoint.batches >= 0:
            ran = await job.patiently(lambda flow=state.flow: _read(job, job.keys.batches(flow)))  # type: ignore[misc]
            if (ran or b"0") != b"%d" % checkpoint.batches:  # a FLOW without a batch has no count
                text = (
                    f"a batch of FLOW {state.flow} that the target had refused was not sent again before the run ended"
                )
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
    await job.old.resume()
    for state, checkpoint in zip(job.flows, found, strict=True):
        state.stats.lsn_confirmed = checkpoint.lsn
        state.cut_confirmed = True
        state.resume_rereads = list(checkpoint.rereads)
        if state.ledger is not None:
            state.ledger.resume(checkpoint)
    text = f"resuming job {job.settings.job!r} from its checkpoints"
    job.records.event("info", "resume", text)
    log.info(text, extra={"fields": {"lsn": [c.lsn for c in found]}})


def _full_sync_instead(job: JobState, why: str) -> None:
    """Say so. Raises SourceError when the policy is to stop."""
    full_sync_allowed(job, why)
    job.records.event("warning", "resume", f"{why}: full sync")
    log.warning("Full sync instead of a resume", extra={"fields": {"reason": why}})


async def _read(job: JobState, key: bytes) -> object:
    reply = await job.target.call("GET", key)
    if is_error(reply):
        raise TargetError(f"target {job.target.name} refused to read {printable(key)}: {error_text(reply)}")
    return reply


def start_over(job: JobState) -> None:
    """The next session is a full sync, over what earlier ones wrote."""
    job.noted.clean_up_due = job.noted.clean_up_due or bool(job.flows)
    job.followed = ""
    for state in job.flows:
        state.stats.lsn_received = state.stats.lsn_confirmed = state.stats.lsn_source = None
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
