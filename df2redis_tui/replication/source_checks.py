"""What is asked of a source before it is copied: its size, its namespaces, whom it sends its clients to."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable

import anyio

from df2redis_tui.dragonfly.control import Control, Greeting, answer_of, open_source
from df2redis_tui.errors import ConfigError, SourceError, TargetError, printable
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.streams import FEW, MANY, PeerLost, encode, is_error
from df2redis_tui.telemetry.format import plural
from df2redis_tui.telemetry.snapshot import Phase

log = logging.getLogger(__name__)

COUNT_EVERY = 10.0  # seconds
COUNT_FIRST = 2.0  # seconds, in a full sync
NAMED_MOST = 8


async def check_source(job: JobState, control: Control) -> None:
    """At the start of a run. Raises SourceError when it would mix up what belongs apart."""
    await _check_namespaces(job, control)
    if await _lists_us(control):
        _warn(
            job,
            "the source is an emulated cluster and names this program, with port 0, to its clients as a replica "
            "(CLUSTER SLOTS): clients that read from replicas fail there; start the source with --managed_service_info",
        )


async def _check_namespaces(job: JobState, control: Control) -> None:
    """The journal names no namespace: what is written in one arrives as if it were the default one's."""
    answer = await control.ask("ACL", "LIST", most=MANY)
    if text := answer.refusal:
        if not text.startswith("ERR unknown"):  # a release without ACL has no namespaces
            _warn(
                job,
                f"the source does not list its users ({text}): make sure that none has a namespace, whose keys would "
                "be taken for those of the default one",
            )
        return
    users = [line.decode("utf-8", "replace") for line in answer.texts()]
    named = sorted({name for user in users for name in re.findall(r"\bNAMESPACE:(\S+)", user, re.IGNORECASE)})
    ours = {"default", job.settings.source.username or "default"}
    others = sorted({user.split()[1] for user in users if len(user.split()) > 1} - ours)
    if named:
        text = f"the source has namespaces ({_some(named)}), whose keys arrive as if they were the default one's"
        if not job.settings.ignore_namespaces:
            refused = SourceError(f"{text}: nothing was written")
            refused.advice = "copy from a source without them, or say --ignore-namespaces if nothing is written there"
            raise refused
        _warn(job, f"{text} (--ignore-namespaces)")
    elif others and not job.settings.ignore_namespaces:
        _warn(
            job,
            f"the source has users of its own ({_some(others)}) and does not say whether they have a namespace: "
            "keys written in one would be taken for those of the default one",
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(printable(name.encode(), 40) for name in names[:NAMED_MOST])
    return shown + (f" and {len(names) - NAMED_MOST:,} more" if len(names) > NAMED_MOST else "")


async def _lists_us(control: Control) -> bool:
    """Whether CLUSTER SLOTS has a node with the port that we announce."""
    slots = await control.ask("CLUSTER", "SLOTS", most=MANY)
    if slots.refusal:
        return False
    nodes = [node for entry in slots.array() if isinstance(entry, list) for node in entry[2:]]
    return any(isinstance(node, list) and len(node) > 1 and node[1] == 0 for node in nodes)


async def check_own_names(job: JobState, greeting: Greeting, databases: Iterable[int]) -> None:
    """At the start of a run: has the source keys named like those that this job keeps on the target? What comes of such
    later is refused on its way. Raises ConfigError under the policy `stop`, SourceLost."""
    settings = job.settings
    if not settings.exactly_once:
        return
    names = [job.keys.jobs, job.keys.lease, job.keys.job_record, *job.keys.of_flows(greeting.flows)]
    merged = settings.target.cluster and settings.db_policy == "merge-into-0"
    connection = await open_source(settings.source, "connection that looks for names")
    found: list[bytes] = []
    try:
        for db in sorted({0, *databases}) if merged else [0]:
            wires = [encode("SELECT", db), *(encode("EXISTS", name) for name in names)]
            selected, *there = await connection.pipeline(wires, most=FEW)
            if not is_error(selected):  # a user who may not ask is told of them on their way
                answer_of(settings.source, selected, "SELECT").ok()
                answers = [answer_of(settings.source, reply, "EXISTS") for reply in there]
                found += [name for name, a in zip(names, answers, strict=True) if not a.refusal and a.number()]
    except PeerLost as lost:
        raise lost.of_source(f"{settings.source.label}: connection that looks for names") from None
    finally:
        await connection.aclose()
    if not found:
        return
    text = f"the source has keys that are named like this job's own on the target ({_some_keys(found)})"
    if settings.on_error == "stop":
        refused = ConfigError(f"{text}: nothing was written")
        refused.advice = "use another --job or --checkpoint-prefix, or remove them from the source"
        raise refused
    _warn(job, f"{text}: they are left out")


def _some_keys(names: list[bytes]) -> str:
    return _some([name.decode("utf-8", "replace") for name in dict.fromkeys(names)])


def _warn(job: JobState, text: str) -> None:
    job.records.event("warning", "source", text)
    log.warning(text)


def check_size(job: JobState) -> None:
    """Before a full sync over what this job copied. Raises SourceError when the source has lost too much of it."""
    copied, now, share = job.noted.copied, job.source_keys, job.settings.min_source_keys
    if not copied or not share:
        return
    if now is None:
        _warn(job, f"the source does not say how many keys it has; this job copied {copied:,}")
    elif now * 100 < copied * share:
        lost = SourceError(
            f"the source {job.settings.source.label} has {plural(now, 'key')} and this job copied {copied:,}: a new "
            f"full sync would remove the rest from the target, and begins from {share} % on only (--min-source-keys); "
            "nothing was removed"
        )
        lost.advice = "bring the source's data back, or run it again with --min-source-keys 0 if that is all there is"
        raise lost


class SourceSize:
    """Keeps the job's record up to date with how many keys the copy has."""

    def __init__(self, job: JobState) -> None:
        self._job = job
        self._due = 0.0

    async def follow(self, control: Control) -> None:
        """Called over and over in stable sync. Raises SourceLost."""
        job = self._job
        if time.monotonic() < self._due or not all(state.cut_confirmed for state in job.flows):
            return
        self._due = time.monotonic() + COUNT_EVERY
        flushes = job.noted.flushes
        count = await control.key_count()
        if count is not None and job.noted.flushes == flushes:  # else it may be from before the flush
            job.noted.copied = count


async def keep_count(job: JobState) -> None:
    """Write to the target how many keys the copy has; while a full sync runs, how many it has brought so far, where
    there were fewer before. A task of its own: the target may not answer."""
    while True:
        await anyio.sleep(COUNT_FIRST)
        if job.phase is Phase.FULL_SYNC:
            confirmed = sum(sum(state.stats.kinds.values()) for state in job.flows)
            job.noted.copied = max(job.noted.copied or 0, min(confirmed, job.source_keys or 0))
        await _note_copied(job)


async def _note_copied(job: JobState) -> None:
    count, written = job.noted.copied or 0, job.noted.copied_noted
    if not job.settings.exactly_once or abs(count - written) * 20 <= written:
        return
    try:
        async with job.checkpointing:
            await job.noted.write()
        job.noted.copied_noted = count
    except TargetError as failed:  # it is noted again soon: whether the target takes writes, the FLOWs find out
        log.info("The job's record was not written", extra={"fields": {"reason": str(failed)}})
