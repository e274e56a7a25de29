"""The target comes back without what it had confirmed: the run ends and says so, and the next one makes it whole."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from df2redis_tui.settings import Endpoint
from tests.support.fault_source import FaultSource
from tests.support.processes import free_port
from tests.support.program import Program
from tests.support.servers import (
    Server,
    available_targets,
    free_node_port,
    join_cluster,
    start_server,
    wait_for_cluster,
)

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


class Forgetful:
    """A server that writes nothing to disk by itself, and what it is started with again."""

    def __init__(self, stack: ExitStack, directory: Path, *, cluster: bool = False) -> None:
        self.port = free_port(free_node_port) if cluster else free_port()
        self._stack = stack
        self._cluster = cluster
        self._directory = directory
        directory.mkdir()
        self.start()

    def start(self) -> None:
        kind, where = available_targets()[0], ("--dir", str(self._directory))
        started = start_server(kind, port=self.port, cluster=self._cluster, options=where)
        self.server: Server = self._stack.enter_context(started)

    def end(self, how: str) -> None:
        if how == "kill":
            self.server.process.kill()
        else:
            self.server.client().shutdown(nosave=True)
        self.server.process.wait()

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint((("127.0.0.1", self.port),))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def source(stack: ExitStack) -> FaultSource:
    return stack.enter_context(FaultSource(flows=2))


def write(source: FaultSource, first: int, count: int) -> None:
    with source.client() as client, client.pipeline(transaction=False) as batch:
        for i in range(first, first + count):
            batch.set(f"key:{i}", i)
        batch.execute()


Start = Callable[..., Program]


@pytest.fixture
def start(stack: ExitStack, source: FaultSource, tmp_path: Path) -> Start:
    def begin(target: str, name: str = "run", *more: str) -> Program:
        arguments = ["--source", source.url, "--target", target, "--log-format", "text", *more]
        return stack.enter_context(Program(arguments, tmp_path / name))

    return begin


def caught_up(source: FaultSource, program: Program) -> None:
    program.wait_for("stable sync ·")
    source.wait_level()


def assert_said(program: Program, *words: str) -> None:
    assert program.wait(60) == 4, program.output()[-3000:]
    said = program.output()
    summary = json.loads(program.summary_file.read_text())
    for word in ("has lost data", *words):
        assert word in summary["failure"], summary["failure"]
    assert summary["verdict"] == "failed"
    assert "full sync" in summary["hint"]
    for wrong in ("nothing confirmed is lost", "another run took over", "everything was copied", "Traceback"):
        assert wrong not in said
    assert "Traceback" not in program.log()


def make_whole(source: FaultSource, start: Start, target: str, endpoint: Endpoint, full_syncs: int) -> None:
    again = start(target, "run", "--until", "caught-up")
    assert again.wait(60) == 0, again.output()[-3000:]
    assert source.full_syncs == full_syncs
    compared = source.compare(endpoint)
    assert compared.same, f"{compared}"


@pytest.mark.parametrize("journal", [0, 50], ids=["only values", "journal"])
@pytest.mark.parametrize("how", ["kill", "shutdown"])
def test_restarted_empty_while_nothing_is_in_flight(
    how: str, journal: int, stack: ExitStack, source: FaultSource, start: Start, tmp_path: Path
) -> None:
    target = Forgetful(stack, tmp_path / "target")
    write(source, 0, 300)
    program = start(target.url)
    caught_up(source, program)
    write(source, 300, journal)
    source.wait_level()
    target.end(how)
    target.start()
    assert_said(program, "none of")
    assert target.server.client().dbsize() == 0, "nothing was written behind what is lost"
    make_whole(source, start, target.url, target.endpoint, 2)


def test_restored_from_an_older_copy(stack: ExitStack, source: FaultSource, start: Start, tmp_path: Path) -> None:
    target = Forgetful(stack, tmp_path / "target")
    write(source, 0, 300)
    program = start(target.url)
    caught_up(source, program)
    write(source, 300, 50)
    source.wait_level()
    target.server.client().save()
    write(source, 350, 50)
    source.wait_level()
    target.end("kill")
    target.start()
    assert_said(program, "FLOW", "no more than")
    make_whole(source, start, target.url, target.endpoint, 1)


def test_emptied_by_somebody_else_is_found_before_the_verdict(
    stack: ExitStack, source: FaultSource, start: Start, tmp_path: Path
) -> None:
    """No connection breaks."""
    target = Forgetful(stack, tmp_path / "target")
    write(source, 0, 300)
    program = start(target.url)
    caught_up(source, program)
    target.server.client().flushall()
    program.signal(signal.SIGTERM)
    assert_said(program, "none of")


def test_a_full_sync_that_is_not_confirmed_yet(stack: ExitStack, tmp_path: Path) -> None:
    source = stack.enter_context(FaultSource(flows=2, snapshot_pace=0.02))
    target = Forgetful(stack, tmp_path / "target")
    write(source, 0, 20_000)
    arguments = ["--source", source.url, "--target", target.url, "--log-format", "text", "--batch-size", "50"]
    program = stack.enter_context(Program(arguments, tmp_path / "run"))
    mark = b"df2redis:default:mark"
    while not target.server.client().exists(mark):
        assert program.process.poll() is None, program.output()
    target.end("kill")
    target.start()
    assert_said(program, "none of")


def test_a_master_of_a_cluster(stack: ExitStack, source: FaultSource, start: Start, tmp_path: Path) -> None:
    """It comes back as itself, and with nothing. The checkpoints stand on another one."""
    nodes = [Forgetful(stack, tmp_path / f"target{number}", cluster=True) for number in range(3)]
    join_cluster([node.server for node in nodes])
    url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    endpoint = Endpoint(tuple(("127.0.0.1", node.port) for node in nodes), cluster=True)
    write(source, 0, 300)
    program = start(url)
    caught_up(source, program)
    held = [list(node.server.client().scan_iter("df2redis:default:*")) for node in nodes]
    lost = next(i for i, names in enumerate(held) if b"df2redis:default:{job}:lease" not in names)

    def marked() -> bool:
        return any(b":mark:" in name for name in nodes[lost].server.client().scan_iter("df2redis:default:*"))

    while not marked():
        assert program.process.poll() is None, program.output()
    nodes[lost].end("kill")
    nodes[lost].start()
    wait_for_cluster([node.server for node in nodes])
    assert_said(program, f"target 127.0.0.1:{nodes[lost].port}", "none of")
    make_whole(source, start, url, endpoint, 2)


def test_without_checkpoints_an_empty_target_is_noticed_too(
    stack: ExitStack, source: FaultSource, start: Start, tmp_path: Path
) -> None:
    target = Forgetful(stack, tmp_path / "target")
    write(source, 0, 300)
    program = start(target.url, "run", "--no-exactly-once")
    caught_up(source, program)
    target.end("kill")
    target.start()
    assert_said(program, "no key at all")


def test_without_checkpoints_nobody_knows_what_a_restarted_target_kept(
    stack: ExitStack, source: FaultSource, start: Start, tmp_path: Path
) -> None:
    target = Forgetful(stack, tmp_path / "target")
    write(source, 0, 300)
    program = start(target.url, "run", "--no-exactly-once")
    caught_up(source, program)
    target.server.client().save()
    target.end("kill")
    target.start()
    program.wait_for("was started anew")
    program.signal(signal.SIGTERM)
    assert program.wait(60) == 5, program.output()[-3000:]
    assert "whether it kept" in json.loads(program.summary_file.read_text())["not_copied"]


def test_a_target_that_does_not_come_back_is_no_success(
    stack: ExitStack, source: FaultSource, start: Start, tmp_path: Path
) -> None:
    target = Forgetful(stack, tmp_path / "target")
    write(source, 0, 300)
    program = start(target.url)
    caught_up(source, program)
    target.end("kill")
    program.signal(signal.SIGTERM)
    program.wait_for("draining")
    program.signal(signal.SIGTERM)
    assert program.wait(60) == 7, program.output()[-3000:]
    assert "could not be asked" in json.loads(program.summary_file.read_text())["outcome"]
