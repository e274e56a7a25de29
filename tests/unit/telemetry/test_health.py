"""Health grades by the design's table, and the bottleneck in words."""

from __future__ import annotations

from typing import Any

import pytest

from df2redis_tui.telemetry.health import bottleneck, ends_health, flow_health
from df2redis_tui.telemetry.snapshot import Health
from df2redis_tui.telemetry.stats import Latency, Rate, quantiles_of


@pytest.mark.parametrize(
    ("channel", "limiter", "wait", "stalled", "expected", "word"),
    [
        (0.49, 0.69, 4.9, 0.0, Health.HEALTHY, ""),
        (0.50, 0.0, 0.0, 0.0, Health.WARNING, "channel"),
        (0.80, 0.0, 0.0, 0.0, Health.WARNING, "channel"),
        (0.81, 0.0, 0.0, 0.0, Health.CRITICAL, "channel"),
        (0.0, 0.70, 0.0, 0.0, Health.WARNING, "limiter"),
        (0.0, 0.91, 0.0, 0.0, Health.CRITICAL, "limiter"),
        (0.0, 0.0, 5.0, 0.0, Health.WARNING, "batch"),
        (0.0, 0.0, 10.1, 0.0, Health.CRITICAL, "batch"),
        (0.9, 0.0, 0.0, 6.0, Health.CRITICAL, "not been read"),
    ],
)
def test_thresholds(channel: float, limiter: float, wait: float, stalled: float, expected: Health, word: str) -> None:
    health, reason = flow_health(channel, limiter, wait, stalled)
    assert health is expected
    assert word in reason


@pytest.mark.parametrize(
    ("figures", "expected", "word"),
    [
        ({"lag": 4.9, "silent": 2.9}, Health.HEALTHY, ""),
        ({"lag": 16.0}, Health.WARNING, "lag 16 s"),
        ({"lag": 31.0}, Health.CRITICAL, "lag 31 s"),
        ({"silent": 3.0}, Health.WARNING, "confirmed nothing for 3 s"),
        ({"silent": 11.0}, Health.CRITICAL, "confirmed nothing for 11 s"),
        ({"refused": (0.0, "OOM command not allowed")}, Health.WARNING, "OOM"),
        ({"refused": (12.0, "OOM command not allowed")}, Health.CRITICAL, "refuses for 12 s: OOM"),
        ({"lost": "10.0.0.1:6379: connection refused"}, Health.WARNING, "no connection to the target (10.0.0.1"),
    ],
)
def test_what_the_target_answers_counts(figures: dict[str, Any], expected: Health, word: str) -> None:
    health, reason = flow_health(0.0, 0.0, 0.0, 0.0, **figures)
    assert health is expected
    assert word in reason


@pytest.mark.parametrize(
    ("lost", "source", "other", "expected", "word"),
    [
        (None, 0.0, 0.0, Health.HEALTHY, ""),
        (0.0, 0.0, 0.0, Health.WARNING, "the source is lost"),
        (61.0, 0.0, 0.0, Health.CRITICAL, "the source is lost for 61 s"),
        (None, 4.0, 0.0, Health.WARNING, "the source has not answered"),
        (None, 0.0, 11.0, Health.CRITICAL, "the target has not answered"),
    ],
)
def test_both_ends_have_to_answer(lost: float | None, source: float, other: float, expected: Health, word: str) -> None:
    health, reason = ends_health(lost, source, other)
    assert health is expected
    assert word in reason


def test_the_bottleneck_has_a_name() -> None:
    assert (
        bottleneck(0.0, 3, 50, True, False, False, True) == "target-bound: it takes nothing, limiter 3/50, channel 0%"
    )
    assert bottleneck(0.83, 50, 50, False, False, True) == "target-bound: limiter 50/50, channel 83%"
    assert bottleneck(0.0, 3, 50, False, False, True) == "source-bound"
    assert bottleneck(0.0, 0, 50, False, False, False) == "idle"
    assert bottleneck(0.9, 50, 50, True, False, True) == "rate limit"
    assert bottleneck(0.9, 50, 50, True, True, True) == "paused"


def test_quantiles_come_from_the_buckets() -> None:
    latency = Latency()
    for ms in range(1, 101):
        latency.add(float(ms), 1)
    quantiles = quantiles_of(latency.all, (0.5, 0.99))
    assert quantiles is not None
    assert quantiles[0] == pytest.approx(50, rel=0.13)
    assert quantiles[1] == pytest.approx(99, rel=0.13)
    assert quantiles_of([0, 0], (0.5,)) is None


def test_a_rate_is_over_the_last_samples() -> None:
    rate = Rate()
    for second in range(20):
        rate.sample(float(second), second * 10.0)
    assert rate.value == pytest.approx(10.0)
