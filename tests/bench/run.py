"""The project's figures, measured on this machine: `python tests/bench/run.py`.

Full sync: keys from a byte-replaying source process into a real server on loopback, the program as a user runs it,
against `redis-benchmark -t set -P 256 -c 4` with values of the same size. CPU per entry is user + system time of the
whole process less that of a copy of nothing. Stable sync: a paced journal; the latency of a record is from the moment
the source hands it to its socket until a client of the target has it. Medians over the repeats.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import redis
from rich.console import Console
from rich.table import Table

from tests.bench.source import STAMPS
from tests.support.processes import spawn, stop
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server, available_targets, start_cluster, start_server
from tests.ui.pseudo_terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
PIPELINE, CLIENTS = 256, 4


@dataclass(frozen=True, slots=True)
class FullSync:
    """One measured full sync. Rates in entries/s, CPU in µs per entry, RSS in bytes."""

    rate: float
    cpu: float
    rss: int


@dataclass(frozen=True, slots=True)
class StableSync:
    """One measured journal: records/s, latencies in ms as a client saw them and as the program says."""

    rate: float
    p50: float
    p99: float
    own_p50: float
    own_p99: float
    cpu: float
    rss: int


class Source:
    """The source process and what it says."""

    def __init__(self, *options: object) -> None:
        argv = [sys.executable, "-m", "tests.bench.source", *map(str, options)]
        self.process = spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        self.port: int = self.heard()["port"]

    @property
    def url(self) -> str:
        return f"dragonfly://127.0.0.1:{self.port}"

    def heard(self) -> dict[str, Any]:
        """The next line it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise RuntimeError(self.process.stderr.read().decode())
        said: dict[str, Any] = json.loads(line)
        return said


@contextmanager
def source(*options: object) -> Iterator[Source]:
    running = Source(*options)
    try:
        yield running
    finally:
        stop(running.process)


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="df2redis-bench-") as directory:
        yield Path(directory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--target", choices=available_targets(), default=available_targets()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of the paced journal")
    parser.add_argument("--rate", type=int, default=40_000, help="journal commands/s")
    parser.add_argument("--only", choices=["full", "stable", "cluster", "ui"])
    given = parser.parse_args()
    console = Console()
    with start_server(given.target) as server:
        console.print(f"{server.kind} {server.version}, {given.keys:,} keys in 4 FLOWs, median of {given.repeats}")
        if given.only in (None, "full"):
            console.print(_full_table(server, given.keys, given.repeats))
        if given.only in (None, "stable"):
            console.print(_stable_table(server, given.rate, given.seconds, given.repeats))
        if given.only in (None, "cluster"):
            with start_cluster(given.target) as nodes:
                console.print(_cluster_table(server, nodes, given.keys, given.repeats))
        if given.only in (None, "ui"):
            console.print(_ui_table(server, given.keys, given.repeats))


def _full_table(server: Server, keys: int, repeats: int) -> Table:
    table = Table(title="Full sync", caption="aim: ratio >= 0.5, <= 3 µs per entry, <= 200 MiB")
    for heading in ("values", "ceiling /s", "engine /s", "ratio", "CPU µs/entry", "peak RSS MiB"):
        table.add_column(heading, justify="right")
    idle = statistics.median(_full_sync([server], 0, "--keys", 0).cpu for _ in range(repeats))
    cases: list[tuple[str, int, tuple[object, ...]]] = [
        (f"{size} bytes", size, ("--value", size)) for size in (32, 100, 1000)
    ]
    cases += [("100 bytes, LZ4", 100, ("--value", 100, "--lz4")), ("mix of 10 elements", 0, ("--mix",))]
    for name, size, options in cases:
        count = keys // 4 if "--mix" in options else keys
        ceilings, runs = [], []
        for _ in range(repeats):  # side by side, so that both see the same machine
            if size:
                ceilings.append(ceiling(server, size, keys))
            runs.append(_full_sync([server], idle, "--keys", count, *options))
        rate, top = statistics.median(r.rate for r in runs), statistics.median(ceilings) if ceilings else 0.0
        table.add_row(
            name,
            f"{top:,.0f}" if top else "-",
            f"{rate:,.0f}",
            f"{rate / top:.2f}" if top else "-",
            f"{statistics.median(r.cpu for r in runs):.2f}",
            f"{max(r.rss for r in runs) / (1 << 20):.0f}",
        )
    return table


