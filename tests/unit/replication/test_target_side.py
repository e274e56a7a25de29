"""What a target is asked before the copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import hiredis
import pytest

from df2redis_tui.replication.target_side import facts_of
from df2redis_tui.translate.capabilities import JSON_WRITES, Capabilities


class Connection:
    """A node that answers INFO, MODULE LIST, COMMAND INFO, and nothing to COMMAND."""

    def __init__(self, version: str, modules: list[bytes], known: Callable[[bytes], Any] | None) -> None:
        self.info = f"redis_version:{version}\r\nrole:master\r\n".encode()
        self.modules = modules
        self.known = known

    async def call(self, *args: str | bytes, timeout: float = 0.0, most: int = 0) -> object:
        if args[0] == "INFO":
            return self.info
        if args[:2] == ("CONFIG", "GET"):
            return [b"proto-max-bulk-len", b"536870912"]
        if args[0] == "MODULE":
            return [[b"name", name, b"ver", 1] for name in self.modules]
        if args == ("COMMAND",):
            return None
        assert args[:2] == ("COMMAND", "INFO")
        if self.known is None:
            return hiredis.ReplyError("NOPERM this user has no permissions to run the 'command|info' command")
        return [self.known(name) for name in args[2:]]  # type: ignore[arg-type]


def capabilities(version: str, modules: list[bytes], known: Callable[[bytes], Any] | None) -> Capabilities:
    async def ask() -> Capabilities:
        return (await facts_of(Connection(version, modules, known), "node"))[1]  # type: ignore[arg-type]

    return anyio.run(ask)


@pytest.mark.parametrize("version", ["7.0.15", "8.0.2"])
def test_json_is_there_when_its_commands_are_whatever_the_version(version: str) -> None:
    assert not capabilities(version, [], lambda name: None).json
    assert capabilities(version, [b"ReJSON"], lambda name: [name.lower(), 4]).json_commands == set(JSON_WRITES)


def test_an_older_module_lacks_the_younger_commands() -> None:
    caps = capabilities("7.0.15", [b"ReJSON"], lambda name: None if name == b"JSON.MERGE" else [name.lower(), 4])
    assert caps.json
    assert caps.json_commands == set(JSON_WRITES) - {b"JSON.MERGE"}


def test_where_the_user_may_not_ask_a_module_stands_for_all() -> None:
    assert capabilities("7.0.15", [b"ReJSON"], None).json_commands == set(JSON_WRITES)
    assert not capabilities("8.0.2", [], None).json
