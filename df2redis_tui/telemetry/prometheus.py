"""The metrics endpoint: what a snapshot says, for Prometheus. Nothing is served unless --metrics asks for it."""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable
from http.server import ThreadingHTTPServer
from typing import Any

from prometheus_client import MetricsHandler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from df2redis_tui.errors import ConfigError
from df2redis_tui.telemetry.snapshot import EngineSnapshot, FlowSnapshot, Health, Phase

log = logging.getLogger(__name__)

CONNECTIONS_MOST = 16
PATIENCE = 5.0  # seconds that a client may say nothing, or take nothing
PAUSE = 0.1  # seconds before a connection that can't be accepted is tried again

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


class _Handler(MetricsHandler):
    timeout = PATIENCE
    server_version, sys_version = "df2redis-tui", ""


class _Server(ThreadingHTTPServer):
    """A thread for each connection, and few of them: a new one ends the oldest, which may be idle."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # a connection that finds no place there comes again after a second

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily, handler: type[MetricsHandler]) -> None:
        self.address_family = family
        self._open: dict[socket.socket, None] = {}
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # the inherited one asks the name service for this host's name

    def get_request(self) -> tuple[socket.socket, object]:
        try:
            return super().get_request()
        except OSError:
            time.sleep(PAUSE)  # without file descriptors the same connection is announced again and again
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            while len(self._open) >= CONNECTIONS_MOST:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread sees that and closes it
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        level = logging.DEBUG if isinstance(error, OSError) else logging.WARNING
        log.log(level, "a scrape of the metrics failed: %s", type(error).__name__, exc_info=level > logging.DEBUG)


def serve_metrics(address: str, look: Callable[[], EngineSnapshot]) -> None:
    """Serve /metrics on host:port from daemon threads. Raises ConfigError when the port can't be had."""
    host, _, port = address.rpartition(":")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(look))
    try:
        where = (host.strip("[]") or "127.0.0.1", int(port))
        family, _, _, _, bound = socket.getaddrinfo(*where, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        server = _Server((str(bound[0]), int(bound[1])), family, _Handler.factory(registry))
    except OSError as error:
        raise ConfigError(f"--metrics {address}: {error.strerror or error}") from None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
