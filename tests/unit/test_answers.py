"""An answer of the wrong kind says what was asked, what is due and what came."""

from __future__ import annotations

from collections.abc import Callable

import hiredis
import pytest

from df2redis_tui.answers import Answer, shown
from df2redis_tui.errors import SourceError
from df2redis_tui.streams import encode, name_of_command

GOOD: list[tuple[Callable[[Answer], object], object, object]] = [
    (Answer.ok, b"OK", None),
    (Answer.text, b"", b""),
    (Answer.text_or_nil, None, None),
    (Answer.number, 0, 0),
    (lambda a: a.number(-2), -2, -2),
    (Answer.array, [], []),
    (lambda a: a.array_of(2), [None, 1], [None, 1]),
    (Answer.texts, [b"a"], [b"a"]),
    (lambda a: a.numbers(2), [0, 7], [0, 7]),
]
WRONG: list[tuple[Callable[[Answer], object], list[object]]] = [
    (Answer.ok, [b"ok", b"", None, 1, [b"OK"]]),
    (Answer.text, [None, 1, []]),
    (Answer.text_or_nil, [1, []]),
    (Answer.number, [-1, b"1", None, [1]]),
    (Answer.array, [b"", None, 1]),
    (lambda a: a.array_of(2), [[1], [1, 2, 3], None]),
    (Answer.texts, [[b"a", 1], [None], b"a"]),
    (lambda a: a.numbers(2), [[1], [1, 2, 3], [1, -1], [1, b"2"], [1, None], 2]),
]


def answer(reply: object) -> Answer:
    return Answer(reply, "INFO", "source here:1", SourceError)


@pytest.mark.parametrize(("of", "reply", "value"), GOOD)
def test_the_right_kind(of: Callable[[Answer], object], reply: object, value: object) -> None:
    assert of(answer(reply)) == value


@pytest.mark.parametrize(("of", "replies"), WRONG)
def test_the_wrong_kind(of: Callable[[Answer], object], replies: list[object]) -> None:
    for reply in replies:
        with pytest.raises(SourceError) as caught:
            of(answer(reply))
        assert str(caught.value).startswith("source here:1 answered INFO with ")
        assert str(caught.value).endswith(" is due")


def test_an_error_is_a_refusal() -> None:
    refused = answer(hiredis.ReplyError("NOPERM no\x1b[2J"))
    assert refused.refusal == "NOPERM no\\x1b[2J"
    with pytest.raises(SourceError, match="source here:1 refused INFO: NOPERM"):
        refused.text()
    assert answer(hiredis.ReplyError("")).refusal
    assert not answer(b"x").refusal


def test_what_came_is_short_and_safe() -> None:
    deep: list[object] = []
    for _ in range(30):
        deep = [deep]
    for reply in (b"\x1b[2J" + bytes(10_000), [b"x" * 10_000] * 10_000, deep, None, 1, [], [None, 2, [3]]):
        text = shown(reply)
        assert text.isprintable()
        assert len(text) < 250


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        (encode("AUTH", "secret"), "AUTH"),
        (encode("GET", "key"), "GET"),
        (encode("DFLY", "FLOW", "x"), "DFLY FLOW"),
        (encode("CLIENT", "LIST"), "CLIENT LIST"),
        (encode("INFO"), "INFO"),
        (b"junk", ""),
    ],
)
def test_a_command_is_named_without_its_arguments(wire: bytes, name: str) -> None:
    assert name_of_command(wire) == name
