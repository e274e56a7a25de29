"""The knobs of one FLOW's pipeline, changeable while it runs."""

from __future__ import annotations

from dataclasses import dataclass

CHANNEL_BYTES = 64 * 1024**2  # per FLOW
CHANNEL_BYTES_ALL = 128 * 1024**2  # all FLOWs together, so that many FLOWs stay within a small machine's memory


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
    """64 MiB per FLOW, shrunk when all FLOWs together would hold more than 128 MiB."""
    return max(4 * 1024**2, min(CHANNEL_BYTES, CHANNEL_BYTES_ALL // max(1, flows)))


def default_batch_size(cluster: bool) -> int:
    return 20_000 if cluster else 2_000


def default_max_in_flight(cluster: bool, flows: int) -> int:
    return max(2, 400 // max(1, flows)) if cluster else 50


def default_flush_interval(cluster: bool, stable: bool) -> float:
    return 5.0 if cluster and not stable else 0.05
