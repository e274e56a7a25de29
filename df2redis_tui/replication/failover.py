"""A Dragonfly failover: when a replica that became the master can be followed without a full sync (§5.4).

The promoted server goes on with the LSNs of its former master, and it grants a partial sync by these numbers alone. It
would also grant one to us if it had never received our last records, and then give us others under the same numbers.
Only a DFLY TAKEOVER excludes that: the old master lets nobody write, puts a PING behind the last record of every FLOW
and goes only when the successor has acknowledged it (§2.5). So every FLOW must end with a PING that we have applied.
"""

from __future__ import annotations

from collections.abc import Sequence

from df2redis_tui.dragonfly.control import Greeting
from df2redis_tui.replication.flow_state import FlowState

SINCE = (1, 34)  # before, the successor starts at its newest LSN when it thinks the difference small


def succeeds(greeting: Greeting, flows: Sequence[FlowState]) -> bool:
    """Whether this source may be asked for the journal of the one these FLOWs followed last."""
    if greeting.release is None or greeting.release < SINCE or len(flows) != greeting.flows:
        return False
    return all(_ended_by_a_takeover(state) for state in flows)


def _ended_by_a_takeover(state: FlowState) -> bool:
    stats = state.stats
    applied = stats.lsn_received is not None and stats.lsn_confirmed == stats.lsn_received
    return applied and state.ingest is not None and state.ingest.ends_with_ping
