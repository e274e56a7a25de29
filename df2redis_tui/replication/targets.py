"""The target and its ledgers, as the settings want them: one server, or a cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.replication.checkpoint import FlowLedger, JobKeys
from df2redis_tui.replication.cluster_ledger import ClusterLedger
from df2redis_tui.replication.cluster_side import ClusterTarget
from df2redis_tui.replication.target_side import StandaloneTarget
from df2redis_tui.settings import Settings
from df2redis_tui.target.pending import Overtaken

Target = StandaloneTarget | ClusterTarget


def target_of(settings: Settings) -> Target:
    """The target these settings name, not connected yet."""
    return ClusterTarget(settings) if settings.target.cluster else StandaloneTarget(settings)


def ledger_of(settings: Settings, keys: JobKeys, flow: int, flows: int, run: str) -> FlowLedger | None:
    """The ledger of one FLOW, None without --exactly-once."""
    if not settings.exactly_once:
        return None
    kind = ClusterLedger if settings.target.cluster else FlowLedger
    return kind(keys, flow, flows, run)


def resumer_of(
    target: Target, ledger: FlowLedger | None, until: Callable[[], int], doubt: Callable[[Overtaken], None]
) -> Callable[[Batch], Awaitable[None]] | None:
    """What takes out of each batch the records a former run has applied; None when there can't be such. They are below
    `until` (0 = not known). `doubt` is told of keys for which it is not certain."""
    if not isinstance(target, ClusterTarget) or not isinstance(ledger, ClusterLedger) or not ledger.resuming:
        return None
    router, of_flow = target.router, ledger

    async def before_dispatch(batch: Batch) -> None:
        if of_flow.resuming:
            for overtaken in dict.fromkeys(await of_flow.before_dispatch(batch, router, until())):
                doubt(overtaken)

    return before_dispatch


async def count_refusals(target: Target, ledgers: Iterable[FlowLedger | None]) -> None:
    """Let the ledgers of a cluster know how often its servers have refused commands by now. Raises TargetLost."""
    if isinstance(target, ClusterTarget) and target.facts:
        count = await target.router.refusals()
        for ledger in ledgers:
            if isinstance(ledger, ClusterLedger):
                ledger.baseline.read(count)
