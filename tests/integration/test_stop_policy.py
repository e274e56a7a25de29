"""--on-error stop: a run that ended at a refused command never leaves it behind silently."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.servers import Server
from tests.support.synthetic import STRING, entry, flow, record, string

pytestmark = pytest.mark.real


def script() -> Script:
    return Script(
        (
            flow(
                [entry(STRING, b"text", string(b"not a list"))],
                [record(b"SET", b"before", b"1"), record(b"LPUSH", b"text", b"x"), record(b"SET", b"after", b"2")],
            ),
        )
    )


def test_the_next_run_meets_it_again(any_target: Server, run: Callable[..., Program]) -> None:
    with Player(script(), script()) as player:
        stopped = run(copy_arguments(player.url, any_target.url, "--on-error", "stop"))
        assert stopped.process.returncode == 5, stopped.output()
        assert "WRONGTYPE" in stopped.output()
        again = run(copy_arguments(player.url, any_target.url, "--on-error", "skip"))
    assert again.process.returncode == 5, again.output()
    assert "Full sync instead of a resume" in again.log()
    assert [base64.b64decode(letter["key_base64"]) for letter in again.dead_letters()] == [b"text"]
    client = any_target.client()
    # What the target had of the key is not the source's any more.
    assert [client.get(key) for key in ("before", "text", "after")] == [b"1", None, b"2"]
