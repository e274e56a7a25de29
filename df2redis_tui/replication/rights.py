"""What the target lets its user do, asked before anything is written.

Each command is put into a transaction that is given up with its connection: the server looks at the rights when it
queues a command, and runs nothing. That works on every release, for users who may not ask ACL.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from df2redis_tui.errors import TargetError, printable
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.streams import FEW, Arg, PeerLost, RespConnection, encode, is_error
from df2redis_tui.target.cluster_router import ClusterRouter
from df2redis_tui.target.connection import answer_of, error_text
from df2redis_tui.translate.keys import slot_of

log = logging.getLogger(__name__)

OUTSIDE = b"df2redis-probe"  # a key like those of the source: not one of the job's own
KEYS_TRIED = 200_000  # until one is found in a slot of a node, which may have a single one


@dataclass(frozen=True, slots=True)
class Need:
    """Commands (each with arguments enough to be queued; `K` stands for a key) and what is lost without them."""

    commands: tuple[str, ...]
    lost: str
    vital: bool = False


def needs_of(*, exactly_once: bool, cluster: bool) -> list[Need]:
    """What a run asks of its target, the vital things first."""
    found = [
        Need(
            ("SET K 0", "DEL K", "UNLINK K", "RESTORE K 0 0", "PEXPIREAT K 1"),
            "no value can be written",
            vital=True,
        ),
    ]
    if exactly_once:
        commands = ["GET K", "SET K 0", "PEXPIRE K 1", "DEL K", "SADD K 0", "SREM K 0"]
        commands += ["PTTL K"] if cluster else ["PTTL K", "INCR K"]
        lost = "lease and checkpoints of the job can't be kept; --no-exactly-once goes without"
        found.append(Need(tuple(commands), lost, vital=True))
    ends = "the first that the source sends ends the run"
    found += [
        Need(
            (
                "RPUSH K 0", "LPUSH K 0", "LPOP K", "RPOP K", "LSET K 0 0", "LREM K 0 0", "LTRIM K 0 0", "HSET K 0 0",
                "HDEL K 0", "HINCRBY K 0 0", "SADD K 0", "SREM K 0", "ZADD K 0 0", "ZREM K 0", "ZINCRBY K 0 0",
                "XADD K * 0 0", "XDEL K 0", "XTRIM K MAXLEN 0", "XSETID K 0", "XGROUP CREATE K 0 0", "APPEND K 0",
                "SETRANGE K 0 0", "SETBIT K 0 0", "INCRBY K 0", "PERSIST K", "RENAME K K", "COPY K K", "PFADD K 0",
            ),
            ends,
        ),
        Need(("EVAL 0 1 K",), f"some writes of the source need a script (floats, lists turned round, JSON): {ends}"),
        Need(("FLUSHALL", "FLUSHDB"), "a flush of the source ends the run"),
        Need(("SCAN 0",), "what the source no longer has can't be found and removed"),
    ]  # fmt: skip
    if not cluster:
        found.append(Need(("SELECT 0",), "databases above 0 of the source can't be copied"))
    if exactly_once:
        lost = "bytes of a run that died may still arrive late"
        found.append(Need(("CLIENT LIST", "CLIENT KILL ID 0", "CLIENT SETNAME 0"), lost))
    return found


async def check_rights(job: JobState) -> None:
    """Say what this run will have to do without. Raises TargetError when it can't do without, TargetLost."""
    needs = needs_of(exactly_once=job.settings.exactly_once, cluster=job.target.router.cluster)
    told: set[str] = set()
    for node in job.target.router.nodes:
        connection = await job.target.router.connect(node)
        try:
            missing = await _missing(connection, node, job, needs)
        except PeerLost as lost:
            raise lost.of_target(node) from None
        finally:
            await connection.aclose()
        for need, names in missing:
            text = f"the user {_user(job)} may not {_listed(names)}: {need.lost}"
            if need.vital:
                raise _refused(f"target {node}: {text}", names)
            job.unfenced |= any(name.startswith("CLIENT") for name in names)  # said here once and for all
            if text not in told:
                told.add(text)
                job.records.event("warning", "target", f"target {node}: {text}")
                log.warning("target %s: %s", node, text)


def _refused(text: str, names: Sequence[str]) -> TargetError:
    error = TargetError(f"{text}; nothing was written")
    allowed = " ".join(f"+{name.lower().replace(' ', '|')}" for name in names if name.isupper())
    error.advice = f"allow it: ACL SETUSER … {allowed}" if allowed else "allow it the keys: ACL SETUSER … ~*"
    return error


def _user(job: JobState) -> str:
    return printable((job.settings.target.username or "default").encode(), 40)


def _listed(names: Sequence[str]) -> str:
    commands = [name for name in names if name.isupper()]
    others = [name for name in names if not name.isupper()]
    return " and may not ".join([*([f"run {', '.join(commands)}"] if commands else []), *others])


async def _missing(
    connection: RespConnection, node: str, job: JobState, needs: Iterable[Need]
) -> list[tuple[Need, list[str]]]:
    """Each need that is not met, with the names of its commands that are refused."""
    own, outside = _key_at(job, node, job.keys.start + b"probe"), _key_at(job, node, OUTSIDE)
    found: list[tuple[Need, list[str]]] = []
    refused = [name for name in ("MULTI", "EXEC") if _denied(await connection.call(name))]
    if refused:  # nothing may be asked outside of a transaction: it would be done
        lost = "the batches of the journal can't be written together with their checkpoints; --no-exactly-once can"
        return [(Need((), lost, vital=True), refused)] if job.settings.exactly_once else []
    answer_of(node, await connection.call("MULTI", most=FEW), "MULTI").ok()
    for need in needs:
        names = [_name(command) for command in need.commands]
        replies = await connection.pipeline([encode(*_args(command, own)) for command in need.commands])
        _expect_queued(node, names, replies)
        denied = [name for name, reply in zip(names, replies, strict=True) if _denied(reply)]
        if any(_of_key(reply) for reply in replies):
            denied.append(f"use keys that begin with {printable(job.keys.start)}")
        if denied:
            found.append((need, denied))
    reply = await connection.call("SET", outside, "0")
    if _of_key(reply):
        lost = "the first key of the source that is not among those of its ACL ends the run"
        found.append((Need((), lost), ["use every key"]))
    return found


def _key_at(job: JobState, node: str, begin: bytes) -> bytes:
    """A key that this node serves: a redirection would count among its refusals, which a resume looks at."""
    router = job.target.router
    if not isinstance(router, ClusterRouter):
        return begin
    keys = (begin + b":{%d}" % number for number in range(KEYS_TRIED))
    return next((key for key in keys if router.topology.owner(slot_of(key)) == node), begin)


def _name(command: str) -> str:
    words = command.split()
    return " ".join(words[:2]) if words[0] == "CLIENT" else words[0]


def _args(command: str, key: bytes) -> list[Arg]:
    return [key if word == "K" else word for word in command.split()]


def _expect_queued(node: str, names: Sequence[str], replies: Sequence[object]) -> None:
    for name, reply in zip(names, replies, strict=True):
        if not is_error(reply):
            answer_of(node, reply, f"{name} in a transaction").word(b"QUEUED")


def _denied(reply: object) -> bool:
    """Whether the server does not have the command, for this user. (A refused EXEC is an EXECABORT that says so.)"""
    text = error_text(reply) if is_error(reply) else ""
    return text.startswith("ERR unknown command") or ("NOPERM" in text and not _of_key(reply))


def _of_key(reply: object) -> bool:
    return is_error(reply) and "NOPERM" in str(reply) and " access " in str(reply)
