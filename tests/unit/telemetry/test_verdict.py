"""What a run may say of itself at its end, from what the target has confirmed."""

from __future__ import annotations

import dataclasses

import pytest

from df2redis_tui.telemetry.closing import exit_code
from df2redis_tui.telemetry.snapshot import Confirmed, EngineSnapshot, Verdict
from df2redis_tui.telemetry.verdict import EXIT_OF, Ending, judge, left_behind
from tests.unit.cli.test_report import LAST

WHOLE = Confirmed(
    snapshot=True,
    keys=30_203,
    keys_at_start=30_203,
    records_behind=0,
    commands_waiting=0,
    rereads_waiting=0,
    clean_up_due=False,
    unverified=0,
    dead_letters_before=0,
    evicted=0,
    spared_before=False,
    leftovers_of="",
    restarted="",
)
LACKS = (
    "unverified",
    "dead_letters_before",
    "evicted",
    "spared_before",
    "leftovers_of",
    "restarted",
)  # of a copy that is through
IN_FULL_SYNC = dataclasses.replace(WHOLE, snapshot=False, keys=14_001, records_behind=None)
LETTERS = Ending(dead_letters=3, dead_letter_file="d.jsonl")


def but(**changes: object) -> Confirmed:
    return dataclasses.replace(WHOLE, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("confirmed", "end", "verdict", "text"),
    [
        (WHOLE, Ending(), Verdict.COMPLETE, "everything was copied"),
        (WHOLE, Ending(cut_short=True), Verdict.COMPLETE, "everything was copied"),
        (
            WHOLE,
            Ending(spares=True),
            Verdict.COMPLETE,
            "everything was copied but keys that the target held before (--on-existing skip)",
        ),
        (WHOLE, LETTERS, Verdict.INCOMPLETE, "3 of the keys or commands could not be copied"),
        (IN_FULL_SYNC, Ending(), Verdict.INTERRUPTED, "interrupted: 14,001 of ~30,203 keys"),
        (
            dataclasses.replace(IN_FULL_SYNC, keys=0, keys_at_start=None),
            Ending(),
            Verdict.INTERRUPTED,
            "interrupted: 0 of an unknown number of keys",
        ),
        # Every key that was counted, and still more to come: only the end of the full sync says that it is whole.
        (
            but(snapshot=False, keys=30_300),
            Ending(),
            Verdict.INTERRUPTED,
            "interrupted: 30,300 of ~30,203 keys",
        ),
        (but(records_behind=12_800), Ending(), Verdict.INTERRUPTED, "interrupted: 12,800 records behind"),
        (but(records_behind=None), Ending(), Verdict.INTERRUPTED, "interrupted: an unknown number of records behind"),
        (but(rereads_waiting=1), Ending(), Verdict.INTERRUPTED, "interrupted: 1 key still to be read again"),
        (
            but(clean_up_due=True),
            Ending(),
            Verdict.INTERRUPTED,
            "interrupted: keys of an earlier full sync still to be removed",
        ),
        (
            but(unverified=2),
            Ending(),
            Verdict.INCOMPLETE,
            "2 keys may have expired on the target too early",
        ),
        (
            but(dead_letters_before=3),
            Ending(),
            Verdict.INCOMPLETE,
            "3 of the keys or commands could not be copied by an earlier run of this job",
        ),
        (but(evicted=996), Ending(), Verdict.INCOMPLETE, "the target has evicted 996 keys since the full sync began"),
        (
            but(spared_before=True),
            Ending(),
            Verdict.INCOMPLETE,
            "an earlier run of this job has left out keys that the target held before (--on-existing skip)",
        ),
        (but(records_behind=7, evicted=996), Ending(), Verdict.INTERRUPTED, "interrupted: 7 records behind"),
        # The corrections of expiry times that end a run have no LSN.
        (but(commands_waiting=40), Ending(), Verdict.INTERRUPTED, "interrupted: 40 commands not confirmed"),
        (but(records_behind=7), LETTERS, Verdict.INTERRUPTED, "interrupted: 7 records behind"),
        (
            but(records_behind=70, commands_waiting=40),
            Ending(cut_short=True),
            Verdict.UNCONFIRMED,
            "the drain was cut short: 40 commands not confirmed, 70 records behind",
        ),
        (
            dataclasses.replace(IN_FULL_SYNC, commands_waiting=2_000),
            Ending(cut_short=True),
            Verdict.UNCONFIRMED,
            "the drain was cut short: 2,000 commands not confirmed, 14,001 of ~30,203 keys",
        ),
        # Cut short, but nothing was under way: that is an interruption like any other.
        (IN_FULL_SYNC, Ending(cut_short=True), Verdict.INTERRUPTED, "interrupted: 14,001 of ~30,203 keys"),
        (WHOLE, Ending(failed=True), Verdict.FAILED, ""),
        (WHOLE, Ending(failed=True, refused=True), Verdict.INCOMPLETE, ""),
    ],
)
def test_the_verdict_follows_from_what_was_confirmed(
    confirmed: Confirmed, end: Ending, verdict: Verdict, text: str
) -> None:
    outcome = judge(confirmed, end)
    assert (outcome.verdict, outcome.text) == (verdict, text)


