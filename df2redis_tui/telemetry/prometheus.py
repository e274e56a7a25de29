"""The metrics endpoint: what a snapshot says, for Prometheus. Nothing is served unless --metrics asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from df2redis_tui.errors import ConfigError
from df2redis_tui.telemetry.snapshot import EngineSnapshot, FlowSnapshot, Health, Phase

_HEALTH = {Health.HEALTHY: 0, Health.WARNING: 1, Health.CRITICAL: 2}

# (name, help, value of a FLOW); counters end in _total
_FLOW_GAUGES: tuple[tuple[str, str, Callable[[FlowSnapshot], float | None]], ...] = (
    ("channel_fill_ratio", "Filled share of the channel, the nearer of its two bounds", lambda f: f.channel_fill),
    ("limiter_fill_ratio", "Batches in flight over the limit", lambda f: f.limiter_fill),
    ("batches_in_flight", "Batches sent and not confirmed", lambda f: f.in_flight),
    ("open_batch_wait_seconds", "Age of the batch that is being gathered", lambda f: f.open_batch_wait),
    ("lag_records", "Records of the source that the target has not confirmed", lambda f: f.lag_records),
    ("lag_seconds", "Age of the oldest of them", lambda f: f.lag_seconds),
    ("reader_stalled_seconds", "How long the FLOW has not been read", lambda f: f.reader_stalled),
    ("confirmed_lsn", "Next LSN wanted, everything below it is applied", lambda f: f.lsn_confirmed),
    ("spool_bytes", "Journal waiting on disk", lambda f: f.spool_bytes),
)
_FLOW_COUNTERS: tuple[tuple[str, str, Callable[[FlowSnapshot], float]], ...] = (
    ("entries", "Entries confirmed by the target", lambda f: f.entries),
    ("commands", "Commands confirmed by the target", lambda f: f.commands),
    ("read_bytes", "Bytes read from the source", lambda f: f.bytes_in),
    ("written_bytes", "Bytes written to the target", lambda f: f.bytes_out),
    ("batches", "Batches confirmed", lambda f: f.batches),
    ("retries", "Batches sent again", lambda f: f.retries),
    ("redirects", "Commands redirected to another node", lambda f: f.redirects),
    ("errors", "Commands the target refused for good", lambda f: f.errors),
)


class SnapshotCollector(Collector):
    """Takes a snapshot at each scrape."""

    def __init__(self, look: Callable[[], EngineSnapshot]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        snapshot = self._look()
        phase = GaugeMetricFamily("df2redis_phase", "1 for the phase the run is in", labels=["phase"])
        for known in Phase:
            phase.add_metric([known.value], float(known is snapshot.phase))
        yield phase
        yield GaugeMetricFamily("df2redis_health", "0 healthy, 1 warning, 2 critical", _HEALTH[snapshot.health])
        yield GaugeMetricFamily("df2redis_resident_bytes", "Memory of this process", snapshot.rss_bytes)
        yield GaugeMetricFamily("df2redis_keys_copied", "Keys of the full sync confirmed", snapshot.totals.keys_copied)
        yield CounterMetricFamily(
            "df2redis_dead_letters", "Keys that could not be copied", snapshot.totals.dead_letters
        )
        for name, text, value in _FLOW_GAUGES:
            gauge = GaugeMetricFamily(f"df2redis_flow_{name}", text, labels=["flow"])
            for flow in snapshot.flows:
                figure = value(flow)
                if figure is not None:
                    gauge.add_metric([str(flow.flow)], figure)
            yield gauge
        for name, text, count in _FLOW_COUNTERS:
            counter = CounterMetricFamily(f"df2redis_flow_{name}", text, labels=["flow"])
            for flow in snapshot.flows:
                counter.add_metric([str(flow.flow)], count(flow))
            yield counter


def serve_metrics(address: str, look: Callable[[], EngineSnapshot]) -> None:
    """Serve /metrics on host:port from a daemon thread. Raises ConfigError when the port can't be had."""
    host, _, port = address.rpartition(":")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(look))
    try:
        start_http_server(int(port), addr=host.strip("[]") or "127.0.0.1", registry=registry)
    except OSError as error:
        raise ConfigError(f"--metrics {address}: {error.strerror or error}") from None