def _cluster_table(server: Server, nodes: list[Server], keys: int, repeats: int) -> Table:
    table = Table(title="Strings of 100 bytes into three masters", caption="aim: CPU <= 1.3 x that of one server")
    for heading in ("target", "engine /s", "CPU µs/entry", "peak RSS MiB"):
        table.add_column(heading, justify="right")
    for name, servers in (("one server", [server]), ("cluster", nodes)):
        idle = statistics.median(_full_sync(servers, 0, "--keys", 0).cpu for _ in range(repeats))
        runs = [_full_sync(servers, idle, "--keys", keys, "--value", 100) for _ in range(repeats)]
        rate, cpu = (statistics.median(getattr(r, figure) for r in runs) for figure in ("rate", "cpu"))
        table.add_row(name, f"{rate:,.0f}", f"{cpu:.2f}", f"{max(r.rss for r in runs) / (1 << 20):.0f}")
    return table


def _ui_table(server: Server, keys: int, repeats: int) -> Table:
    table = Table(title="Strings of 100 bytes, headless and in a terminal", caption="aim: ratio >= 0.9, of the pairs")
    for heading in ("headless /s", "with the UI /s", "ratio"):
        table.add_column(heading, justify="right")
    pairs = []
    for _ in range(repeats):
        headless = _full_sync([server], 0, "--keys", keys, "--value", 100).rate
        pairs.append((headless, _full_sync_in_terminal(server, keys)))
    columns = [statistics.median(column) for column in zip(*pairs, strict=True)]
    ratio = statistics.median(ui / headless for headless, ui in pairs)
    table.add_row(*(f"{rate:,.0f}" for rate in columns), f"{ratio:.2f}")
    return table


def _full_sync_in_terminal(server: Server, keys: int) -> float:
    """Keys/s of a full sync with the UI on a terminal of 120x40 that reads everything."""
    client = server.client()
    client.flushall()
    with source("--keys", keys, "--value", 100) as of, scratch() as directory:
        files = ["--state-dir", str(directory / "state"), "--log-dir", str(directory / "log")]
        command = [sys.executable, "-m", "df2redis_tui", *copy_arguments(of.url, server.url), "--ui", *files]
        terminal = Terminal(command, directory, directory / "log")
        try:
            reading = threading.Thread(target=terminal.read, args=(600.0, "\x1b[?1049l"))
            reading.start()
            began = of.heard()["sync_at"]
            while client.dbsize() < keys and terminal.process.poll() is None:
                time.sleep(0.005)
            took = time.monotonic() - began
            if client.dbsize() < keys:
                raise SystemExit(terminal.seen[-2000:])
        finally:
            terminal.process.kill()
            terminal.end()
    client.flushall()
    return keys / took


def _full_sync(servers: list[Server], idle: float, *options: object) -> FullSync:
    """`idle`: CPU seconds of a copy of nothing; with no keys the CPU returned is in seconds."""
    keys = int(str(options[options.index("--keys") + 1]))
    clients = [server.client() for server in servers]
    for client in clients:
        client.flushall()
    target = servers[0].url if len(servers) == 1 else f"redis+cluster://127.0.0.1:{servers[0].port}"
    with source(*options) as of, scratch() as directory:
        with Program(copy_arguments(of.url, target), directory) as program:
            began = of.heard()["sync_at"]
            while sum(client.dbsize() for client in clients) < keys and program.process.poll() is None:
                time.sleep(0.005)
            took = time.monotonic() - began
            if program.wait(300) != 0:
                raise SystemExit(program.output())
        rss = max(program.peak_rss, program.summary()["peak_rss_bytes"])
    for client in clients:
        client.flushall()
    return FullSync(keys / took, (program.cpu_seconds - idle) * 1e6 / keys if keys else program.cpu_seconds, rss)