@pytest.mark.parametrize(
    "field", [f.name for f in dataclasses.fields(Confirmed) if f.name not in ("keys", "keys_at_start")]
)
def test_whatever_is_missing_is_never_complete(field: str) -> None:
    missing = {
        "snapshot": False,
        "records_behind": None,
        "clean_up_due": True,
        "leftovers_of": "job 'b'",
        "restarted": "it was",
    }.get(field, 1)
    for cut_short in (False, True):
        outcome = judge(but(**{field: missing}), Ending(cut_short=cut_short))
        assert outcome.verdict in (Verdict.INTERRUPTED, Verdict.UNCONFIRMED, Verdict.INCOMPLETE)
        assert (outcome.verdict is Verdict.INCOMPLETE) == (field in LACKS)
        assert "none" not in outcome.not_copied
        assert "nothing" not in outcome.not_copied
        assert outcome.next


@pytest.mark.parametrize(
    ("confirmed", "end", "text"),
    [
        (WHOLE, Ending(), "none"),
        (WHOLE, LETTERS, "3 in d.jsonl"),
        (
            but(records_behind=9, dead_letters_before=3),
            Ending(),
            "3 of the keys or commands could not be copied by an earlier run of this job, and 9 records behind, "
            "and what the source wrote since",
        ),
        (but(evicted=1), LETTERS, "3 in d.jsonl, and the target has evicted 1 key since the full sync began"),
        (WHOLE, Ending(spares=True), "keys that the target held before (--on-existing skip)"),
        (IN_FULL_SYNC, LETTERS, "3 in d.jsonl, and not known: the full sync had not ended"),
        (but(records_behind=9), Ending(), "9 records behind, and what the source wrote since"),
        (but(records_behind=None), Ending(), "not known: the source was not followed at the end"),
        (WHOLE, Ending(failed=True), "not known: it failed before everything was confirmed"),
        (WHOLE, Ending(failed=True, refused=True), "all that was still to come"),
    ],
)
def test_what_is_not_copied_is_none_only_where_that_is_known(confirmed: Confirmed, end: Ending, text: str) -> None:
    assert judge(confirmed, end).not_copied == text


def test_what_the_target_could_not_be_asked_at_the_end_is_not_vouched_for() -> None:
    cut_short = judge(WHOLE, Ending(cut_short=True, unchecked=True))
    assert cut_short.verdict is Verdict.UNCONFIRMED
    assert "not known" in cut_short.not_copied
    restarted = judge(but(restarted="the target was started anew"), Ending())
    assert restarted.verdict is Verdict.INCOMPLETE
    assert "not known: the target was started anew" in restarted.not_copied
    assert "compare" in restarted.next


@pytest.mark.parametrize(
    ("confirmed", "end", "words"),
    [
        (IN_FULL_SYNC, Ending(full_sync_begun=True), "begins the full sync again"),
        (IN_FULL_SYNC, Ending(), "begins where this run did"),
        (but(records_behind=9), Ending(full_sync_begun=True), "goes on from the last checkpoint"),
        (but(evicted=9), Ending(), "maxmemory-policy noeviction"),
        (but(dead_letters_before=9), Ending(), "df2redis-tui forget"),
        (but(records_behind=9), Ending(checkpoints=False), "begins the full sync again (--no-exactly-once"),
    ],
)
def test_it_says_how_to_go_on(confirmed: Confirmed, end: Ending, words: str) -> None:
    assert words in judge(confirmed, end).next


def ended(verdict: Verdict | None) -> EngineSnapshot:
    return dataclasses.replace(LAST, exit_code=None if verdict is None else EXIT_OF[verdict])


@pytest.mark.parametrize(
    ("verdict", "signal", "code"),
    [
        (Verdict.COMPLETE, None, 0),
        (Verdict.COMPLETE, 15, 0),
        (Verdict.INCOMPLETE, None, 5),
        (Verdict.INCOMPLETE, 2, 5),
        (Verdict.INTERRUPTED, None, 6),
        (Verdict.INTERRUPTED, 2, 130),
        (Verdict.INTERRUPTED, 15, 143),
        (Verdict.UNCONFIRMED, None, 7),
        (Verdict.UNCONFIRMED, 15, 7),
        (None, None, 7),  # an engine that did not end
        (None, 15, 7),
    ],
)
def test_the_exit_code(verdict: Verdict | None, signal: int | None, code: int) -> None:
    assert exit_code(ended(verdict), signal) == code


def test_an_engine_that_does_not_end_is_not_called_complete() -> None:
    outcome = left_behind(IN_FULL_SYNC)
    assert outcome.verdict is Verdict.UNCONFIRMED
    assert "14,001 of ~30,203 keys" in outcome.text
