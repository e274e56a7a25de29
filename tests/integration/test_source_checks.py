"""What is asked of a source before it is copied: its size against what was copied, namespaces, its list of replicas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fault_source import FaultSource
from tests.support.program import Program, copy_arguments, run_program
from tests.support.servers import Server

pytestmark = pytest.mark.real
KEYS = 400


@pytest.fixture
def source() -> Iterator[FaultSource]:
    with FaultSource(flows=2) as running:
        with running.client() as client:
            client.mset({f"k:{i}": i for i in range(KEYS)})
        yield running


def copied(target: Server) -> int:
    return sum(1 for _ in target.client().scan_iter("k:*"))


def run(source: FaultSource, target: Server, directory: Path, *more: str) -> Program:
    return run_program(copy_arguments(source.url, target.url, *more), directory)


def restart_with(source: FaultSource, keys: int) -> None:
    """Another process of the source, which has so many of the keys: nobody was told of a flush."""
    with source.client() as client:
        client.delete(*(f"k:{i}" for i in range(keys, KEYS)))
    source.run(source.look_alike.restart(down=0.05))


def test_a_source_that_lost_its_data_does_not_empty_the_target(
    source: FaultSource, target: Server, tmp_path: Path
) -> None:
    assert run(source, target, tmp_path).process.returncode == 0
    restart_with(source, 0)
    again = run(source, target, tmp_path)
    assert again.process.returncode == 3, again.output()
    assert f"has 0 keys and this job copied {KEYS}" in again.output()
    assert "--min-source-keys" in again.output()
    assert copied(target) == KEYS
    assert source.full_syncs == 1
    wanted = run(source, target, tmp_path, "--min-source-keys", "0")
    assert wanted.process.returncode == 0, wanted.output()
    assert copied(target) == 0


@pytest.mark.parametrize(("left", "share", "code"), [(199, "50%", 3), (200, "50%", 0), (200, "80", 3), (20, "5%", 0)])
def test_so_many_keys_are_enough(
    source: FaultSource, any_target: Server, tmp_path: Path, left: int, share: str, code: int
) -> None:
    assert run(source, any_target, tmp_path).process.returncode == 0
    restart_with(source, left)
    again = run(source, any_target, tmp_path, "--min-source-keys", share)
    assert again.process.returncode == code, again.output()
    assert copied(any_target) == (left if code == 0 else KEYS)


def wait_counted(target: Server, program: Program) -> None:
    """Until the job's record says how many keys were copied."""
    client = target.client()
    while json.loads(client.get("df2redis:default:job") or b"{}").get("copied") != KEYS:
        assert program.process.poll() is None


def test_the_source_empties_while_we_run(source: FaultSource, any_target: Server, tmp_path: Path) -> None:
    arguments = ["--source", source.url, "--target", any_target.url]
    with Program(arguments, tmp_path) as program:
        program.wait_for("stable sync")
        source.wait_level()
        wait_counted(any_target, program)
        source.do(lambda: setattr(source.look_alike, "refuse_partial", True))
        source.run(source.look_alike.restart(down=0.3, empty=True))
        assert program.wait(30) == 3, program.output()
    assert f"this job copied {KEYS}" in program.output()
    assert copied(any_target) == KEYS


def test_a_flush_of_the_source_is_no_loss(source: FaultSource, any_target: Server, tmp_path: Path) -> None:
    """What was executed here too counts no more, whether a full sync follows or not."""
    with Program(["--source", source.url, "--target", any_target.url], tmp_path) as program:
        program.wait_for("stable sync")
        source.wait_level()
        wait_counted(any_target, program)
        with source.client() as client:
            client.flushall()
            client.set("k:new", 1)
        program.wait_for("Global command")
        source.wait_level()
        source.do(lambda: setattr(source.look_alike, "refuse_partial", True))
        source.do(source.look_alike.cut_control)
        program.wait_for("clean-up: ", 30)
        assert program.process.poll() is None
    assert copied(any_target) == 1


def test_namespaces_are_refused_unless_they_are_to_be_ignored(
    source: FaultSource, any_target: Server, tmp_path: Path
) -> None:
    source.look_alike.users = ["user tom on #2d711642b726b04 ~* resetchannels +@all $all NAMESPACE:orders"]
    refused = run(source, any_target, tmp_path)
    assert refused.process.returncode == 3, refused.output()
    assert "namespaces (orders)" in refused.output()
    assert "--ignore-namespaces" in refused.output()
    assert any_target.client().dbsize() == 0
    assert source.full_syncs == 0
    ignored = run(source, any_target, tmp_path, "--ignore-namespaces")
    assert ignored.process.returncode == 0, ignored.output()
    assert "namespaces (orders)" in ignored.output()
    assert copied(any_target) == KEYS


@pytest.mark.parametrize(
    ("users", "hidden", "warned"),
    [
        ([], False, ""),
        (["user tom on #2d711642b726b04 ~* resetchannels +@all $all"], False, "users of its own (tom)"),
        ([], True, "does not list its users"),
    ],
)
def test_namespaces_that_can_not_be_seen_are_warned_of(
    source: FaultSource, any_target: Server, tmp_path: Path, users: list[str], hidden: bool, warned: str
) -> None:
    source.look_alike.users, source.look_alike.hides_users = users, hidden
    program = run(source, any_target, tmp_path)
    assert program.process.returncode == 0, program.output()
    assert ("a namespace" in program.output()) == bool(warned)
    assert warned in program.output()
    assert warned in program.log()


@pytest.mark.parametrize(("emulated", "managed"), [(True, False), (True, True), (False, False)])
def test_clients_that_may_be_sent_here_are_warned_of(
    source: FaultSource, any_target: Server, tmp_path: Path, emulated: bool, managed: bool
) -> None:
    source.look_alike.emulates_cluster, source.look_alike.managed_service_info = emulated, managed
    program = run(source, any_target, tmp_path)
    assert program.process.returncode == 0, program.output()
    warned = emulated and not managed
    assert ("--managed_service_info" in program.output()) == warned
    assert ("--managed_service_info" in program.log()) == warned
