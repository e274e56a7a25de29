"""What the target held before the copy must not be built upon (--on-existing overwrite)."""

from __future__ import annotations

import pytest

from df2redis_tui.dragonfly.records import Strings
from df2redis_tui.translate.old_keys import OldKeys
from tests.unit.translate.surroundings import CLUSTER, GRACE, NOW, entry, items, journal, outcome, snapshot


class Names:
    """Keys of database 0."""

    def __init__(self, *names: bytes) -> None:
        self._names = set(names)

    def holds(self, db: int, key: bytes) -> bool:
        return db == 0 and key in self._names

    def drop(self, db: int, key: bytes) -> None:
        if db == 0:
            self._names.discard(key)


@pytest.fixture
def old() -> OldKeys:
    return OldKeys(Names(b"a", b"b"))


def test_the_first_command_of_an_old_key_finds_nothing(old: OldKeys) -> None:
    found = items(journal(old=old), entry("INCR a"), entry("INCR a"), entry("INCR c"))
    assert outcome(found) == ["UNLINK a", "INCR a", "INCR a", "INCR c"]


def test_old_value_and_command_go_together(old: OldKeys) -> None:
    """Between them no batch is cut, and the removal is not repeated either."""
    (block,) = items(journal(old=old), entry("HSET a f 1"))
    assert block.lsns == [100, 100]
    assert block.once == [True, False]


def test_a_snapshot_value_has_replaced_the_old_one(old: OldKeys) -> None:
    assert list(snapshot(old=old).translate([Strings(0, [(b"a", b"1", 0)])], NOW, GRACE, 0.0))
    assert outcome(items(journal(old=old), entry("INCR a"), entry("APPEND b x"))) == [
        "INCR a",
        "UNLINK b",
        "APPEND b x",
    ]


@pytest.mark.parametrize("replacing", ["SET a 1", "DEL a", "MSET a 1 b 2", "DEL a b"])
def test_what_replaces_needs_no_removal(old: OldKeys, replacing: str) -> None:
    found = outcome(items(journal(old=old), entry(replacing), entry("INCR a")))
    assert "UNLINK a" not in found
    assert found[-1] == "INCR a"


def test_a_set_that_builds_on_the_key_does_not_replace(old: OldKeys) -> None:
    assert outcome(items(journal(old=old), entry("SETNX a 1"))) == ["UNLINK a", "SETNX a 1"]


def test_several_keys_are_read_again(old: OldKeys) -> None:
    assert outcome(items(journal(old=old), entry("RENAME c a"))) == ["REREAD c a"]


def test_a_later_run_reads_such_a_key_again_once(old: OldKeys) -> None:
    old.certain = False
    found = outcome(items(journal(old=old), entry("INCR a"), entry("SET b 1"), entry("INCR b")))
    assert found == ["REREAD a", "SET b 1", "INCR b"]


def test_databases_that_are_merged(old: OldKeys) -> None:
    found = items(journal(CLUSTER, old=old, db_policy="merge-into-0"), entry("INCR a", db=3))
    assert outcome(found) == ["UNLINK a", "INCR a"]


def test_other_databases_are_not_meant(old: OldKeys) -> None:
    assert outcome(items(journal(old=old), entry("INCR a", db=1))) == ["INCR a"]
