"""The target of a trial with what can happen to it: one durable server, or a cluster of three durable masters."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import redis

from df2redis_tui.settings import Endpoint
from tests.support.processes import free_port
from tests.support.servers import Server, join_cluster, start_server, wait_for_cluster

DURABLE = ("--appendfsync", "always")


class TrialTarget(Protocol):
    """`begin` starts it empty; `crash` kills a server, `restart` brings it back with its data."""

    databases: tuple[int, ...]  # of the source, that the workload may use: the last one is flushed now and then
    servers: list[Server]

    @property
    def url(self) -> str: ...

    @property
    def endpoint(self) -> Endpoint: ...

    def begin(self) -> None: ...

    def crash(self) -> None: ...

    def restart(self) -> None: ...

    def drop_connections(self) -> None: ...

    def close(self) -> None: ...


class Standalone:
    """One server."""

    databases = (0, 0, 0, 1)

    def __init__(self, kind: str, directory: Path, rng: random.Random) -> None:
        self.port = free_port()
        self.servers: list[Server] = []
        self._kind = kind
        self._data = directory / "target"
        self._running = contextlib.ExitStack()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint((("127.0.0.1", self.port),))

    @property
    def server(self) -> Server:
        return self.servers[0]

    def begin(self) -> None:
        self._data.mkdir()
        self.restart()

    def restart(self) -> None:
        options = ("--dir", str(self._data), *DURABLE)
        started = start_server(self._kind, port=self.port, appendonly=True, options=options)
        self.servers = [self._running.enter_context(started)]

    def crash(self) -> None:
        self.server.process.kill()
        self.server.process.wait()

    def drop_connections(self) -> None:
        drop_connections(self.server)

    def close(self) -> None:
        self._running.close()


class Cluster:
    """Three masters without replicas. They keep their `nodes.conf`, so that one which died comes back as itself."""

    # A cluster has database 0 only, so it is that one which is flushed.
    databases = (0, 0, 0, 0)

    def __init__(self, kind: str, directory: Path, rng: random.Random) -> None:
        self.servers: list[Server] = []
        self._kind = kind
        self._data = [directory / f"target{number}" for number in range(3)]
        self._rng = rng
        self._down = 0
        self._running = contextlib.ExitStack()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(tuple(("127.0.0.1", server.port) for server in self.servers), cluster=True)

    def begin(self) -> None:
        for directory in self._data:
            directory.mkdir()
            self.servers.append(self._start(directory, None))
        join_cluster(self.servers)

    def _start(self, directory: Path, port: int | None) -> Server:
        options = ("--dir", str(directory), *DURABLE)
        started = start_server(self._kind, port=port, appendonly=True, cluster=True, options=options)
        return self._running.enter_context(started)

    def crash(self) -> None:
        """Any one of them."""
        self._down = self._rng.randrange(3)
        self.servers[self._down].process.kill()
        self.servers[self._down].process.wait()

    def restart(self) -> None:
        self.servers[self._down] = self._start(self._data[self._down], self.servers[self._down].port)
        wait_for_cluster(self.servers)

    def drop_connections(self) -> None:
        """Those of one master, or of all."""
        for server in self.servers if self._rng.random() < 0.3 else [self._rng.choice(self.servers)]:
            drop_connections(server)

    def close(self) -> None:
        self._running.close()

    @contextlib.contextmanager
    def reshard(self, pause: float = 0.01) -> Iterator[None]:
        """Slots with keys of the workload go from node to node all the while, key by key."""
        stop = threading.Event()
        errors: list[BaseException] = []
        rng = random.Random(self._rng.random())

        def work() -> None:
            try:
                while not stop.is_set():
                    self._move_one_slot(rng, lambda: stop.wait(rng.uniform(0, 2 * pause)))
            except BaseException as error:
                errors.append(error)

        mover = threading.Thread(target=work, daemon=True)
        mover.start()
        yield
        stop.set()
        mover.join(60)
        assert not errors, [f"{type(error).__name__} {error.args}" for error in errors]

    def _move_one_slot(self, rng: random.Random, pause: Callable[[], object]) -> None:
        """As `redis-cli --cluster reshard` does it, with a pause at every step."""
        here, there = rng.sample(self.servers, 2)
        with here.client() as old, there.client() as new:
            old_id, new_id = (client.execute_command("CLUSTER MYID").decode() for client in (old, new))
            key = old.randomkey()
            if key is None:
                pause()
                return
            slot = old.execute_command("CLUSTER", "KEYSLOT", key)
            new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
            old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
            pause()
            while keys := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
                old.execute_command("MIGRATE", "127.0.0.1", there.port, keys[0], 0, 5_000)
                pause()
        for server in (there, here, *self.servers):
            # A node that has learnt it from the bus already refuses nothing but says it the other way round.
            with server.client() as client, contextlib.suppress(redis.ResponseError):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_id)


def drop_connections(server: Server) -> None:
    with server.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


KINDS: dict[str, type[Standalone] | type[Cluster]] = {"standalone": Standalone, "cluster": Cluster}
