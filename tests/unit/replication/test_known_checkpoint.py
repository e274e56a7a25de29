"""What a FLOW's checkpoint has to say, and when it need not be there."""

from __future__ import annotations

import pytest

from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.replication.checkpoint import Checkpoint, FlowLedger, JobKeys
from df2redis_tui.replication.known_marks import KnownMarks


def ledger(run: str = "run") -> FlowLedger:
    made = FlowLedger(JobKeys("df2redis", "j"), 0, 1, run)
    made.begin("master", 0)
    return made


def send(book: FlowLedger, seq: int, next_lsn: int = 0, *, once: bool = False) -> tuple[Batch, bytes | None]:
    """A batch, and the checkpoint that goes with it."""
    batch = Batch(0, seq, [], 1, 1, 1, 0.0, next_lsn=next_lsn, once=once, seq=seq)
    wires = book.checkpoint(batch)
    return batch, wires[0].split(b"\r\n")[-2] if wires else None


def lost(book: FlowLedger, value: bytes | None) -> tuple[str, str] | None:
    known = book.known.now
    assert known is not None
    return book.lost(known, value)


def test_values_of_a_full_sync_leave_no_checkpoint_to_miss() -> None:
    book = ledger()
    batch, _ = send(book, 1)
    book.confirmed(batch)
    assert book.known.now is None


def test_only_what_is_confirmed_has_to_be_there() -> None:
    book = ledger()
    first, one = send(book, 1, 10)
    book.confirmed(first)
    second, two = send(book, 2, 20)
    assert lost(book, one) is None
    assert lost(book, two) is None, "it may have run"
    book.confirmed(second)
    assert lost(book, one) == ("2 batches of FLOW 0", "no more than 1 of them")
    assert lost(book, None) == ("2 batches of FLOW 0", "none of them")
    assert lost(book, ledger("older").record(99).split(b"\r\n")[-2]) == ("2 batches of FLOW 0", "none of them")


def test_a_full_syncs_command_that_may_not_be_repeated_has_its_checkpoint_too() -> None:
    book = ledger()
    batch, value = send(book, 3, once=True)
    book.confirmed(batch)
    assert lost(book, value) is None
    assert lost(book, None) is not None


def test_what_an_earlier_run_left_is_known_by_its_lsn() -> None:
    book = ledger()
    book.resume(Checkpoint("master", 1, 0, 70, "older", 9, batches=4))
    older = ledger("older")
    assert lost(book, older.record(70).split(b"\r\n")[-2]) is None
    assert lost(book, older.record(69).split(b"\r\n")[-2]) == ("FLOW 0 up to LSN 70", "it up to LSN 69")
    assert lost(book, None) == ("FLOW 0 up to LSN 70", "none of it")


def test_a_checkpoint_that_was_removed_on_purpose_is_not_lost() -> None:
    book = ledger()
    first, _ = send(book, 1, 10)
    late, _ = send(book, 2, 20)
    book.confirmed(first)
    asked = book.known.now
    assert asked is not None
    with book.counting_anew():
        assert book.lost(asked, None) is None, "the question was older"
    book.confirmed(late)  # its checkpoint was removed as well
    assert book.known.now is None
    newer, _ = send(book, 3, 30)
    book.confirmed(newer)
    assert lost(book, None) is not None


def test_a_command_for_all_shards_writes_it_by_itself() -> None:
    book = ledger()
    batch, _ = send(book, 1, 10)
    book.confirmed(batch)
    value = book.record(11).split(b"\r\n")[-2]
    book.passed(11)
    assert lost(book, value) is None


@pytest.mark.parametrize(
    ("value", "batches"), [(b"run:7", 7), (b"other:9", 0), (None, 0), (b"", 0), (b"run:x", 0), (b"run:" + b"9" * 30, 0)]
)
def test_a_mark_of_another_run_says_nothing(value: bytes | None, batches: int) -> None:
    assert KnownMarks("run").read(value) == batches


def test_marks_count_on_when_the_source_has_other_flows() -> None:
    marks = KnownMarks("run")
    assert [marks.confirmed(n) for n in (3, 5, 1, 2)] == [3, 5, 6, 7]
    marks.stands(b"k", 7)
    marks.removed()
    assert not marks.known
