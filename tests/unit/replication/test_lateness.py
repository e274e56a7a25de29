"""What a batch that was applied late may have found wrong."""

from __future__ import annotations

import pytest

from df2redis_tui.pipeline.block import Block
from df2redis_tui.replication.lateness import LATE, carries_on, fields_in_doubt, in_doubt
from df2redis_tui.streams import encode

NOW = 1_800_000_000_000
HELD = {(0, b"h"): NOW - 1, (0, b"alive"): NOW + 1}


def doubts(block: Block, waited: float) -> list[tuple[bytes, int]]:
    return list(in_doubt(block, NOW, waited, lambda db, key: HELD.get((db, key))))


def block(*texts: str, **more: dict[int, int]) -> Block:
    commands = [encode(*text.split()) for text in texts]
    return Block(0, commands, lsns=list(range(1, 1 + len(commands))), **more)  # type: ignore[arg-type]


def test_only_what_came_behind_the_time_at_which_the_target_ended_its_key() -> None:
    found = block("PEXPIREAT a 1", "PEXPIREAT b 1", "INCR c", "RENAME d e", too_late={1: NOW + 1, 2: NOW, 4: NOW - 9})
    assert doubts(found, 0.1) == [(b"b", 2), (b"d", 4), (b"e", 4)]


def test_in_a_batch_that_is_very_late_all_that_lasts_and_all_that_is_known_to_have_ended() -> None:
    found = block(
        "PEXPIREAT a 1", "PERSIST b", "INCR c", "COPY d e", "HSET h f 1", "INCR alive", "EVAL s 2 f g x", "SET k v"
    )
    assert doubts(found, LATE - 1) == []
    keys = [key for key, _ in doubts(found, LATE + 1)]
    assert keys == [b"a", b"b", b"d", b"e", b"h", b"f", b"g"]


@pytest.mark.parametrize(
    ("text", "carries"),
    [
        ("RENAME a b", True),
        ("rename a b", True),
        ("SUNIONSTORE d a b", True),
        ("EVAL s 2 a b", True),
        ("SET RENAME x", False),
        ("DEL a b", False),
        ("MSET a 1 b 2", False),
        ("RENAMED a b", False),
    ],
)
def test_which_commands_carry_a_value_on_to_another_key(text: str, carries: bool) -> None:
    assert bool(carries_on(encode(*text.split()))) == carries


def test_what_depends_on_fields_that_expire_by_themselves() -> None:
    late = block(
        "HINCRBY h f 1", "HSET h f 1", "HPEXPIREAT h 1 FIELDS 1 f", "HINCRBY other f 1", "EVAL s 1 h x", "GET h"
    )
    assert list(fields_in_doubt(late, {(0, b"h"): None})) == [(b"h", 1), (b"h", 3), (b"h", 5)]
