"""A batch becomes one part per node; what must not be applied twice travels with its guard."""

from __future__ import annotations

from itertools import pairwise

import hiredis

from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Block
from df2redis_tui.replication.checkpoint import JobKeys
from df2redis_tui.replication.cluster_ledger import ClusterLedger, tags
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import encode
from df2redis_tui.target.cluster_router import ClusterRouter
from df2redis_tui.target.part import Part
from df2redis_tui.target.pending import Fate, review
from df2redis_tui.target.topology import AddressMap, parse_slots
from df2redis_tui.translate.keys import slot_of

ROWS = [[0, 5000, [b"a", 1]], [5001, 10000, [b"b", 2]], [10001, 16000, [b"c", 3]]]
KEYS = [key for key in (b"k%d" % i for i in range(80)) if slot_of(key) <= 16000][:60]


def router() -> ClusterRouter:
    made = ClusterRouter(Endpoint((("a", 1),), cluster=True), AddressMap())
    made._topology = parse_slots(ROWS, ("a", 1), AddressMap())
    return made


def ledger() -> ClusterLedger:
    made = ClusterLedger(JobKeys("df2redis", "job"), 2, 3, "run")
    made.begin("master", 5)
    return made


def batch_of(commands: list[tuple[bytes, ...]], lsns: list[int] | None, once: list[bool] | None) -> Batch:
    wires = [encode(*c) for c in commands]
    block = Block(0, wires, [slot_of(c[1]) for c in commands], lsns, once)
    batch = Batch(2, 1, [block], len(wires), len(wires), 0, 0.0)
    batch.seq = 7
    return batch


def words(part: Part) -> list[list[bytes]]:
    reader = hiredis.Reader()
    reader.feed(part.wire)
    found = []
    while (command := reader.gets()) is not False:
        found.append(command)
    return found


def test_each_node_gets_its_commands_in_order() -> None:
    batch = batch_of([(b"SET", key, b"v") for key in KEYS], None, None)
    parts = router().parts(batch, batch.blocks, {}, ledger())
    assert [p.node for p in parts] == ["a:1", "b:2", "c:3"]
    assert all(p.layout is None and p.replies == len(p.commands) for p in parts)
    for part in parts:
        keys = [w[1] for w in words(part)]
        assert keys == [k for k in KEYS if k in keys]
        assert {router().topology.owner(slot_of(k)) for k in keys} == {part.node}


def test_a_slot_without_an_owner_is_in_no_part_and_counts_as_refused() -> None:
    lost = next(k for k in (b"k%d" % i for i in range(9999)) if slot_of(k) > 16000)
    batch = batch_of([(b"SET", key, b"v") for key in [*KEYS[:5], lost]], None, None)
    parts = router().parts(batch, batch.blocks, {}, None)
    fates = [p for p in review(batch.blocks, parts) if p.fate is Fate.FAILED]
    assert [(p.args()[1], p.error.split()[0]) for p in fates] == [(lost, "CLUSTERDOWN")]


def test_commands_that_must_not_repeat_carry_a_guard() -> None:
    one = [(b"INCR", b"{a}a"), (b"INCR", b"{a}b"), (b"SET", b"{a}a", b"1"), (b"SET", b"{b}c", b"1"), (b"INCR", b"{b}c")]
    batch = batch_of(one, [10, 11, 12, 13, 14], [True, True, False, False, True])
    book = ledger()
    said = [words(p) for p in router().parts(batch, batch.blocks, {}, book)]
    of_a = next(w for w in said if [b"INCR", b"{a}a"] in w)
    assert [w[0] for w in of_a] == [b"MULTI", b"INCR", b"INCR", b"SET", b"SET", b"EXEC"]
    guards = [w for part in said for w in part if w[0] == b"SET" and w[1].startswith(b"df2redis:job:guard:2:")]
    guards.sort(key=lambda guard: int(guard[2].split(b":")[1]))
    assert [g[2].split(b":")[:3] for g in guards] == [[b"master", b"12", b"run"], [b"master", b"14", b"run"]]
    assert [slot_of(g[1]) for g in guards] == [slot_of(b"{a}"), slot_of(b"{b}")]
    assert book.guarded(guards[0][2]) == 7 << 32 | 2
    assert book.last_mark(slot_of(b"{a}")) == 7 << 32 | 2


def test_commands_of_one_record_stay_together() -> None:
    record = [(b"DEL", b"k"), (b"RPUSH", b"k", b"1"), (b"PEXPIRE", b"k", b"9")]
    batch = batch_of(record, [4, 4, 4], [False, True, False])
    (part,) = router().parts(batch, batch.blocks, {}, ledger())
    assert [w[0] for w in words(part)] == [b"MULTI", b"DEL", b"RPUSH", b"PEXPIRE", b"SET", b"EXEC"]
    assert part.layout == [-1, 0, 1, 2, -2, -3]


def test_marks_grow_within_a_sending_and_from_one_to_the_next() -> None:
    commands = [(b"INCR", key) for key in KEYS[:50]]
    batch = batch_of(commands, list(range(50)), [True] * 50)
    book = ledger()
    guards = []
    for seq in (7, 8):
        batch.seq = seq
        parts = router().parts(batch, batch.blocks, {}, book)
        guards += [book.guarded(w[2]) for p in sorted(parts, key=lambda p: p.node) for w in words(p) if w[0] == b"SET"]
    assert max(guards[:50]) < min(guards[50:])
    assert sum(a > b for a, b in pairwise(guards)) <= 5  # each part in order


def test_a_guard_without_an_lsn_keeps_the_one_before() -> None:
    book = ledger()
    for lsn, mark, said in ((9, 1, 9), (0, 2, 9), (12, 3, 12)):
        assert book.guard(5, lsn, mark).endswith(b"\r\nmaster:%d:run:%d\r\n" % (said, mark))
    book.begin("other", 0)
    assert b"other:0:run:4" in book.guard(5, 0, 4)


def test_a_guard_of_another_run_or_source_says_nothing() -> None:
    book = ledger()
    assert book.applied_lsn(b"master:9:other:4") == 9
    assert book.guarded(b"master:9:other:4") == -1
    assert book.applied_lsn(b"elsewhere:9:run:4") == 0
    for junk in (None, b"", b"a:b", b"master:x:run:1", b"master:1:run:" + b"9" * 40, 5):
        assert (book.applied_lsn(junk), book.guarded(junk)) == (0, -1)


def test_every_slot_has_a_tag_that_hashes_to_it() -> None:
    assert [slot_of(b"{" + tag + b"}") for tag in tags()] == list(range(16384))
    assert max(map(len, tags())) <= 6
