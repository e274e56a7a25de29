"""A comparison of two servers ends with one clear line where one of them answers something else than it was asked."""

from __future__ import annotations

import anyio
import pytest

from df2redis_tui.errors import TargetError
from df2redis_tui.settings import Endpoint
from df2redis_tui.verify.content import read_contents
from df2redis_tui.verify.side import Command, Reply, Side


class Answering(Side):
    """Every command gets the same answers, in turn."""

    def __init__(self, *answers: Reply) -> None:
        super().__init__("source", Endpoint((("127.0.0.1", 1),)))
        self._answers = answers

    async def read(self, db: int, commands: object) -> list[Reply]:
        asked: list[Command] = list(commands)  # type: ignore[call-overload]
        return [self._answers[at % len(self._answers)] for at in range(len(asked))]


@pytest.mark.parametrize(
    "answers",
    [(b"hash", -1, [b"odd"]), (b"zset", -1, [b"m", b"no number"]), (b"ReJSON-RL", -1, b"{")],
    ids=str,
)
def test_a_value_that_is_none(answers: tuple[Reply, ...]) -> None:
    class Value(Answering):
        async def read(self, db: int, commands: object) -> list[Reply]:
            asked: list[Command] = list(commands)  # type: ignore[call-overload]
            if asked and asked[0][0] == "TYPE":
                return [answers[0], -1]
            return [answers[-1] if command[0] != "HLEN" else 1 for command in asked]

    with pytest.raises(TargetError, match="comparing: the source 127"):
        anyio.run(lambda: read_contents(Value(), 0, [b"k"], field_ttls=False))


@pytest.mark.parametrize("answer", [None, 1, [b"a"], b"OK"], ids=str)
def test_a_page_that_is_none(answer: Reply) -> None:
    async def walk() -> None:
        async for _ in Answering(answer).pages(0, 10):
            raise AssertionError("there is none")

    with pytest.raises(TargetError, match="SCAN"):
        anyio.run(walk)


def test_databases_of_what_is_no_info() -> None:
    with pytest.raises(TargetError, match="INFO keyspace"):
        anyio.run(Answering(7).databases)
    assert anyio.run(Answering(b"db0:keys=1\r\ndbx:keys=2\r\ndb7:keys=1\r\n").databases) == [0, 7]
