"""Sets of keys by their hashes: what they answer, what they weigh, what their files keep."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from df2redis_tui.errors import ConfigError
from df2redis_tui.replication.bound_file import Owner
from df2redis_tui.replication.key_marks import KeyMarks

OWNER = Owner("a" * 16, "job", "10.0.0.1:6379")
NAMES = [b"key:%d" % i for i in range(5_000)]


def marks(*, exact: bool = False) -> KeyMarks:
    found = KeyMarks(exact=exact)
    found.add(0, NAMES)
    found.add(1, NAMES[:10])
    found.add(0, NAMES[:100])  # SCAN may give a key twice
    found.sort()
    return found


@pytest.mark.parametrize("exact", [False, True])
def test_what_was_added_is_held_in_its_database(exact: bool) -> None:
    held = marks(exact=exact)
    assert len(held) == len(NAMES) + 10
    assert all(held.holds(0, name) for name in NAMES)
    assert [held.holds(1, name) for name in NAMES[8:12]] == [True, True, False, False]
    assert not any(held.holds(0, b"other:%d" % i) for i in range(5_000))


@pytest.mark.parametrize("exact", [False, True])
def test_what_is_dropped_is_gone_and_nothing_else(exact: bool) -> None:
    held = marks(exact=exact)
    for name in NAMES[::2]:
        held.drop(0, name)
        held.drop(0, name)
    assert len(held) == len(NAMES) // 2 + 10
    assert [held.holds(0, name) for name in NAMES[:4]] == [False, True, False, True]
    assert held.holds(1, NAMES[0])
    held.clear()
    assert len(held) == 0
    assert not held.holds(0, NAMES[1])


@pytest.mark.parametrize("exact", [False, True])
def test_a_file_keeps_all_of_it_for_its_owner_only(tmp_path: Path, exact: bool) -> None:
    path = tmp_path / "state" / "job.old"
    held = marks(exact=exact)
    held.save(path, OWNER)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["job.old"]
    again = KeyMarks(exact=exact)
    assert again.load(path, OWNER)
    assert len(again) == len(held)
    assert again.holds(0, NAMES[77])
    assert not again.holds(2, NAMES[77])


def test_no_file_is_not_known_and_one_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert not KeyMarks().load(tmp_path / "job.old", OWNER)
    marks(exact=True).save(tmp_path / "job.old", OWNER)
    with pytest.raises(ConfigError, match="damaged"):
        KeyMarks().load(tmp_path / "job.old", OWNER)


def test_a_copy_is_independent() -> None:
    held = marks(exact=True)
    other = KeyMarks()
    other.copy(held)
    other.drop(0, NAMES[0])
    assert held.holds(0, NAMES[0])
    assert not other.holds(0, NAMES[0])
    assert other.holds(0, NAMES[1])


def test_a_key_weighs_about_eight_bytes() -> None:
    count = 200_000
    tracemalloc.start()
    try:
        held = KeyMarks()
        empty = tracemalloc.get_traced_memory()[0]
        held.add(0, (b"session:%d" % i for i in range(count)))
        held.sort()
        assert (tracemalloc.get_traced_memory()[0] - empty) / count < 10
    finally:
        tracemalloc.stop()