def ceiling(server: Server, size: int, count: int) -> float:
    """SETs per second of redis-benchmark, or of four threads with prepared pipelines when it is missing."""
    server.client().flushall()
    if shutil.which("redis-benchmark"):
        argv = [
            "redis-benchmark",
            "-p",
            server.port,
            "-t",
            "set",
            "-P",
            PIPELINE,
            "-c",
            CLIENTS,
            "-d",
            size,
            "-n",
            count,
        ]
        done = subprocess.run([*map(str, argv), "--csv"], capture_output=True, text=True, check=True)
        line = next(line for line in done.stdout.splitlines() if line.startswith('"SET"'))
        return float(line.split(",")[1].strip('"'))
    return _ceiling_by_hand(server, size, count)


def _ceiling_by_hand(server: Server, size: int, count: int) -> float:
    import socket

    one = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:__rand_int__\r\n$%d\r\n%s\r\n" % (size, b"x" * size)
    rounds = count // (PIPELINE * CLIENTS)

    def load() -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            for _ in range(rounds):
                connection.sendall(one * PIPELINE)
                left = 5 * PIPELINE
                while left:
                    left -= len(connection.recv(left))

    threads = [threading.Thread(target=load) for _ in range(CLIENTS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rounds * PIPELINE * CLIENTS / (time.monotonic() - began)


def _stable_table(server: Server, rate: int, seconds: float, repeats: int) -> Table:
    table = Table(
        title=f"Stable sync, {rate:,} commands/s for {seconds:g} s", caption="aim: p50 <= 10 ms, p99 <= 50 ms"
    )
    for heading in ("confirmed /s", "p50 ms", "p99 ms", "own p50 ms", "own p99 ms", "CPU µs/entry", "peak RSS MiB"):
        table.add_column(heading, justify="right")
    runs = [_stable_sync(server, rate, seconds) for _ in range(repeats)]

    def median(name: str) -> float:
        return statistics.median(float(getattr(r, name)) for r in runs)

    table.add_row(
        f"{median('rate'):,.0f}",
        *(f"{median(name):.1f}" for name in ("p50", "p99", "own_p50", "own_p99")),
        f"{median('cpu'):.2f}",
        f"{max(r.rss for r in runs) / (1 << 20):.0f}",
    )
    return table


class Stamps(threading.Thread):
    """Takes the stamps from the target as they arrive."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(daemon=True)
        self.latencies: list[float] = []  # seconds
        self.last = 0.0
        self.ended = threading.Event()
        self._client = client

    def run(self) -> None:
        while not self.ended.is_set():
            popped = self._client.blpop([STAMPS], timeout=1)
            if popped:
                self.last = time.monotonic()
                self.latencies.append(self.last - float(popped[1]))


def _stable_sync(server: Server, rate: int, seconds: float) -> StableSync:
    server.client().flushall()
    with source("--keys", 4000, "--rate", rate, "--seconds", seconds) as of, scratch() as directory:
        stamps = Stamps(server.client())
        stamps.start()
        arguments = ["--source", of.url, "--target", server.url, "--log-format", "json", "--status-interval", "1s"]
        with Program(arguments, directory) as program:
            of.heard()
            said = of.heard()
            time.sleep(1.0)
            stamps.ended.set()
            stamps.join()
            program.process.terminate()
            program.wait(60)
        cpu = program.cpu_seconds * 1e6 / said["sent"]
        own = _own_latencies(program.output())
    first = said["sent_at"] - seconds
    latencies = sorted(1000 * latency for latency in stamps.latencies)
    return StableSync(
        said["sent"] / max(seconds, stamps.last - first),
        latencies[len(latencies) // 2],
        latencies[len(latencies) * 99 // 100],
        *own,
        cpu,
        program.peak_rss,
    )


def _own_latencies(output: str) -> tuple[float, float]:
    """Median of what the program's own snapshots said, of the worst FLOW."""
    p50, p99 = [], []
    for line in output.splitlines():
        flows = json.loads(line).get("flows", []) if line.startswith("{") else []
        if isinstance(flows, list) and flows and all(f.get("latency_p99_ms") is not None for f in flows):
            p50.append(max(f["latency_p50_ms"] for f in flows))
            p99.append(max(f["latency_p99_ms"] for f in flows))
    return (statistics.median(p50), statistics.median(p99)) if p50 else (float("nan"), float("nan"))


if __name__ == "__main__":
    main()
