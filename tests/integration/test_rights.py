"""What the target's user may not do is said before anything is written, on every release."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from df2redis_tui.errors import TargetError
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.rights import check_rights, needs_of
from df2redis_tui.settings import Endpoint, Secret, Settings
from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server, available_targets, start_cluster, start_server
from tests.support.synthetic import STRING, entry, flow, record, string

pytestmark = pytest.mark.real

SCRIPT = Script((flow([entry(STRING, b"k", string(b"v"))], [record(b"INCR", b"n")]),))


def let_in(server: Server, *rules: str) -> None:
    server.client().execute_command("ACL", "SETUSER", "copier", "reset", "on", ">pw", *rules)


def told(directory: Path, *servers: Server, exactly_once: bool = True) -> list[str]:
    """What `check_rights` warns of."""
    hosts = tuple(("127.0.0.1", server.port) for server in servers)
    target = Endpoint(hosts, username="copier", password=Secret("pw"), cluster=len(servers) > 1)
    settings = Settings(Endpoint((("127.0.0.1", 1),)), target, exactly_once=exactly_once, state_dir=directory)
    job = JobState(settings)

    async def check() -> None:
        await job.target.connect()
        try:
            await check_rights(job)
        finally:
            await job.target.aclose()

    anyio.run(check)
    for server in servers:
        assert server.client().dbsize() == 0, "it must not write"
    return [event.text for event in job.records.events]


def test_a_user_who_may_do_everything_hears_nothing(target: Server, tmp_path: Path) -> None:
    let_in(target, "~*", "+@all")
    assert told(tmp_path, target) == []


def test_what_the_readme_says_is_enough(target: Server, tmp_path: Path) -> None:
    let_in(target, "~*", "+@all", "-@admin", "+client|list", "+client|kill", "+client|setname")
    assert told(tmp_path, target) == []


@pytest.mark.parametrize("command", ["get", "set", "del", "unlink", "restore", "pexpire", "incr", "multi", "exec"])
def test_what_is_vital_is_named_and_refused(command: str, target: Server, tmp_path: Path) -> None:
    let_in(target, "~*", "+@all", f"-{command}")
    with pytest.raises(TargetError, match=f"may not run {command.upper()}: .*nothing was written") as caught:
        told(tmp_path, target)
    assert f"+{command}" in str(caught.value.advice)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("-eval", "EVAL"),
        ("-client", "CLIENT LIST, CLIENT KILL, CLIENT SETNAME"),
        ("-scan", "SCAN"),
        ("-xadd", "XADD"),
        ("-flushdb", "FLUSHDB"),
    ],
)
def test_what_is_lost_is_said(rule: str, name: str, target: Server, tmp_path: Path) -> None:
    let_in(target, "~*", "+@all", rule)
    (text,) = told(tmp_path, target)
    assert f"the user copier may not run {name}: " in text


def test_without_checkpoints_less_is_needed(target: Server, tmp_path: Path) -> None:
    let_in(target, "~*", "+@all", "-multi", "-pexpire")
    assert told(tmp_path, target, exactly_once=False) == []


def test_keys_that_it_may_not_use(target: Server, tmp_path: Path) -> None:
    let_in(target, "~df2redis:*", "+@all")
    (text,) = told(tmp_path, target)
    assert "may not use every key: the first key of the source that is not among those of its ACL ends" in text
    let_in(target, "~app:*", "+@all")
    with pytest.raises(TargetError, match="may not use keys that begin with df2redis:default:"):
        told(tmp_path, target)


def test_a_renamed_command_is_missing_too(tmp_path: Path) -> None:
    with start_server(available_targets()[-1], options=("--rename-command", "RESTORE", "")) as server:
        let_in(server, "~*", "+@all")
        with pytest.raises(TargetError, match="may not run RESTORE"):
            told(tmp_path, server)


def test_every_master_of_a_cluster_is_asked(tmp_path: Path) -> None:
    with start_cluster(available_targets()[0]) as nodes:
        for node in nodes:
            let_in(node, "~*", "+@all")
        assert told(tmp_path, *nodes) == []
        for node in nodes:
            assert node.client().info("errorstats") == {}, "a resume would take it for a command that was refused"
        let_in(nodes[1], "~*", "+@all", "-eval")
        (text,) = told(tmp_path, *nodes)
        assert f"127.0.0.1:{nodes[1].port}" in text
        assert "EVAL" in text


def test_every_probe_has_arguments_enough(target: Server) -> None:
    """Else the server refuses it for that, whatever the rights are."""
    connection = target.client(single_connection_client=True).connection

    def answer(*words: str) -> object:
        connection.send_command(*words)
        return connection.read_response()

    for need in needs_of(exactly_once=True, cluster=False):
        for command in need.commands:
            answer("MULTI")
            assert answer(*command.split()) == b"QUEUED", command
            answer("DISCARD")


def test_a_run_without_scripts_copies_and_keeps_its_lease(any_target: Server, tmp_path: Path) -> None:
    let_in(any_target, "~*", "+@all", "-eval")
    with Player(SCRIPT) as player:
        url = f"redis://copier:pw@127.0.0.1:{any_target.port}"
        with Program(copy_arguments(player.url, url), tmp_path) as program:
            assert program.wait() == 0, program.output()
    assert "may not run EVAL" in program.log()
    assert any_target.client().get("n") == b"1"
    assert not any_target.client().exists("df2redis:default:lease")
