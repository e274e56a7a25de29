"""Older connections end, and whoever takes over in this moment can end this one."""

from __future__ import annotations

import hiredis
import pytest

from df2redis_tui.errors import TargetError
from df2redis_tui.replication.checkpoint import JobKeys
from df2redis_tui.replication.fence import connection_name, fence

pytestmark = pytest.mark.anyio

NAME = connection_name(JobKeys("df2redis", "default"), 1)
JOB = NAME.rpartition(":")[0]


class Server:
    """Its connections by id; `mine` is the one that asks."""

    def __init__(self, *names: str, refused: str = "") -> None:
        self.names = dict(enumerate(["", *names]))
        self.refused = refused

    async def call(self, *args: object) -> object:
        words = [arg.decode() if isinstance(arg, bytes) else str(arg) for arg in args]
        if words[1] == self.refused:
            return hiredis.ReplyError(f"NOPERM no {self.refused}")
        if words[1] == "SETNAME":
            self.names[0] = words[2]
            return b"OK"
        if words[1] == "LIST":
            return "".join(f"id={number} addr=x name={name} db=0\n" for number, name in self.names.items()).encode()
        assert words[1:3] == ["KILL", "ID"]
        del self.names[int(words[3])]
        return 1


async def test_older_ones_of_the_flow_end_also_those_of_earlier_releases() -> None:
    server = Server(NAME, f"{NAME}:12ab", f"{NAME}0:12ab", f"{JOB}:2:12ab", "somebody")
    assert await fence(server, NAME) == ""  # type: ignore[arg-type]
    assert server.names.keys() == {0, 3, 4, 5}
    assert server.names[0].startswith(f"{NAME}:")


async def test_those_of_the_whole_job_end_with_their_flows() -> None:
    server = Server(NAME, f"{JOB}:7:12ab", "df2redis:other:7:12ab")
    await fence(server, f"{JOB}:control", whole_job=True)  # type: ignore[arg-type]
    assert server.names.keys() == {0, 3}


async def test_two_of_a_kind_end_each_other() -> None:
    server = Server()
    await fence(server, NAME)  # type: ignore[arg-type]
    server.names = {0: "", 1: server.names[0]}
    await fence(server, NAME)  # type: ignore[arg-type]
    assert server.names.keys() == {0}


async def test_it_bears_its_name_before_it_asks_whether_it_may_write() -> None:
    server = Server(f"{NAME}:12ab")

    async def taken_over() -> None:
        assert server.names[0].startswith(NAME)
        raise TargetError("another run took over")

    with pytest.raises(TargetError):
        await fence(server, NAME, check=taken_over)  # type: ignore[arg-type]
    assert 1 in server.names, "the connections of the run that took over stay"


@pytest.mark.parametrize("refused", ["LIST", "KILL", "SETNAME"])
async def test_what_it_may_not_do_is_said(refused: str) -> None:
    checked: list[int] = []

    async def check() -> None:
        checked.append(1)

    assert refused in await fence(Server(f"{NAME}:12ab", refused=refused), NAME, check=check)  # type: ignore[arg-type]
    assert checked
