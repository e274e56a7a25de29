"""The two servers that can be the source of these tests, with the same handle: a real Dragonfly and the look-alike."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

import redis

from df2redis_tui.settings import Endpoint
from tests.support.fault_source import FaultSource
from tests.support.processes import free_port, spawn, stop
from tests.support.proxy import Proxy

READY_WITHIN = 30.0  # seconds


class SourceServer(Protocol):
    """A source on loopback, as a context manager. Clients use `client`, our program uses `url`.

    Behind `url` is an address that stays the same whatever happens to the server.
    """

    real: ClassVar[bool]
    flows: int

    def __enter__(self) -> SourceServer: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def url(self) -> str: ...

    @property
    def endpoint(self) -> Endpoint: ...

    @property
    def port(self) -> int: ...

    def client(self, db: int = 0) -> redis.Redis: ...

    def restart(self, *, empty: bool = False) -> None:
        """A new process with the same data or none, and so another master id."""

    def fail_over(self) -> None:
        """A replica of it takes over and is reached behind `url` from then on."""


class RealDragonfly:
    """The binary at `path`. It keeps its data in a directory of its own, and listens on loopback only."""

    real = True

    def __init__(self, path: Path, threads: int) -> None:
        self.flows = threads
        self._path = path
        self._directory = Path(tempfile.mkdtemp(prefix="df2redis-dragonfly-"))
        self._running: list[subprocess.Popen[bytes]] = []
        self._port = free_port()
        self._proxy = Proxy(self._port)

    def __enter__(self) -> RealDragonfly:
        self._start(self._port)
        self._proxy.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.__exit__()
        for process in self._running:
            process.kill()
            stop(process)
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"dragonfly://127.0.0.1:{self._proxy.port}"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint((("127.0.0.1", self._port),))

    @property
    def port(self) -> int:
        return self._port

    def client(self, db: int = 0) -> redis.Redis:
        return redis.Redis("127.0.0.1", self._port, db=db, protocol=2)

    def restart(self, *, empty: bool = False) -> None:
        if not empty:
            with self.client() as client:
                client.execute_command("SAVE")
        process = self._running.pop()
        process.kill()
        stop(process)
        self._start(self._port)

    def fail_over(self) -> None:
        """`REPLTAKEOVER` on a replica, which ends the old master."""
        new = free_port()
        self._start(new, "--replicaof", f"127.0.0.1:{self._port}")
        with redis.Redis("127.0.0.1", new, protocol=2, socket_timeout=30) as client:
            self._wait(lambda: self._follows(client), "the replica does not follow")
            client.execute_command("REPLTAKEOVER", "10")
        old = self._running.pop(0)
        old.wait(30)
        stop(old)
        self._port = self._proxy.upstream = new

    @staticmethod
    def _follows(client: redis.Redis) -> bool:
        about = client.info("replication")
        return about.get("master_link_status") == "up" and not int(about.get("master_sync_in_progress", 1))

    def _start(self, port: int, *more: str) -> None:
        directory = self._directory if not more else Path(tempfile.mkdtemp(dir=self._directory))
        argv = [
            self._path,
            "--bind=127.0.0.1",
            f"--port={port}",
            f"--proactor_threads={self.flows}",
            f"--num_shards={self.flows}",
            f"--dir={directory}",
            "--dbfilename=dump",
            f"--maxmemory={max(1, self.flows // 2)}GB",
            "--version_check=false",
            "--logtostderr",
            *more,
        ]
        log = (directory / "server.log").open("ab")
        self._running.append(spawn(argv, stdout=log, cwd=directory))
        with redis.Redis("127.0.0.1", port, protocol=2) as client:
            self._wait(lambda: bool(client.ping()), f"{self._path} does not start: {directory}")

    def _wait(self, condition: Callable[[], bool], complaint: str) -> None:
        give_up = time.monotonic() + READY_WITHIN
        while True:
            with contextlib.suppress(redis.RedisError):
                if condition():
                    return
            if time.monotonic() > give_up:
                raise RuntimeError(complaint)
            time.sleep(0.05)


class LookAlike:
    """The look-alike of the demo."""

    real = False

    def __init__(self, flows: int) -> None:
        self.flows = flows
        self._source = FaultSource(flows=flows)

    def __enter__(self) -> LookAlike:
        self._source.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        crashes = self._source.look_alike.crashes
        self._source.__exit__()
        assert crashes == 0, "a real Dragonfly would have crashed"

    @property
    def url(self) -> str:
        return self._source.url

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint((("127.0.0.1", self.port),))

    @property
    def port(self) -> int:
        return self._source.look_alike.port

    def client(self, db: int = 0) -> redis.Redis:
        return self._source.client(db)

    def restart(self, *, empty: bool = False) -> None:
        restarting = self._source.begin(self._source.look_alike.restart(down=1.0))
        if empty:
            time.sleep(0.5)  # nobody is connected by now
            with redis.Redis("127.0.0.1", self._source.look_alike.port_of_backend, protocol=2) as backend:
                backend.flushall()
        restarting.result(30)

    def fail_over(self) -> None:
        self._source.run(self._source.look_alike.fail_over())


def source_server(path: Path | None, flows: int) -> RealDragonfly | LookAlike:
    """A real one where there is a binary, else the look-alike; not started yet."""
    return RealDragonfly(path, flows) if path else LookAlike(flows)
