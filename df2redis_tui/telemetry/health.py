"""Health grades and the bottleneck's name, by design.md's table."""

from __future__ import annotations

from df2redis_tui.telemetry.snapshot import Health

CHANNEL = (0.5, 0.8)
LIMITER = (0.7, 0.9)
BATCH_WAIT = (5.0, 10.0)  # seconds
STALL = (1.0, 5.0)  # seconds a FLOW's socket is not read; the source drops us after its timeout

_ORDER = {Health.HEALTHY: 0, Health.WARNING: 1, Health.CRITICAL: 2}


def grade(value: float, bounds: tuple[float, float]) -> Health:
    low, high = bounds
    return Health.CRITICAL if value > high else Health.WARNING if value >= low else Health.HEALTHY


def flow_health(channel: float, limiter: float, batch_wait: float, stalled: float) -> tuple[Health, str]:
    """The worst figure and its words ("" when healthy). Fills are 0..1, times seconds."""
    figures = [
        (grade(stalled, STALL), f"the source's FLOW has not been read for {stalled:.1f} s"),
        (grade(channel, CHANNEL), f"channel {channel:.0%}"),
        (grade(limiter, LIMITER), f"limiter {limiter:.0%}"),
        (grade(batch_wait, BATCH_WAIT), f"a batch waits {batch_wait:.1f} s"),
    ]
    health, reason = max(figures, key=lambda f: _ORDER[f[0]])
    return health, reason if health is not Health.HEALTHY else ""


def worst(grades: list[tuple[Health, str]]) -> tuple[Health, str]:
    return max(grades, key=lambda g: _ORDER[g[0]], default=(Health.HEALTHY, ""))


def bottleneck(channel: float, in_flight: int, limit: int, rate_limited: bool, paused: bool, busy: bool) -> str:
    """What holds the pipeline back, from the fullest FLOW's figures."""
    if paused:
        return "paused"
    if rate_limited:
        return "rate limit"
    if in_flight >= limit * 0.9 or channel >= CHANNEL[0]:
        return f"target-bound: limiter {in_flight}/{limit}, channel {channel:.0%}"
    return "source-bound" if busy else "idle"
