"""Health grades and the bottleneck's name: design.md's table, and what the target and the source answer."""

from __future__ import annotations

from df2redis_tui.telemetry.snapshot import Health

# (warning from, critical above)
CHANNEL = (0.5, 0.8)
LIMITER = (0.7, 0.9)
BATCH_WAIT = (5.0, 10.0)  # seconds
STALL = (1.0, 5.0)  # seconds a FLOW's socket is not read; the source drops us after its timeout
LAG = (5.0, 30.0)  # seconds
SILENCE = (3.0, 10.0)  # seconds without an answer to what was sent
REFUSALS = (0.0, 10.0)  # seconds for which the target refuses what it may take later
LOST = (0.0, 60.0)  # seconds without a connection

_ORDER = {Health.HEALTHY: 0, Health.WARNING: 1, Health.CRITICAL: 2}
Grade = tuple[Health, str]


def grade(value: float, bounds: tuple[float, float]) -> Health:
    low, high = bounds
    return Health.CRITICAL if value > high else Health.WARNING if value >= low else Health.HEALTHY


def flow_health(
    channel: float,
    limiter: float,
    batch_wait: float,
    stalled: float,
    *,
    lag: float = 0.0,
    silent: float = 0.0,
    refused: tuple[float, str] = (0.0, ""),
    lost: str = "",
) -> Grade:
    """The worst figure and its words ("" when healthy). Fills are 0..1, times seconds.

    `silent`: the target confirms nothing of what is in flight. `refused`: since when it answers with this error.
    `lost`: connections to it that are not there.
    """
    since, error = refused
    figures = [
        (grade(since, REFUSALS) if error else Health.HEALTHY, f"the target refuses for {since:.0f} s: {error}"),
        (Health.WARNING if lost else Health.HEALTHY, f"no connection to the target ({lost})"),
        (grade(silent, SILENCE), f"the target has confirmed nothing for {silent:.0f} s"),
        (grade(stalled, STALL), f"the source's FLOW has not been read for {stalled:.1f} s"),
        (grade(lag, LAG), f"lag {lag:.0f} s"),
        (grade(channel, CHANNEL), f"channel {channel:.0%}"),
        (grade(limiter, LIMITER), f"limiter {limiter:.0%}"),
        (grade(batch_wait, BATCH_WAIT), f"a batch waits {batch_wait:.1f} s"),
    ]
    return _worded(figures)


def ends_health(source_lost: float | None, source_silent: float, target_silent: float) -> Grade:
    """Of the connections that all FLOWs share; seconds."""
    lost = source_lost or 0.0
    return _worded(
        [
            (Health.HEALTHY if source_lost is None else grade(lost, LOST), f"the source is lost for {lost:.0f} s"),
            (grade(target_silent, SILENCE), f"the target has not answered for {target_silent:.0f} s"),
            (grade(source_silent, SILENCE), f"the source has not answered for {source_silent:.0f} s"),
        ]
    )


def worst(grades: list[Grade]) -> Grade:
    return max(grades, key=lambda g: _ORDER[g[0]], default=(Health.HEALTHY, ""))


def _worded(figures: list[Grade]) -> Grade:
    health, reason = worst(figures)
    return health, reason if health is not Health.HEALTHY else ""


def bottleneck(
    channel: float, in_flight: int, limit: int, rate_limited: bool, paused: bool, busy: bool, held_up: bool = False
) -> str:
    """What holds the pipeline back, from the fullest FLOW's figures. `held_up`: the target takes nothing now."""
    if paused:
        return "paused"
    if held_up:
        return f"target-bound: it takes nothing, limiter {in_flight}/{limit}, channel {channel:.0%}"
    if rate_limited:
        return "rate limit"
    if in_flight >= limit * 0.9 or channel >= CHANNEL[0]:
        return f"target-bound: limiter {in_flight}/{limit}, channel {channel:.0%}"
    return "source-bound" if busy else "idle"
