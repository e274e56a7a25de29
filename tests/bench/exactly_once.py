"""What exactly-once costs in stable sync: `python tests/bench/exactly_once.py [--cluster] [--records N] [--repeats N]`.

A journal served from memory as fast as it is taken (60 % SET, 10 % each of HSET, ZADD, INCRBY and LPUSH: 20 % must not
be applied twice; 100-byte values), into a real server or three masters of a cluster on loopback, with and without
--exactly-once in turn. Records/s from the first to the last write.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.servers import available_targets, start_cluster, start_server
from tests.support.synthetic import flow, record

FLOWS = 4


def _journal(number: int, count: int) -> list[bytes]:
    value = b"v" * 100

    def one(i: int) -> bytes:
        key = b"%d:%06d" % (number, i * 7919 % 100_000)
        match i % 10:
            case 6:
                return record(b"LPUSH", b"l:" + key, value)
            case 7:
                return record(b"HSET", b"h:" + key, b"field", value)
            case 8:
                return record(b"ZADD", b"z:" + key, b"1.5", b"member")
            case 9:
                return record(b"INCRBY", b"n:" + key, b"1")
        return record(b"SET", b"s:" + key, value)

    begin, end = record(b"SET", b"begin:%d" % number, b"1"), record(b"SET", b"end:%d" % number, b"1")
    return [begin, *(one(i) for i in range(count)), end]


@contextlib.contextmanager
def _target(cluster: bool) -> Iterator[tuple[str, redis.Redis | redis.RedisCluster]]:
    """URL and client of an empty target."""
    kind = available_targets()[0]
    if not cluster:
        with start_server(kind) as server, server.client() as client:
            yield server.url, client
        return
    with start_cluster(kind) as nodes:
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        yield url, redis.RedisCluster(host="127.0.0.1", port=nodes[0].port, protocol=2)


def _rate(script: Script, records: int, option: str, cluster: bool) -> tuple[float, float]:
    """(records/s, µs of the program's CPU per record)."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        _target(cluster) as (url, client),
        Player(script) as player,
        Program(copy_arguments(player.url, url, option), Path(scratch)) as program,
    ):
        while not any(client.exists(f"begin:{number}") for number in range(FLOWS)):
            time.sleep(0.002)
        began = time.monotonic()
        for number in range(FLOWS):
            while not client.exists(f"end:{number}"):
                time.sleep(0.005)
        took = time.monotonic() - began
        assert program.wait(60) == 0, program.output()
    return records / took, program.cpu_seconds / records * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=600_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cluster", action="store_true", help="three masters instead of one server")
    given = parser.parse_args()
    script = Script(tuple(flow([], _journal(number, given.records // FLOWS)) for number in range(FLOWS)))
    found: dict[str, list[tuple[float, float]]] = {"--exactly-once": [], "--no-exactly-once": []}
    for _ in range(given.repeats):
        for option, figures in found.items():
            figures.append(_rate(script, given.records, option, given.cluster))
    for option, figures in found.items():
        shown = ", ".join(f"{rate / 1000:.0f}" for rate, _ in figures)
        rate, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{option}: median {rate / 1000:.1f} k records/s (of {shown}), {cpu:.1f} µs of CPU per record")
    pairs = zip(found["--exactly-once"], found["--no-exactly-once"], strict=True)
    cost = 1 - statistics.median(once[0] / plain[0] for once, plain in pairs)
    print(f"exactly-once costs {cost:.1%} of the rate (median of the pairs)")


if __name__ == "__main__":
    main()
