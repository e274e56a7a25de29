"""Wires the pipeline of each FLOW: its writer for the whole run, its ingest and dispatcher for one session."""

from __future__ import annotations

import logging

from df2redis_tui import descriptors
from df2redis_tui.dragonfly.control import Greeting
from df2redis_tui.dragonfly.flow import FlowConnection
from df2redis_tui.pipeline.dispatch import Dispatcher
from df2redis_tui.replication.fence import connection_name, fence
from df2redis_tui.replication.flow_state import FlowState
from df2redis_tui.replication.global_commands import global_of
from df2redis_tui.replication.ingest import Ingest, Translators
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.key_reader import KeyReader
from df2redis_tui.replication.marks import check_connection
from df2redis_tui.replication.reread import Rereads
from df2redis_tui.replication.rereading import Rereading
from df2redis_tui.replication.restarts import look_at_server
from df2redis_tui.replication.session import Session
from df2redis_tui.replication.targets import ledger_of, resumer_of
from df2redis_tui.streams import RespConnection
from df2redis_tui.target.writer import Writer
from df2redis_tui.telemetry.snapshot import Phase
from df2redis_tui.translate.expiry import ExpiryBudget
from df2redis_tui.translate.journal import JournalTranslator
from df2redis_tui.translate.own_keys import OwnKeys
from df2redis_tui.translate.ownership import Ownership
from df2redis_tui.translate.quirks import Quirks
from df2redis_tui.translate.snapshot import SnapshotTranslator

log = logging.getLogger(__name__)


async def make_flows(job: JobState, greeting: Greeting) -> None:
    """As many as the source has, each with its writer running. Raises ConfigError when these are too many."""
    _count_descriptors(job, greeting.flows)
    job.ownership = Ownership(greeting.flows)
    for state in job.flows:
        if state.writer is not None:
            state.writer.stop()
    job.noted.saw_flows(len(job.flows))
    job.flows = []
    budget = ExpiryBudget()
    for flow in range(greeting.flows):
        ledger = ledger_of(job.settings, job.keys, flow, greeting.flows, job.run_id)
        knobs = job.tuned.apply(flow, job.configured())
        state = FlowState(flow, knobs, ledger, job.dead_letters, job.records, budget)
        state.interval_tuned = "flush_interval" in job.tuned.values(flow)
        state.writer = Writer(
            flow,
            job.target.router,
            ledger,
            state,
            reconnect=job.settings.reconnect,
            prepare=lambda flow, connection: _prepare_lane(job, flow, connection),
        )
        job.flows.append(state)
        assert job.tasks is not None
        job.tasks.start_soon(job.guarded, state.writer.run)


def _count_descriptors(job: JobState, flows: int) -> None:
    text = descriptors.check(flows, len(job.target.router.nodes), spill=job.settings.backpressure == "spill")
    if text:
        job.records.event("warning", "target", text)
        log.warning(text)


async def _prepare_lane(job: JobState, flow: int, connection: RespConnection) -> None:
    """A new connection for a FLOW's writes: only for the holder of the lease, only once the older ones are gone."""
    if job.settings.exactly_once:
        job.note_fence(await fence(connection, connection_name(job.keys, flow), check=job.lease.check))
        await check_connection(job, connection, flow)
    else:
        await look_at_server(job, connection)


def wire(job: JobState, state: FlowState, connection: FlowConnection, greeting: Greeting, session: Session) -> Ingest:
    """What turns one session's bytes of a FLOW into batches for its writer."""
    settings, caps = job.settings, job.target.caps
    assert state.writer is not None
    assert job.pipes is not None
    job.followed = greeting.master_id
    old = job.old.keys if len(job.old.marks) else None
    dispatcher = state.dispatcher = Dispatcher(
        state.flow,
        state.knobs,
        state.writer,
        job.gate,
        job.rate,
        global_of(job, state),
        lambda databases: _check_databases(job, databases),
    )
    job.pipes.start_soon(job.guarded, dispatcher.run)
    unread = state.resume_rereads
    if state.rereads is not None:
        unread = unread + state.rereads.open_keys()
    state.resume_rereads = []
    state.doubts.clear()
    rereads = state.rereads = Rereads(state.flow, greeting.flows)
    for db, key in unread:
        rereads.request(db, (key,), "a re-read was under way when the session ended")
    if state.ledger is not None:
        state.ledger.begin(greeting.master_id, state.stats.lsn_confirmed or 0)
        state.ledger.rereads = rereads
        dispatcher.before_dispatch = resumer_of(job.target, state.ledger, state.missed_until, state.doubt)
    route = job.target.router.cluster
    own = OwnKeys(job.keys.start if settings.exactly_once else None, cluster=route)
    snapshot = SnapshotTranslator(
        caps,
        job.dead_letters,
        flow=state.flow,
        route=route,
        member_ttl=settings.member_ttl,
        expiry=state.expiry,
        skip=job.spared,
        payload_limit=settings.dead_letter_value_limit,
        db_policy=settings.db_policy,
        ownership=job.ownership,
        old=old,
        own=own,
    )
    quirks = Quirks.of(greeting.df_version)
    journal = JournalTranslator(
        caps,
        job.dead_letters,
        flow=state.flow,
        route=route,
        member_ttl=settings.member_ttl,
        expiry=state.expiry,
        ownership=job.ownership,
        open_keys=snapshot.open_keys,
        db_policy=settings.db_policy,
        skip=job.spared,
        quirks=quirks,
        base_db=settings.target.db,
        old=old,
        own=own,
    )
    state.merged = route and settings.db_policy == "merge-into-0"
    state.phase = Phase.FULL_SYNC
    state.ingest = Ingest(
        connection,
        dispatcher.channel,
        Translators(snapshot, journal, state.expiry, job.dead_letters, caps, route, quirks, old),
        rereads,
        Rereading(
            rereads,
            KeyReader(settings.source, state.flow, greeting.flows),
            lag=state.end_to_end_lag,
            confirmed=lambda: state.stats.commands,
            failed=state.unreadable,
        ),
        state.stats,
        session,
        release=greeting.release,
        is_near=state.near,
        lag=state.end_to_end_lag,
        leftovers=state.leftovers,
    )
    return state.ingest


async def _check_databases(job: JobState, databases: set[int]) -> None:
    await job.patiently(lambda: job.target.check_databases(databases))
