"""The targets of these tests: each server that this machine has, and a cluster of three."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from df2redis_tui.settings import Endpoint
from tests.support.servers import Server, available_targets, start_cluster, start_server

CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Target:
    """`kind` is a server's, or `cluster`."""

    kind: str
    servers: tuple[Server, ...]

    @property
    def cluster(self) -> bool:
        return self.kind == CLUSTER

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"{'redis+cluster' if self.cluster else 'redis'}://{hosts}"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(tuple(("127.0.0.1", server.port) for server in self.servers), cluster=self.cluster)

    @property
    def databases(self) -> tuple[int, ...]:
        """Of the source, that can be copied there."""
        return (0,) if self.cluster else (0, 1, 5)

    @property
    def field_ttls(self) -> bool:
        return self.servers[0].kind.startswith("valkey-9")

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The first server answers nothing meanwhile."""
        process = self.servers[0].process
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)


def target_kinds() -> list[str]:
    """Newest first, the cluster second."""
    servers = available_targets()
    return [*servers[:1], CLUSTER, *servers[1:]]


@contextlib.contextmanager
def start_target(kind: str) -> Iterator[Target]:
    if kind == CLUSTER:
        with start_cluster(available_targets()[0]) as servers:
            yield Target(kind, tuple(servers))
    else:
        with start_server(kind) as server:
            yield Target(kind, (server,))
