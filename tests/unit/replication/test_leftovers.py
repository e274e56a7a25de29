"""What a FLOW removes behind a full sync: only what is still old at its own position."""

from __future__ import annotations

from df2redis_tui.replication.key_marks import KeyMarks
from df2redis_tui.replication.leftovers import AT_ONCE, Leftovers
from df2redis_tui.translate.old_keys import OldKeys


def old_keys(*names: bytes) -> OldKeys:
    marks = KeyMarks()
    marks.add(0, names)
    marks.sort()
    return OldKeys(marks)


def test_what_the_journal_has_made_anew_meanwhile_stays() -> None:
    old, waiting = old_keys(b"gone", b"again"), Leftovers()
    waiting.add(0, b"gone")
    waiting.add(0, b"again")
    old.replaced(0, b"again")  # a record of this FLOW came in between
    assert waiting.take(old, 7) == [(0, b"gone")]
    assert not waiting
    assert waiting.taken_at == 7
    assert not old.holds(0, b"gone")


def test_a_key_that_is_found_twice_is_removed_once() -> None:
    old, waiting = old_keys(b"gone"), Leftovers()
    waiting.add(0, b"gone")
    assert waiting.take(old, 1) == [(0, b"gone")]
    waiting.add(0, b"gone")
    assert waiting.take(old, 2) == []


def test_many_go_in_pieces() -> None:
    names = [b"k%d" % i for i in range(AT_ONCE + 5)]
    old, waiting = old_keys(*names), Leftovers()
    for name in names:
        waiting.add(0, name)
    assert len(waiting.take(old, 1)) == AT_ONCE
    assert len(waiting) == 5


def test_a_new_full_sync_begins_without_any() -> None:
    waiting = Leftovers()
    waiting.add(0, b"gone")
    waiting.clear()
    assert not waiting
    assert waiting.taken_at == -1
