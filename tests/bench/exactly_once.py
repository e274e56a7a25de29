"""What exactly-once costs in stable sync: `python tests/bench/exactly_once.py [--records N] [--repeats N]`.

A journal served from memory as fast as it is taken (70 % SET, 10 % each of HSET, ZADD, INCRBY; 100-byte values), into a
real standalone server on loopback, with and without --exactly-once in turn. Records/s from the first to the last write.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.servers import available_targets, start_server
from tests.support.synthetic import flow, record

FLOWS = 4


def _journal(number: int, count: int) -> list[bytes]:
    value = b"v" * 100

    def one(i: int) -> bytes:
        key = b"%d:%06d" % (number, i * 7919 % 100_000)
        match i % 10:
            case 7:
                return record(b"HSET", b"h:" + key, b"field", value)
            case 8:
                return record(b"ZADD", b"z:" + key, b"1.5", b"member")
            case 9:
                return record(b"INCRBY", b"n:" + key, b"1")
        return record(b"SET", b"s:" + key, value)

    begin, end = record(b"SET", b"begin:%d" % number, b"1"), record(b"SET", b"end:%d" % number, b"1")
    return [begin, *(one(i) for i in range(count)), end]


def _rate(script: Script, records: int, option: str) -> float:
    with (
        tempfile.TemporaryDirectory() as scratch,
        start_server(available_targets()[0]) as server,
        Player(script) as player,
        Program(copy_arguments(player.url, server.url, option), Path(scratch)) as program,
        server.client() as client,
    ):
        marks = {name: [f"{name}:{number}" for number in range(FLOWS)] for name in ("begin", "end")}
        while not client.exists(*marks["begin"]):
            time.sleep(0.002)
        began = time.monotonic()
        while client.exists(*marks["end"]) < FLOWS:
            time.sleep(0.005)
        took = time.monotonic() - began
        assert program.wait() == 0, program.output()
    return records / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=600_000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    script = Script(tuple(flow([], _journal(number, given.records // FLOWS)) for number in range(FLOWS)))
    rates: dict[str, list[float]] = {"--exactly-once": [], "--no-exactly-once": []}
    for _ in range(given.repeats):
        for option, found in rates.items():
            found.append(_rate(script, given.records, option))
    for option, found in rates.items():
        shown = ", ".join(f"{rate / 1000:.0f}" for rate in found)
        print(f"{option}: median {statistics.median(found) / 1000:.1f} k records/s (of {shown})")
    cost = 1 - statistics.median(rates["--exactly-once"]) / statistics.median(rates["--no-exactly-once"])
    print(f"exactly-once costs {cost:.1%}")


if __name__ == "__main__":
    main()
