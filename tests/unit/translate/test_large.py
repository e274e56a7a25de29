"""Journal arguments of megabytes: in pieces that converge, refused where the target can't take them."""

from __future__ import annotations

import dataclasses

import pytest

from df2redis_tui.dragonfly.records import LARGE, OP_LARGE, STRING, Entry, ValueEnd, ValuePart, ValueStart
from df2redis_tui.errors import NotCopied
from df2redis_tui.pipeline.block import Block, Item
from df2redis_tui.translate.capabilities import BULK_LIMIT
from df2redis_tui.translate.large import PIECE, WHOLE_MOST
from tests.unit.translate.surroundings import (
    CLUSTER,
    NOW,
    REDIS70,
    Pending,
    Refusals,
    entry,
    items,
    journal,
    parse,
    snapshot,
)

SMALL_TARGET = dataclasses.replace(REDIS70, bulk_limit=LARGE)
VALUE = bytes(range(256)) * (WHOLE_MOST // 256) + b"and the rest"


def large(*args: bytes) -> Entry:
    return Entry(OP_LARGE, 0, 0, list(args))


def blocks(found: list[Item]) -> list[Block]:
    assert all(isinstance(item, Block) for item in found)
    return found  # type: ignore[return-value]


def result_of(found: list[Item], value: bytes = b"") -> bytes:
    """What a server holds at the key behind these commands (SET and SETRANGE)."""
    for block in blocks(found):
        for wire in block.commands:
            name, _, *rest = parse(wire)
            if name == b"SET":
                value = rest[0]
            elif name == b"SETRANGE":
                at, piece = int(rest[0]), rest[1]
                value = value.ljust(at, b"\0")
                value = value[:at] + piece + value[at + len(piece) :]
    return value


@pytest.mark.parametrize("caps", [REDIS70, CLUSTER], ids=["standalone", "cluster"])
def test_a_large_set_goes_in_pieces(caps: object) -> None:
    found = items(journal(caps), large(b"SET", b"k", VALUE), entry("SET k2 v"))  # type: ignore[arg-type]
    value_blocks = blocks(found)
    assert result_of([b for b in found if b"k2" not in b.commands[-1]]) == VALUE  # type: ignore[union-attr]
    assert all(len(wire) < 2 * PIECE for block in value_blocks for wire in block.commands)
    assert all(block.once is None for block in value_blocks), "they may be sent again"


def test_only_the_end_of_the_record_moves_the_flow() -> None:
    found = blocks(items(journal(), entry("SET a 1"), large(b"SET", b"k", VALUE), entry("SET b 2"), lsn=100))
    assert [block.next_lsn for block in found if block.next_lsn] == [101, 103]
    assert sum(block.entries for block in found) == 3
    assert found[0].next_lsn == 101
    assert all(block.next_lsn == 0 for block in found[1:-1])


def test_sent_again_from_its_start_it_converges() -> None:
    found = items(journal(), large(b"SET", b"k", VALUE))
    half = found[: len(found) // 2]
    assert result_of(found, result_of(half)) == VALUE


def test_its_time_comes_last() -> None:
    found = items(journal(), large(b"SET", b"k", VALUE, b"PXAT", b"%d" % (NOW + 1_000_000)))
    wires = [parse(wire) for block in blocks(found) for wire in block.commands]
    assert wires[0] == [b"SET", b"k", VALUE[:PIECE]]
    assert wires[-1] == [b"PEXPIREAT", b"k", b"%d" % (NOW + 1_000_000)]


def test_options_that_concern_the_former_value_come_first() -> None:
    found = items(journal(), large(b"SET", b"k", VALUE, b"KEEPTTL"))
    first = parse(blocks(found)[0].commands[0])
    assert first == [b"SET", b"k", VALUE[:PIECE], b"KEEPTTL"]


def test_a_large_setrange_goes_in_pieces() -> None:
    found = items(journal(), large(b"SETRANGE", b"k", b"3", VALUE))
    assert result_of(found, b"xxxyyy") == b"xxx" + VALUE


def test_another_large_argument_goes_as_it_came() -> None:
    (block,) = blocks(items(journal(), large(b"HSET", b"h", b"f", VALUE)))
    assert parse(block.commands[0]) == [b"HSET", b"h", b"f", VALUE]
    assert block.next_lsn == 101


@pytest.mark.parametrize(
    "args",
    [(b"SET", b"k", VALUE), (b"HSET", b"k", b"f", VALUE), (b"APPEND", b"k", VALUE)],
    ids=lambda args: str(args[0]),
)
def test_what_the_target_can_not_hold_is_refused_once_and_leaves_nothing(args: tuple[bytes, ...]) -> None:
    refusals = Refusals()
    found = items(journal(SMALL_TARGET, refusals=refusals), large(*args), entry("APPEND k more"), lsn=100)
    assert [parse(wire) for block in blocks(found) for wire in block.commands] == [[b"DEL", b"k"]]
    (refusal,) = refusals.seen
    assert "proto-max-bulk-len" in refusal.reason
    assert (refusal.key, refusal.lsn) == (b"k", 100)
    assert found[-1].next_lsn == 102  # type: ignore[union-attr]


def test_of_an_mset_only_the_large_key_is_refused() -> None:
    refusals = Refusals()
    found = items(journal(SMALL_TARGET, refusals=refusals), large(b"MSET", b"a", b"1", b"k", VALUE))
    assert [parse(wire) for block in blocks(found) for wire in block.commands] == [
        [b"SET", b"a", b"1"],
        [b"DEL", b"k"],
    ]
    assert [refusal.key for refusal in refusals.seen] == [b"k"]


def test_under_the_policy_stop_the_former_value_is_removed_first() -> None:
    found: list[Item] = []
    translator = journal(SMALL_TARGET, refusals=Refusals(stop=True))
    record = large(b"SET", b"k", VALUE)
    coming = translator.translate([record], 100, counted=True, now_ms=NOW, grace_ms=0, arrived=0.0, pending=None)
    with pytest.raises(NotCopied):
        found.extend(coming)
    assert [parse(wire) for block in blocks(found) for wire in block.commands] == [[b"DEL", b"k"]]
    assert max(block.next_lsn for block in blocks(found)) == 100


def test_a_key_that_waits_for_its_value_is_left_to_it() -> None:
    found = items(journal(), large(b"SET", b"k", VALUE), pending=Pending(b"k"))
    assert [wire for block in blocks(found) for wire in block.commands] == []
    assert found[-1].next_lsn == 101  # type: ignore[union-attr]


def test_a_string_too_large_for_the_target_is_refused_once_in_a_full_sync() -> None:
    refusals = Refusals()
    translator = snapshot(SMALL_TARGET, refusals=refusals)
    parts = [ValuePart(1, [bytes(128 * 1024)]) for _ in range(2 * LARGE // (128 * 1024))]
    found = translator.translate(
        [ValueStart(1, 0, b"k", 0, STRING), *parts, ValueEnd(1)], now_ms=NOW, grace_ms=0, arrived=0.0
    )
    wires = [parse(wire) for block in found for wire in block.commands]
    assert wires[-1] == [b"DEL", b"k"]
    assert sum(wire[0] == b"APPEND" for wire in wires) <= LARGE // (128 * 1024)
    assert [refusal.key for refusal in refusals.seen] == [b"k"]


def test_the_limit_is_that_of_servers_nobody_configured() -> None:
    assert REDIS70.bulk_limit == BULK_LIMIT == 536_870_912
