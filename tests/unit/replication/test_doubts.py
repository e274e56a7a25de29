"""A key in doubt, and the commands on their way that carry its value on."""

from __future__ import annotations

from df2redis_tui.pipeline.block import Block
from df2redis_tui.replication.doubts import Doubts
from df2redis_tui.streams import encode


def block(*texts: str, first: int = 1, db: int = 0) -> Block:
    commands = [encode(*text.split()) for text in texts]
    return Block(db, commands, lsns=list(range(first, first + len(commands))))


def carried(doubts: Doubts, *blocks: Block) -> set[tuple[int, bytes]]:
    return {(o.db, o.key) for o in doubts.carried(blocks)}


def test_a_rename_carries_a_doubt_on_and_the_next_one_further() -> None:
    doubts = Doubts()
    doubts.add(0, b"a", until=10)
    assert carried(doubts, block("RENAME a b", "RENAME b c", "RENAME x y", "APPEND b 1")) == {(0, b"b"), (0, b"c")}


def test_what_was_translated_later_knew_of_it() -> None:
    doubts = Doubts()
    doubts.add(0, b"a", until=10)
    assert carried(doubts, block("RENAME a b", first=10)) == set()


def test_the_same_name_in_another_database_is_another_key() -> None:
    doubts = Doubts()
    doubts.add(1, b"a", until=10)
    assert carried(doubts, block("RENAME a b")) == set()
    assert carried(doubts, block("RENAME a b", db=1)) == {(1, b"b")}


def test_a_doubt_ends_when_all_from_before_it_is_confirmed() -> None:
    doubts = Doubts()
    doubts.add(0, b"a", until=10)
    doubts.confirmed(9)
    assert doubts
    doubts.confirmed(10)
    assert not doubts
