"""Fences off connections of the past: what they still hold in buffers must not reach the data any more.

A connection that broke, or whose process died, may have bytes under way which the target executes later, behind a
checkpoint that was read meanwhile. So every writing connection bears its FLOW's name and a number of its own, and
before a new one of that FLOW is used, the target closes the older ones. Behind CLIENT KILL's answer nothing of them is
executed.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator

from df2redis_tui.answers import Answer
from df2redis_tui.errors import TargetError
from df2redis_tui.replication.checkpoint import JobKeys
from df2redis_tui.streams import Arg, RespConnection

log = logging.getLogger(__name__)


def connection_name(keys: JobKeys, what: int | str) -> str:
    """`df2redis:<job's digest>:<FLOW>`: CLIENT SETNAME takes no spaces, a job's name may hold some."""
    return f"df2redis:{hashlib.blake2b(keys.start, digest_size=6).hexdigest()}:{what}"


async def fence(
    connection: RespConnection,
    name: str,
    *,
    whole_job: bool = False,
    check: Callable[[], Awaitable[None]] | None = None,
) -> str:
    """Bear this name and end the older connections that do. Returns why that can't be done, else "". Raises PeerLost.

    `whole_job`: those of all its FLOWs too, of which an earlier run may have had more. `check` is asked in between
    whether this run may write at all: one that takes over behind its answer finds the name, and ends this connection.
    Raises TargetError where an answer is of another kind.
    """
    ours = f"{name}:{secrets.token_hex(4)}".encode()
    named = await _asked(connection, "CLIENT", "SETNAME", ours)
    if not named.refusal:
        named.ok()
    if check is not None:
        await check()
    listed = await _asked(connection, "CLIENT", "LIST")
    if listed.refusal:
        return named.refusal or listed.refusal
    older = name.encode()
    all_older = (older.rpartition(b":")[0] if whole_job else older) + b":"
    for line in _lines_with(b" name=" + all_older[:-1], listed.text()):
        fields = dict(word.partition(b"=")[::2] for word in line.split(b" "))
        theirs = fields.get(b"name", b"")
        if theirs == ours or not (theirs == older or theirs.startswith(all_older)):
            continue
        if fields.get(b"id", b"").isdigit():
            killed = await _asked(connection, "CLIENT", "KILL", "ID", fields[b"id"])
            if killed.refusal:
                return killed.refusal
            killed.number()
            log.info("Ended an older connection", extra={"fields": {"connection": name}})
    return named.refusal


def _lines_with(word: bytes, text: bytes) -> Iterator[bytes]:
    """The lines that hold it: each of a thousand FLOWs is told of the connections of all of them."""
    at = text.find(word)
    while at >= 0:
        end = text.find(b"\n", at)
        end = end if end >= 0 else len(text)
        yield text[text.rfind(b"\n", 0, at) + 1 : end]
        at = text.find(word, end)


async def _asked(connection: RespConnection, *args: Arg) -> Answer:
    return Answer(await connection.call(*args), f"{args[0]!s} {args[1]!s}", "the target", TargetError)
