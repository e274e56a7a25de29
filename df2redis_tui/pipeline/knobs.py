"""The knobs of one FLOW's pipeline, changeable while it runs."""

from __future__ import annotations

from dataclasses import dataclass

CHANNEL_BYTES_ALL = 64 * 1024**2  # of all FLOWs: with what is in flight, a small machine holds it


@dataclass(slots=True)
class FlowKnobs:
    """Values in force now; every stage reads them at the moment it needs them."""

    batch_size: int
    max_in_flight: int
    flush_interval: float
    adaptive_flush: bool
    channel_entries: int
    channel_bytes: int


def default_channel_bytes(flows: int) -> int:
    """64 MiB for all FLOWs together, but at least 4 MiB for each."""
    return max(4 * 1024**2, CHANNEL_BYTES_ALL // max(1, flows))


def default_batch_size(cluster: bool) -> int:
    return 20_000 if cluster else 2_000


def default_max_in_flight(cluster: bool, flows: int) -> int:
    return max(2, 400 // max(1, flows)) if cluster else 50


def default_flush_interval(cluster: bool, stable: bool) -> float:
    return 5.0 if cluster and not stable else 0.05
