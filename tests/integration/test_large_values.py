"""Strings larger than a target takes, and written strings of hundreds of megabytes that it does take."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments, run_program
from tests.support.servers import Server, available_targets, start_server
from tests.support.synthetic import STRING, entry, flow, record, string

pytestmark = pytest.mark.real

MIB = 1024 * 1024
TOO_LARGE = bytes(3 * MIB)


@pytest.fixture
def narrow() -> Iterator[Server]:
    """A target that takes a megabyte at once."""
    with start_server(available_targets()[0], options=["--proto-max-bulk-len", "1mb"]) as server:
        yield server


@pytest.fixture
def mute() -> Iterator[Server]:
    """Such a target that does not tell."""
    options = ["--proto-max-bulk-len", "1mb", "--rename-command", "CONFIG", ""]
    with start_server(available_targets()[0], options=options) as server:
        yield server


def script(*, in_full_sync: bool) -> Script:
    before = [entry(STRING, b"small", string(b"old"))]
    if in_full_sync:
        before.append(entry(STRING, b"large", string(TOO_LARGE)))
        journal = [record(b"SET", b"after", b"1")]
    else:
        before.append(entry(STRING, b"large", string(b"old")))
        journal = [record(b"SET", b"large", TOO_LARGE), record(b"SET", b"after", b"1")]
    return Script((flow(before, journal),))


@pytest.mark.parametrize("in_full_sync", [True, False], ids=["full sync", "stable sync"])
def test_what_the_target_can_not_take_is_one_dead_letter_and_leaves_nothing(
    narrow: Server, run: Callable[..., Program], in_full_sync: bool
) -> None:
    with Player(script(in_full_sync=in_full_sync)) as player:
        ended = run(copy_arguments(player.url, narrow.url))
    assert ended.process.returncode == 5, ended.output()
    assert [base64.b64decode(letter["key_base64"]) for letter in ended.dead_letters()] == [b"large"]
    client = narrow.client()
    assert (client.get("small"), client.get("after"), client.exists("large")) == (b"old", b"1", 0)


@pytest.mark.parametrize("in_full_sync", [True, False], ids=["full sync", "stable sync"])
def test_under_the_policy_stop_the_run_says_which_key_it_is(
    narrow: Server, run: Callable[..., Program], in_full_sync: bool
) -> None:
    with Player(script(in_full_sync=in_full_sync)) as player:
        ended = run(copy_arguments(player.url, narrow.url, "--on-error", "stop"))
    assert ended.process.returncode == 5, ended.output()
    assert "the key 'large'" in ended.output()
    assert "proto-max-bulk-len" in ended.output()
    assert not narrow.client().exists("large")


def test_a_target_that_does_not_tell_ends_the_run_with_what_to_do(mute: Server, run: Callable[..., Program]) -> None:
    with Player(script(in_full_sync=False)) as player:
        ended = run(copy_arguments(player.url, mute.url))
    assert ended.process.returncode == 4, ended.output()
    assert "proto-max-bulk-len" in ended.output()
    assert "Traceback" not in ended.output() + ended.log()


def test_pieces_that_such_a_target_refuses_are_one_dead_letter(mute: Server, run: Callable[..., Program]) -> None:
    with Player(script(in_full_sync=True)) as player:
        ended = run(copy_arguments(player.url, mute.url))
    assert ended.process.returncode == 5, ended.output()
    assert [base64.b64decode(letter["key_base64"]) for letter in ended.dead_letters()] == [b"large"]


def test_a_large_string_is_held_once(tmp_path: Path) -> None:
    size = 200 * MIB
    value = bytes(range(256)) * (size // 256)
    journal = [record(b"SET", b"large", value), record(b"SET", b"after", b"1")]
    with start_server(available_targets()[0]) as server, Player(Script((flow([], journal),))) as player:
        ended = run_program(copy_arguments(player.url, server.url), tmp_path, timeout=120)
        assert ended.process.returncode == 0, ended.output()
        client = server.client(socket_timeout=60)
        assert client.strlen("large") == size
        assert client.get("large") == value
    assert ended.peak_rss < size * 1.3 + 150 * MIB
