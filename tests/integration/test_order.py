"""For one key, commands reach the target in the order of its FLOW, whatever is in flight and whatever it answers."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest

from tests.support.grumbler import Grumbler
from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments, wait_until
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.synthetic import STRING, entry, flow, record, string

pytestmark = pytest.mark.real
KEYS = [b"counter:%d" % i for i in range(8)]
LAST = 4_000


def counting_flow(flow_keys: list[bytes], last: int = LAST) -> object:
    """Each key holds 0 in the snapshot and is then set to 1, 2, 3, ..."""
    return flow(
        [entry(STRING, key, string(b"0")) for key in flow_keys],
        [record(b"SET", key, b"%d" % value) for value in range(1, last + 1) for key in flow_keys],
    )


SCRIPT = Script((counting_flow(KEYS[:4]), counting_flow(KEYS[4:])))  # type: ignore[arg-type]


class Poller:
    """Reads all keys as fast as it can and keeps what it saw going backwards."""

    def __init__(self, server: Server) -> None:
        self.backwards: list[str] = []
        self.seen: defaultdict[bytes, set[int]] = defaultdict(set)
        self._client = server.client()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _poll(self) -> None:
        newest = dict.fromkeys(KEYS, -1)
        while not self._end.is_set():
            for key, raw in zip(KEYS, self._client.mget(KEYS), strict=True):
                value = -1 if raw is None else int(raw)
                if value < newest[key]:
                    self.backwards.append(f"{key!r}: {value} after {newest[key]}")
                newest[key] = value
                self.seen[key].add(value)


@pytest.fixture
def poller(any_target: Server) -> Iterator[Poller]:
    with Poller(any_target) as running:
        yield running


def test_a_slow_target_never_shows_an_older_value(
    any_target: Server, poller: Poller, run: Callable[..., Program]
) -> None:
    with Player(SCRIPT) as player, Proxy(any_target.port, delay=0.03, rate=400_000) as slow:
        program = run(
            copy_arguments(player.url, f"redis://127.0.0.1:{slow.port}", "--batch-size", "20", "--max-in-flight", "50"),
            timeout=120,
        )
    assert program.process.returncode == 0, program.output()
    assert poller.backwards == []
    assert [int(v) for v in any_target.client().mget(KEYS)] == [LAST] * len(KEYS)
    assert min(len(values) for values in poller.seen.values()) > 20, "the poller saw too little to prove anything"


def _full(server: Server) -> None:
    client = server.client()
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)


def _read_only(server: Server) -> None:
    server.client().execute_command("REPLICAOF", "127.0.0.1", "1")


def _writable(server: Server) -> None:
    server.client().execute_command("REPLICAOF", "NO", "ONE")


def _roomy(server: Server) -> None:
    server.client().config_set("maxmemory", 0)


def refusals(server: Server, code: str) -> int:
    """How often the server has answered with this error."""
    return int(server.client().info("errorstats").get(f"errorstat_{code}", {}).get("count", 0))


TROUBLES = {"OOM": (_full, _roomy), "READONLY": (_read_only, _writable)}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_refused_for_a_while_is_retried_in_order(
    trouble: str, any_target: Server, poller: Poller, start: Callable[..., Program]
) -> None:
    begin, end = TROUBLES[trouble]
    with Player(SCRIPT) as player, Proxy(any_target.port, delay=0.01, rate=150_000) as slow:
        program = start(
            copy_arguments(player.url, f"redis://127.0.0.1:{slow.port}", "--batch-size", "20", "--max-in-flight", "50")
        )
        for _ in range(3):
            before = progress(any_target)
            wait_until(lambda before=before: progress(any_target) > before)  # type: ignore[misc]
            refused = refusals(any_target, trouble)
            begin(any_target)
            wait_until(lambda refused=refused: refusals(any_target, trouble) > refused)  # type: ignore[misc]
            time.sleep(0.4)
            end(any_target)
        assert program.wait(120) == 0, program.output()
    assert poller.backwards == []
    assert [int(v) for v in any_target.client().mget(KEYS)] == [LAST] * len(KEYS)
    summary = program.summary()
    assert summary["retries"] > 0
    assert summary["dead_letters"] == 0


ERRORS = [
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.split()[0])
def test_errors_that_pass_are_retried_in_order(
    error: str, any_target: Server, poller: Poller, start: Callable[..., Program]
) -> None:
    with (
        Player(SCRIPT) as player,
        Grumbler(any_target.port) as grumbler,
        Proxy(grumbler.port, rate=150_000) as slow,
    ):
        program = start(copy_arguments(player.url, f"redis://127.0.0.1:{slow.port}", "--batch-size", "20"))
        for _ in range(3):
            before = progress(any_target)
            wait_until(lambda before=before: progress(any_target) > before)  # type: ignore[misc]
            grumbler.error = error
            time.sleep(0.3)
            grumbler.error = None
        assert program.wait(120) == 0, program.output()
    assert grumbler.refused > 0
    assert poller.backwards == []
    assert [int(v) for v in any_target.client().mget(KEYS)] == [LAST] * len(KEYS)
    assert program.summary()["dead_letters"] == 0


def progress(server: Server) -> int:
    return sum(int(v or 0) for v in server.client().mget(KEYS))


def test_commands_that_do_not_converge_are_applied_once(any_target: Server, start: Callable[..., Program]) -> None:
    """INCR and RPUSH with errors in between: nothing twice, nothing lost."""
    total = 3_000
    script = Script(
        (flow([], [r for i in range(total) for r in (record(b"INCR", b"n"), record(b"RPUSH", b"l", b"%d" % i))]),)
    )
    with Player(script) as player, Proxy(any_target.port, delay=0.01, rate=150_000) as slow:
        program = start(copy_arguments(player.url, f"redis://127.0.0.1:{slow.port}", "--batch-size", "10"))
        for _ in range(3):
            before = int(any_target.client().get("n") or 0)
            wait_until(lambda before=before: int(any_target.client().get("n") or 0) > before)  # type: ignore[misc]
            _read_only(any_target)
            time.sleep(0.3)
            _writable(any_target)
        assert program.wait(120) == 0, program.output()
    assert any_target.client().get("n") == b"%d" % total
    assert any_target.client().lrange("l", 0, -1) == [b"%d" % i for i in range(total)]
