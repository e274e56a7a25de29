"""Keys of the source that are named like those the job keeps on its target are never written, on no way."""

from __future__ import annotations

import pytest

from df2redis_tui.dragonfly import records
from df2redis_tui.dragonfly.records import OP_LARGE, Entry, Strings, Value, ValueEnd, ValuePart, ValueStart
from df2redis_tui.errors import NotCopied
from df2redis_tui.pipeline.block import Reread
from df2redis_tui.replication.checkpoint import JobKeys
from df2redis_tui.translate.own_keys import WHY, OwnKeys
from tests.unit.translate.surroundings import CLUSTER, NOW, REDIS70, Refusals, entry, items, journal, outcome, snapshot

START = JobKeys("df2redis", "job").start
LEASE = JobKeys("df2redis", "job").lease.decode()
OWN = OwnKeys(START, cluster=False)
OWN_OF_CLUSTER = OwnKeys(START, cluster=True)
GUARD = START + b"guard:0:{1a}"

ONLY_IT = [
    "SET {} v",
    "SET {} v PXAT 99999999999999",
    "set {} v",
    "SETEX {} 100 v",
    "HSET {} f v",
    "INCR {}",
    "DEL {}",
    "UNLINK {}",
    "PEXPIREAT {} 99999999999999",
    "PERSIST {}",
    "GETDEL {}",
    "MSET {} v",
    "RESTORE {} 0 xxxxxxxxxxxxxxxx",
    "SADD {} a",
    "SPOP {}",
    "JSON.SET {} $ 1",
    "JSON.TOGGLE {} $.a",
    "BF.ADD {} a",
    "XGROUP CREATE {} g $",
    "XADD {} 1-1 f v",
    "PFADD {} a",
    "DELEX {}",
]


@pytest.mark.parametrize("text", ONLY_IT)
def test_a_record_of_it_is_reported_and_dropped(text: str) -> None:
    refusals = Refusals()
    found = items(journal(own=OWN, refusals=refusals), entry(text.format(LEASE)), entry("SET other v"))
    assert outcome(found) == ["SET other v"]
    assert [(r.key.decode(), r.reason, r.on_target) for r in refusals.seen] == [(LEASE, WHY, "untouched")]


WITH_OTHERS = [
    ("MSET a 1 {} 2 b 3", ["a", "b"]),
    ("DEL a {}", ["a"]),
    ("RENAME a {}", ["a"]),
    ("RENAME {} a", ["a"]),
    ("COPY a {}", ["a"]),
    ("COPY {} a", ["a"]),
    ("SORT a STORE {}", ["a"]),
    ("GEORADIUS a 1 2 3 km STORE {}", ["a"]),
    ("SUNIONSTORE {} a b", ["a", "b"]),
    ("ZUNIONSTORE {} 2 a b", ["a", "b"]),
    ("ZUNIONSTORE a 2 {} b", ["a", "b"]),
    ("BITOP AND {} a", ["a"]),
    ("LMOVE a {} LEFT LEFT", ["a"]),
    ("SMOVE {} a m", ["a"]),
    ("PFMERGE a {}", ["a"]),
    ("JSON.MSET a $ 1 {} $ 2", ["a"]),
    ("LMPOP 2 a {} LEFT", ["a"]),
    ("ZRANGESTORE {} a 0 -1", ["a"]),
]


@pytest.mark.parametrize(("text", "others"), WITH_OTHERS)
def test_what_a_record_does_to_other_keys_is_read_again(text: str, others: list[str]) -> None:
    refusals = Refusals()
    found = items(journal(own=OWN, refusals=refusals), entry(text.format(LEASE)))
    assert outcome(found) == ["REREAD " + " ".join(others)]
    assert [r.key.decode() for r in refusals.seen] == [LEASE]


def test_it_is_reported_once() -> None:
    refusals = Refusals()
    texts = [f"SET {LEASE} v", f"INCR {LEASE}", f"DEL {LEASE}", f"SET {LEASE} w"]
    translator = journal(own=OWN, refusals=refusals)
    assert outcome([item for text in texts for item in items(translator, entry(text))]) == []
    assert len(refusals.seen) == 1


