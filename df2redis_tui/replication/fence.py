"""Fences off connections of the past: what they still hold in buffers must not reach the data any more.

A connection that broke, or whose process died, may have bytes under way which the target executes later, behind a
checkpoint that was read meanwhile. So every writing connection bears its FLOW's name, and before a new one with that
name is used, the target closes the older ones. Behind CLIENT KILL's answer nothing of them is executed.
"""

from __future__ import annotations

import hashlib
import logging

from df2redis_tui.answers import Answer
from df2redis_tui.errors import TargetError
from df2redis_tui.replication.checkpoint import JobKeys
from df2redis_tui.streams import Arg, RespConnection

log = logging.getLogger(__name__)


def connection_name(keys: JobKeys, what: int | str) -> str:
    """`df2redis:<job's digest>:<FLOW>`: CLIENT SETNAME takes no spaces, a job's name may hold some."""
    return f"df2redis:{hashlib.blake2b(keys.start, digest_size=6).hexdigest()}:{what}"


async def fence(connection: RespConnection, name: str, *, whole_job: bool = False) -> str:
    """End the older connections of this name, then bear it. Returns why that can't be done, else "".

    `whole_job`: those of all its FLOWs too, of which an earlier run may have had more. Raises PeerLost, TargetError.
    """
    job = name.rpartition(":")[0].encode() + b":"
    listed = await _asked(connection, "CLIENT", "LIST")
    if listed.refusal:
        return listed.refusal
    for line in listed.text().splitlines():
        fields = dict(word.partition(b"=")[::2] for word in line.split(b" "))
        theirs = fields.get(b"name", b"")
        if (theirs == name.encode() or (whole_job and theirs.startswith(job))) and fields.get(b"id", b"").isdigit():
            killed = await _asked(connection, "CLIENT", "KILL", "ID", fields[b"id"])
            if killed.refusal:
                return killed.refusal
            killed.number()
            log.info("Ended an older connection", extra={"fields": {"connection": name}})
    named = await _asked(connection, "CLIENT", "SETNAME", name)
    if not named.refusal:
        named.ok()
    return named.refusal


async def _asked(connection: RespConnection, *args: Arg) -> Answer:
    return Answer(await connection.call(*args), f"{args[0]!s} {args[1]!s}", "the target", TargetError)
