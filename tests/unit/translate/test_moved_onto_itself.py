"""A list moved onto itself arrives as a pop and a push of one value (protocol page §4.5)."""

from __future__ import annotations

import pytest

from df2redis_tui.pipeline.block import Block
from df2redis_tui.translate import scripts
from df2redis_tui.translate.resp import COMMAND_OVERHEAD
from tests.unit.translate.surroundings import CLUSTER, REDIS70, Pending, entry, items, journal, outcome

OTHER = entry("SET other v")
ROTATE, AFTER = scripts.ROTATE.decode(), scripts.PUSH_AFTER_POP.decode()


def behind_another(*texts: str) -> list[str]:
    return outcome(items(journal(), OTHER, *map(entry, texts)))[1:]


def test_the_pair_becomes_one_command_at_the_push() -> None:
    (block,) = items(journal(CLUSTER), OTHER, entry("LPOP k"), entry("RPUSH k v"), OTHER)
    assert isinstance(block, Block)
    assert outcome([block]) == ["SET other v", f"EVAL {ROTATE} 1 k LPOP RPUSH v", "SET other v"]
    assert (block.lsns, block.once) == ([100, 102, 103], [False, True, False])
    assert (block.entries, block.next_lsn, len(block.slots or ())) == (4, 104, 3)
    assert block.size == sum(map(len, block.commands)) + 3 * COMMAND_OVERHEAD


@pytest.mark.parametrize(
    "pair",
    [
        ("LPOP k", "RPUSH other v"),
        ("LPOP k 2", "RPUSH k v"),
        ("LPOP k", "RPUSH k v w"),
        ("LPOP k", "RPUSHX k v"),
        ("RPUSH k v", "LPOP k"),
        ("SADD k v", "RPUSH k v"),
    ],
)
def test_what_is_no_such_pair_goes_out_as_it_came(pair: tuple[str, str]) -> None:
    assert behind_another(*pair) == list(pair)


def test_a_record_between_the_two_makes_them_a_pop_and_a_push() -> None:
    texts = ["LPOP k", "SET a b", "RPUSH k v"]
    assert behind_another(*texts) == texts


def test_another_database_or_transaction_makes_them_a_pop_and_a_push() -> None:
    for second in (entry("RPUSH k v", db=1), entry("RPUSH k v", txid=7)):
        assert outcome(items(journal(), OTHER, entry("LPOP k"), second)) == ["SET other v", "LPOP k", "RPUSH k v"]


def test_many_pairs_in_a_row() -> None:
    texts = ["RPOP k", "LPUSH k v"] * 3
    assert behind_another(*texts) == [f"EVAL {ROTATE} 1 k RPOP LPUSH v"] * 3


def test_a_push_in_the_next_read_says_whether_its_pop_may_have_emptied_the_list() -> None:
    translator = journal(REDIS70)
    assert outcome(items(translator, OTHER, entry("LPOP k"))) == ["SET other v", "LPOP k"]
    assert outcome(items(translator, entry("RPUSH k v"), lsn=102)) == [f"EVAL {AFTER} 1 k RPUSH v"]


def test_so_does_one_with_which_a_session_begins_again() -> None:
    assert outcome(items(journal(), entry("RPUSH k v"), entry("RPUSH k w"))) == [
        f"EVAL {AFTER} 1 k RPUSH v",
        "RPUSH k w",
    ]


def test_a_pair_that_a_reread_covers_is_dropped() -> None:
    assert outcome(items(journal(), OTHER, entry("LPOP k"), entry("RPUSH k v"), pending=Pending(b"k"))) == [
        "SET other v"
    ]


def test_of_a_pair_that_comes_again_each_half_is_applied_or_not_by_itself() -> None:
    pair = (OTHER, entry("LPOP k"), entry("RPUSH k v"))
    apart = ["SET other v", "LPOP k", f"EVAL {AFTER} 1 k RPUSH v"]
    assert outcome(items(journal(), *pair, replayed_until=102)) == apart
    assert outcome(items(journal(), *pair, replayed_until=101)) == ["SET other v", f"EVAL {ROTATE} 1 k LPOP RPUSH v"]
