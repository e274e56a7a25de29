"""Whatever a peer answers, a run ends with a documented exit code and one clear line, and SIGTERM ends it in time."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.conftest import SHORT
from tests.hostile.odd_peer import OddPeer
from tests.hostile.table import CLUSTER, SOURCE, TARGET, Case, cases
from tests.support.player import Behaviour, Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server, available_targets, join_cluster, start_server
from tests.support.synthetic import STRING, entry, flow, record, string

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

PASSWORD = "hush-hush"
DOCUMENTED = {0, 2, 3, 4, 5, 6, 7, 130, 143}
LIMIT = 60.0  # seconds for a run that ends by itself
WAITS = re.compile("does not say where it is|the source has sent nothing for")  # what a run says that goes on waiting
DRAIN = 40.0  # seconds from a SIGTERM on: 30 of draining, and the rest
VALUE = b"\x00\x01v" + b"\x09\x00" + bytes(8)  # a DUMP
KEYS = [b"k:%d" % i for i in range(20)]
JOURNAL = [
    record(b"SET", b"j", b"1"),
    record(b"RPUSH", b"l", b"x"),
    record(b"RPOP", b"l"),
    record(b"LPUSH", b"l", b"x"),
]
SCRIPT = Script(
    (flow([entry(STRING, key, string(b"v")) for key in KEYS], JOURNAL), flow([], [record(b"SET", b"m", b"1")]))
)
RECORD = '{"started": 1, "clean_up": true, "existing": 0, "flows": 2}'  # of an earlier run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, table in (("of_source", SOURCE), ("of_target", TARGET), ("of_cluster", CLUSTER)):
        if name in metafunc.fixturenames:
            chosen = cases(table)
            if metafunc.config.getoption("--hostile", default="short") == "short":
                seed = metafunc.config.getoption("--hostile-seed", default=7)
                chosen = random.Random(f"{seed} {name}").sample(chosen, SHORT)
            metafunc.parametrize(name, chosen, ids=[f"{step}-{odd.name}" for step, odd in chosen])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start_server(available_targets()[0], password=PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def node() -> Iterator[Server]:
    """A cluster of one."""
    with start_server(available_targets()[0], cluster=True) as running:
        join_cluster([running])
        yield running


@pytest.fixture
def player() -> Iterator[Player]:
    with Player(SCRIPT, behaviour=Behaviour(password=PASSWORD, dump=lambda db, key: (VALUE, -1))) as playing:
        yield playing


def look_at(source: int, target: str, server: Server, peer: OddPeer, case: Case, directory: Path, seed: object) -> None:
    """Run it and judge how it ended."""
    with server.client() as client:
        client.flushall()
        client.set("old", "x")
        client.set("df2redis:default:job" if "cluster" not in target else "df2redis:default:{job}:job", RECORD)
    arguments = copy_arguments(f"dragonfly://:{PASSWORD}@127.0.0.1:{source}", target, "--no-reconnect")
    if "cluster" in target:
        arguments += ["--cluster-map", f"127.0.0.1:{server.port}=127.0.0.1:{peer.port}"]
    ended = random.Random(f"{seed} {case}").random() < 0.3
    with Program(arguments, directory) as program:
        code = _terminated(program, peer) if case[1].waits or ended else _by_itself(program)
        said = program.output() + program.log()
    assert code in DOCUMENTED, said
    assert "Traceback" not in said, said
    assert not re.search("unexpected error|the log has the details|the details are in", said), said
    assert PASSWORD not in said, said
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", said), said
    if code == 0:
        with server.client() as client:
            assert client.exists(*KEYS, "j", "m") == len(KEYS) + 2 if "cluster" not in target else client.exists("j")


def _by_itself(program: Program) -> int:
    """The exit code; a run that says what it waits for is ended."""
    give_up = time.monotonic() + LIMIT
    while program.process.poll() is None and not (waits := WAITS.search(program.log() + program.output())):
        assert time.monotonic() < give_up, f"it hangs:\n{program.output()}"
        time.sleep(0.05)
    if program.process.poll() is None and waits:
        program.signal(signal.SIGTERM)
    return _code(program)


def _terminated(program: Program, peer: OddPeer) -> int:
    """The exit code of a run that is ended while it has to do with the odd answer."""
    give_up = time.monotonic() + LIMIT
    while program.process.poll() is None and not peer.reached.wait(0.02):
        assert time.monotonic() < give_up, f"not asked:\n{program.output()}"
    if program.process.poll() is None:
        program.signal(signal.SIGTERM)
    return _code(program)


def _code(program: Program) -> int:
    """As a shell says it: one that was already through when the signal came ended by it."""
    code = program.wait(DRAIN)
    return code if code >= 0 else 128 - code


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--hostile-seed", default=7))


def test_of_a_source(of_source: Case, server: Server, player: Player, tmp_path: Path, seed: int) -> None:
    with OddPeer(player.port, *of_source) as peer:
        look_at(peer.port, server.url, server, peer, of_source, tmp_path, seed)


def test_of_a_target(of_target: Case, server: Server, player: Player, tmp_path: Path, seed: int) -> None:
    with OddPeer(server.port, *of_target) as peer:
        url = f"redis://:{PASSWORD}@127.0.0.1:{peer.port}"
        look_at(player.port, url, server, peer, of_target, tmp_path, seed)


def test_of_a_cluster(of_cluster: Case, node: Server, player: Player, tmp_path: Path, seed: int) -> None:
    with OddPeer(node.port, *of_cluster) as peer:
        url = f"redis+cluster://127.0.0.1:{peer.port}"
        look_at(player.port, url, node, peer, of_cluster, tmp_path, seed)
