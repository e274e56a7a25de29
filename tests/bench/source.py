"""The benchmark's source: a process that serves prepared FLOW bytes from memory, and a journal at a paced rate.

It prints one JSON line when it listens (`port`), one when DFLY SYNC came (`sync_at`), one when all of the journal was
sent (`sent_at`, `sent`), with times of the machine's monotonic clock, and ends when its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Callable

from tests.support.player import FlowScript, Player, Script
from tests.support.synthetic import (
    HASH_LISTPACK,
    HEADER,
    LIST,
    SET,
    SNAPSHOT_END,
    STRING,
    TOKEN,
    ZSET_LISTPACK,
    blob,
    entry,
    length,
    listpack,
    record,
    set_payload,
    stable_start,
    string,
)

TICK = 0.0025  # seconds between two sends of the paced journal
STAMP_EVERY = 2  # ticks
STAMPS = b"bench:stamps"  # list into which each FLOW pushes the time at which the record left
BLOB = 256 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=4)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--value", type=int, default=100, help="bytes of a string value")
    parser.add_argument("--mix", action="store_true", help="hashes, lists, sets and sorted sets of 10 elements")
    parser.add_argument("--lz4", action="store_true")
    parser.add_argument("--rate", type=int, default=0, help="journal commands/s of all FLOWs")
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    share = given.keys // given.flows
    entries = [(_mix if given.mix else _strings)(flow, share, given.value) for flow in range(given.flows)]
    bodies = [_compressed(e) if given.lz4 else b"".join(e) for e in entries]
    count = int(given.rate / given.flows * given.seconds)
    flows = tuple(
        _flow(body, _paced(flow, given.rate / given.flows, count) if given.rate else None, count)
        for flow, body in enumerate(bodies)
    )
    with Player(Script(flows, databases={0: share * given.flows})) as player:
        _say(port=player.port)
        started = False
        while not started:
            time.sleep(0.002)
            started = ("DFLY", "SYNC", "SYNC1") in player.commands
        _say(sync_at=time.monotonic())
        if given.rate:
            player.played.wait()
            _say(sent_at=time.monotonic(), sent=count * given.flows)
        sys.stdin.read()


def _say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def _flow(body: bytes, live: Callable[[], AsyncIterator[bytes]] | None, count: int) -> FlowScript:
    whole, start = HEADER + body + SNAPSHOT_END, stable_start(1)
    return FlowScript(
        snapshot=lambda: [whole],
        stable=lambda: [start],
        live=live,
        token=TOKEN,
        full_sync_end=len(whole),
        stable_from=len(start),
        lsn_end=1 + count,
    )


def _strings(flow: int, count: int, size: int) -> list[bytes]:
    half = size // 2
    pool = random.Random(flow).randbytes(half * 4096)
    values = [string(pool[i * half : (i + 1) * half] + b"-" * (size - half)) for i in range(4096)]
    return [entry(STRING, b"key:%d:%09d" % (flow, i), values[i & 4095]) for i in range(count)]


def _mix(flow: int, count: int, _size: int) -> list[bytes]:
    members = [b"member-%02d" % i for i in range(10)]
    hashes = string(listpack([part for m in members for part in (m, b"value of " + m)]))
    lists = length(1) + b"\x02" + string(listpack([b"element " + m for m in members]))
    zsets = string(listpack([part for i, m in enumerate(members) for part in (m, b"%d.5" % i)]))
    kinds = ((HASH_LISTPACK, hashes), (LIST, lists), (SET, set_payload(members)), (ZSET_LISTPACK, zsets))
    return [entry(kinds[i & 3][0], b"key:%d:%09d" % (flow, i), kinds[i & 3][1]) for i in range(count)]


def _compressed(entries: list[bytes]) -> bytes:
    """Blobs of whole entries, as the server's serializer flushes them."""
    per_blob = max(1, BLOB // len(entries[0]))
    return b"".join(blob(b"".join(entries[i : i + per_blob])) for i in range(0, len(entries), per_blob))


def _paced(flow: int, rate: float, count: int) -> Callable[[], AsyncIterator[bytes]]:
    """Mostly SET, some HSET, ZADD and INCRBY; a stamp with the time every few milliseconds."""
    pool = random.Random(flow).randbytes(8192).hex().encode()

    def one(i: int) -> bytes:
        key, value = b"%d:%06d" % (flow, i * 7919 % 100_000), pool[i & 4095 : (i & 4095) + 100]
        match i % 10:
            case 7:
                return record(b"HSET", b"h:" + key, b"field", value)
            case 8:
                return record(b"ZADD", b"z:" + key, b"1.5", b"member")
            case 9:
                return record(b"INCRBY", b"n:" + key, b"1")
        return record(b"SET", b"s:" + key, value)

    prepared = [one(i) for i in range(min(count, 50_000))]

    async def live() -> AsyncIterator[bytes]:
        started, sent, tick = time.monotonic(), 0, 0
        while sent < count:
            tick += 1
            await asyncio.sleep(max(0.0, started + tick * TICK - time.monotonic()))
            due = min(count, int((time.monotonic() - started) * rate))
            if due <= sent:
                continue
            some = [prepared[i % len(prepared)] for i in range(sent, due)]
            if tick % STAMP_EVERY == 0:
                some[-1] = record(b"RPUSH", STAMPS, b"%r" % time.monotonic())
            sent = due
            yield b"".join(some)

    return live


if __name__ == "__main__":
    main()
