"""Whatever a target answers to what is written - values, transactions, checkpoints, guards - nothing counts as applied
but what was: the run ends with what it says, goes on when that was for a moment, and never ends well without the data.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.odd_peer import Odd, OddPeer, Step
from tests.hostile.table import ANY
from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server, available_targets, join_cluster, start_server
from tests.support.synthetic import STRING, entry, flow, journal_blob, record, select, string

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

SHORT = 12  # cases of each table
LIMIT = 30.0  # seconds for a run that ends by itself
DRAIN = 40.0  # seconds from a SIGTERM on: 30 of draining, and the rest
KEYS = [b"k:%d" % i for i in range(20)]
BLOB = journal_blob(record(b"SET", b"blob", b"1"), record(b"HSET", b"hash", b"f", b"v"), record(b"INCR", b"blob"))
JOURNAL = [
    record(b"SET", b"j", b"1"),
    record(b"INCR", b"j"),
    record(b"HSET", b"hash", b"g", b"w"),
    record(b"RPUSH", b"list", b"x"),
]
VALUES = [entry(STRING, key, string(b"v")) for key in KEYS]
ONE_DATABASE = Script((flow([*VALUES, BLOB], JOURNAL),))
TWO_DATABASES = Script((flow([*VALUES, BLOB, select(1), entry(STRING, b"there", string(b"1"))], JOURNAL),))
EXPECTED = {b"j": b"2", b"blob": b"2", **dict.fromkeys(KEYS, b"v")}

ERRORS = [
    Odd("unknown command", b"-ERR unknown command 'X', with args beginning with: \r\n"),
    Odd("no multi", b"-ERR Command not allowed inside a transaction\r\n"),
    Odd("aborted", b"-EXECABORT Transaction discarded because of previous errors.\r\n"),
    Odd("aborted for rights", b"-EXECABORT Transaction discarded because of: NOPERM User x can't run 'exec'\r\n"),
    Odd("no authentication", b"-NOAUTH Authentication required.\r\n"),
    Odd("wrong type", b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    Odd("cross slot", b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"),
    Odd("results of another kind", b"*6\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n"),
]
# A server may say so for as long as it likes: such a run waits, and says what for.
FOR_NOW = [
    Odd(word, b"-%b the target says\r\n" % word.encode())
    for word in ("LOADING", "BUSY", "OOM", "MISCONF", "READONLY", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN")
] + [
    Odd("aborted for memory", b"-EXECABORT Transaction discarded because of: OOM command not allowed\r\n"),
    Odd("moved to itself", b"-MOVED 1 :0\r\n"),
]
LATER = {odd.name for odd in FOR_NOW} | {"loading", "moved", "aborted"}
ALONE = [
    Step(("SET", "k:*")),
    Step(("SET", "k:7")),
    Step(("SET", "blob")),
    Step(("HSET", "hash")),
    Step(("INCR", "j")),
    Step(("SET", "*:flow:*")),
    Step(("INCR", "*:batches:*")),
    *(Step((name,), passed) for name in ("MULTI", "EXEC") for passed in (1, 2, 3)),  # the lease has some, too
    Step(("COMMAND",)),
]
SELECTED = [Step(("SELECT", "1"))]
OF_SLOTS = [
    Step(("SET", "k:*")),
    Step(("INCR", "j")),
    Step(("SET", "*:guard:*")),
    Step(("SET", "*:flow:*")),
    *(Step((name,), passed) for name in ("MULTI", "EXEC") for passed in (1, 2, 3)),
]
Case = tuple[Step, Odd]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, steps in (("alone", ALONE), ("selected", SELECTED), ("of_slots", OF_SLOTS)):
        if name in metafunc.fixturenames:
            chosen = [(step, odd) for step in steps for odd in (*ERRORS, *FOR_NOW, *ANY)]
            if metafunc.config.getoption("--hostile", default="short") == "short":
                seed = metafunc.config.getoption("--hostile-seed", default=7)
                chosen = random.Random(f"{seed} {name}").sample(chosen, SHORT if name != "selected" else 4)
            metafunc.parametrize(name, chosen, ids=[f"{step}-{odd.name}" for step, odd in chosen])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start_server(available_targets()[0]) as running:
        yield running


@pytest.fixture(scope="module")
def node() -> Iterator[Server]:
    """A cluster of one."""
    with start_server(available_targets()[0], cluster=True) as running:
        join_cluster([running])
        yield running


def look_at(script: Script, url: str, server: Server, peer: OddPeer, case: Case, directory: Path) -> None:
    """Run it against the odd one and judge how it ended."""
    step, odd = case
    server.client().flushall()
    arguments = [
        "--no-reconnect",
        *(("--cluster-map", f"127.0.0.1:{server.port}=127.0.0.1:{peer.port}") * ("cl" in url)),
    ]
    with Player(script) as player, Program(copy_arguments(player.url, url, *arguments), directory) as program:
        later = odd.name in LATER or odd.waits or odd.then == "close"  # a lost connection is made anew
        code = _ended_once_reached(program, peer) if later else program.wait(LIMIT)
        said = program.output() + program.log()
    assert code in {0, 3, 4, 5, 6, 7, 143}, said
    assert "Traceback" not in said, said
    assert "unexpected error" not in said, said
    if not later and peer.reached.is_set() and step.words != ("COMMAND",):
        assert code in (0, 4, 5), said
    if code == 0:
        client = server.client()
        assert {key: client.get(key) for key in EXPECTED} == EXPECTED, said
        assert client.hgetall("hash") == {b"f": b"v", b"g": b"w"}, said
        assert client.lrange("list", 0, -1) == [b"x"], said


def _ended_once_reached(program: Program, peer: OddPeer) -> int:
    """The exit code of a run that is ended while it has to do with the odd answer."""
    give_up = time.monotonic() + LIMIT
    while program.process.poll() is None and not peer.reached.wait(0.02):
        assert time.monotonic() < give_up, f"not asked:\n{program.output()}"
    time.sleep(0.5)
    if program.process.poll() is None:
        program.signal(signal.SIGTERM)
    return program.wait(DRAIN)


def test_of_one_server(alone: Case, server: Server, tmp_path: Path) -> None:
    with OddPeer(server.port, *alone) as peer:
        look_at(ONE_DATABASE, f"redis://127.0.0.1:{peer.port}", server, peer, alone, tmp_path)


def test_of_a_database(selected: Case, server: Server, tmp_path: Path) -> None:
    with OddPeer(server.port, *selected) as peer:
        look_at(TWO_DATABASES, f"redis://127.0.0.1:{peer.port}", server, peer, selected, tmp_path)


def test_of_a_cluster(of_slots: Case, node: Server, tmp_path: Path) -> None:
    with OddPeer(node.port, *of_slots) as peer:
        look_at(ONE_DATABASE, f"redis+cluster://127.0.0.1:{peer.port}", node, peer, of_slots, tmp_path)


def test_a_command_refused_in_a_full_sync_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A transaction in which one command is refused does not run, and what stands in front of that one on its key
    waits for it: it has to be told which one it was."""
    blob = journal_blob(
        record(b"SET", b"blob", b"1"), record(b"SETRANGE", b"blob", b"0", b"2"), record(b"APPEND", b"blob", b"0")
    )
    with (
        start_server(available_targets()[0], options=("--rename-command", "SETRANGE", "")) as target,
        Player(Script((flow([*VALUES, blob], JOURNAL),))) as player,
        Program(copy_arguments(player.url, target.url), tmp_path) as program,
    ):
        assert program.wait(LIMIT) == 5, program.output()
        client = target.client()
        assert client.get("j") == b"2"
        assert client.mget(KEYS) == [b"v"] * len(KEYS)
    letters = program.dead_letters()
    assert [(letter["key"], letter["type"]) for letter in letters][:1] == [("blob", "SETRANGE")]
    assert "unknown command" in letters[0]["reason"]


# Behind those by which the rights are looked at.
@pytest.mark.parametrize(("step", "passed"), [("MULTI", 2), ("EXEC", 1)])
def test_what_is_refused_for_good_is_said_at_once(step: str, passed: int, server: Server, tmp_path: Path) -> None:
    server.client().flushall()
    odd = Odd("no rights", b"-NOPERM User x has no permissions to run the '%b' command\r\n" % step.lower().encode())
    with OddPeer(server.port, Step((step,), passed), odd) as peer, Player(ONE_DATABASE) as player:
        began = time.monotonic()
        with Program(copy_arguments(player.url, f"redis://127.0.0.1:{peer.port}"), tmp_path) as program:
            assert program.wait(LIMIT) == 4, program.output()
        assert time.monotonic() - began < 15
    assert "NOPERM" in program.output()
