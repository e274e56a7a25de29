"""Without checkpoints (--no-exactly-once) nothing on the target says what it had confirmed: only that a server was
started anew can be seen, and then nobody knows what it kept."""

from __future__ import annotations

import logging
import time

from anyio.abc import SocketAttribute

from df2redis_tui.errors import DataLost
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.streams import RespConnection
from df2redis_tui.target.connection import ask, parse_info

log = logging.getLogger(__name__)

ROUNDED = 1.5  # seconds by which a server's whole seconds of uptime may be off


async def look_at_server(job: JobState, connection: RespConnection) -> None:
    """Of each connection that is opened anew. Raises DataLost, TargetError, TargetLost."""
    cluster = job.target.router.cluster
    info = parse_info((await ask(connection, job.target.name, "INFO")).text())
    server = job.target.name
    if cluster:
        server = str(connection.stream.extra(SocketAttribute.remote_address, ""))  # noqa: S610
    run, now = info.get("run_id", ""), time.monotonic()
    if not run or info.get("role") == "slave":
        return
    before, job.servers[server] = job.servers.get(server), (run, info.get("master_replid", ""), now)
    if before is None or before[0] == run:
        return
    up = info.get("uptime_in_seconds", "")
    fresh = up.isdigit() and len(up) < 12 and int(up) + ROUNDED < now - before[2]
    if not fresh and before[1] == info.get("master_replid2"):
        return  # a replica took over
    commands = sum(state.stats.commands for state in job.flows)
    if not commands:
        return
    holds_some = any(field[:2] == "db" and field[2:].isdigit() for field in info)
    if not holds_some and not cluster:
        raise DataLost.of(f"target {server}", f"{commands:,} command{'' if commands == 1 else 's'}", "no key at all")
    text = (
        f"target {job.target.name} was started anew while it was copied to: whether it kept all that it had confirmed "
        "is not known (--no-exactly-once)"
    )
    if not job.restarted:
        job.records.event("error", "target", text)
        log.error(text)
    job.restarted = text
