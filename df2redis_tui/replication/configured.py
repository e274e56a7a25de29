"""The knobs that settings ask for, with the defaults of this target and number of FLOWs."""

from __future__ import annotations

from df2redis_tui.pipeline.knobs import (
    FlowKnobs,
    default_batch_size,
    default_channel_bytes,
    default_flush_interval,
    default_max_in_flight,
)
from df2redis_tui.settings import Settings


def configured_knobs(settings: Settings, flows: int, *, stable: bool) -> FlowKnobs:
    """Of each of `flows` FLOWs, before anyone tunes. `stable`: the journal is read, not a full sync."""
    tuning, cluster = settings.tuning, settings.target.cluster
    return FlowKnobs(
        tuning.batch_size or default_batch_size(cluster),
        tuning.max_in_flight or default_max_in_flight(cluster, flows),
        tuning.flush_interval if tuning.flush_interval is not None else default_flush_interval(cluster, stable),
        tuning.adaptive_flush,
        tuning.channel_entries,
        tuning.channel_bytes or default_channel_bytes(flows),
    )