def test_the_policy_stop_ends_the_run() -> None:
    with pytest.raises(NotCopied):
        items(journal(own=OWN, refusals=Refusals(stop=True)), entry(f"SET {LEASE} v"))
    refused = snapshot(own=OWN, refusals=Refusals(stop=True))
    with pytest.raises(NotCopied):
        list(refused.translate([Strings(0, [(START + b"x", b"v", 0)])], NOW, 0, 0.0))


def test_in_another_database_it_is_nothing_but_a_key() -> None:
    assert outcome(items(journal(own=OWN), entry(f"SET {LEASE} v", db=3))) == [f"SET {LEASE} v"]
    translator = journal(CLUSTER, own=OWN_OF_CLUSTER, db_policy="merge-into-0")
    assert outcome(items(translator, entry(f"SET {LEASE} v", db=3))) == []


def test_the_keys_of_other_jobs_are_data() -> None:
    for key in ("df2redis:jo", "df2redis:other:lease", "df2redis"):
        assert outcome(items(journal(own=OWN), entry(f"SET {key} v"))) == [f"SET {key} v"]


def test_a_job_that_keeps_none_copies_all() -> None:
    own = OwnKeys(None, cluster=False)
    assert outcome(items(journal(own=own), entry(f"SET {LEASE} v"))) == [f"SET {LEASE} v"]
    (block,) = snapshot(own=own).translate([Strings(0, [(START + b"x", b"v", 0)])], NOW, 0, 0.0)
    assert len(block.commands) == 1


def test_moved_onto_it_and_away() -> None:
    refusals = Refusals()
    found = items(journal(own=OWN, refusals=refusals), entry(f"MOVE {LEASE} 0", db=2), entry(f"MOVE {LEASE} 2"))
    assert [(r.db, r.keys) for r in found if isinstance(r, Reread)] == [(2, (LEASE.encode(),))] * 2
    assert [r for r in found if not isinstance(r, Reread) and r.commands] == []  # type: ignore[union-attr]
    assert [r.key.decode() for r in refusals.seen] == [LEASE, LEASE]


def test_a_large_value_of_it() -> None:
    refusals = Refusals()
    large = Entry(OP_LARGE, 0, 0, [b"SET", LEASE.encode(), b"x" * (5 << 20)])
    assert outcome(items(journal(own=OWN, refusals=refusals), large)) == []
    assert [r.key.decode() for r in refusals.seen] == [LEASE]


def test_guards_of_a_cluster_too() -> None:
    refusals = Refusals()
    translator = journal(CLUSTER, own=OWN_OF_CLUSTER, refusals=refusals)
    assert outcome(items(translator, entry([b"SET", GUARD, b"v"]), entry([b"DEL", GUARD]))) == []
    assert [r.key for r in refusals.seen] == [GUARD]


@pytest.mark.parametrize(("caps", "own"), [(REDIS70, OWN), (CLUSTER, OWN_OF_CLUSTER)])
def test_values_of_a_snapshot(caps: object, own: OwnKeys) -> None:
    refusals = Refusals()
    translator = snapshot(caps, own=own, refusals=refusals)  # type: ignore[arg-type]
    found = translator.translate(
        [
            Strings(0, [(b"a", b"1", 0), (START + b"lease", b"2", 0), (b"b", b"3", 0)]),
            Strings(0, [(START + b"job", b"2", 0)]),
            Value(0, START + b"flow:0", 0, records.SET, b"\x01\x01x"),
            ValueStart(7, 0, START + b"flow:1", 0, records.SET),
            ValuePart(7, [b"x"]),
            ValueEnd(7),
        ],
        NOW,
        0,
        0.0,
    )
    assert outcome(found) == ["SET a 1", "SET b 3"]
    assert [r.key.removeprefix(START) for r in refusals.seen] == [b"lease", b"job", b"flow:0", b"flow:1"]
    assert not translator.open_keys


def test_it_is_not_read_again_either() -> None:
    found = items(journal(own=OWN), entry("RENAME a", db=0), entry([b"RENAME", LEASE.encode()]))
    assert [r.keys for r in found if isinstance(r, Reread)] == [(b"a",)]


def test_the_names_of_a_job_begin_alike() -> None:
    for keys in (JobKeys("p", "j"), JobKeys("p", "j", one_slot=True)):
        assert all(key.startswith(keys.start) for key in (keys.lease, keys.job_record, *keys.of_flows(3)))
        assert len(set(keys.of_flows(3))) == 9
