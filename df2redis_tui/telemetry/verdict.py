"""The verdict on a run: made here and nowhere else, from what the target has confirmed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from df2redis_tui.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NOT_COPIED, EXIT_UNCONFIRMED
from df2redis_tui.telemetry.format import plural
from df2redis_tui.telemetry.snapshot import Confirmed, Outcome, Verdict

EXIT_OF: Final = {
    Verdict.COMPLETE: EXIT_DONE,
    Verdict.INCOMPLETE: EXIT_NOT_COPIED,
    Verdict.INTERRUPTED: EXIT_INTERRUPTED,
    Verdict.UNCONFIRMED: EXIT_UNCONFIRMED,
}

AGAIN: Final = "run the same command again: it begins the full sync again"
AS_BEFORE: Final = "run the same command again: it begins where this run did"
AGAIN_ANYHOW: Final = "run the same command again: it begins where it has to"
GOES_ON: Final = "run the same command again: it goes on from the last checkpoint on the target"
COMPARE: Final = "compare both sides, or copy again with a target that keeps up"
SPARED: Final = "keys that the target held before (--on-existing skip)"
ANEW: Final = (
    "to copy all of it anew: `df2redis-tui forget` for this job, then the same command with --on-existing overwrite, "
    "which replaces whatever is there"
)
NO_CHECKPOINTS: Final = f"{AGAIN} (--no-exactly-once keeps no checkpoints)"


@dataclass(frozen=True, slots=True)
class Ending:
    """How the engine came to its end, and what is known besides the confirmations."""

    failed: bool = False  # by an error
    refused: bool = False  # that error was something that could not be copied (--on-error stop)
    advice: str = ""  # of that error
    unchecked: bool = False  # whether the target still has what it confirmed
    restarted: str = ""  # why it is not known what the target kept
    cut_short: bool = False  # the drain was ended before it was through
    as_asked: bool = False  # it came to what --until or --mode asked for
    dead_letters: int = 0
    dead_letter_file: str = ""
    unrecorded: int = 0  # of them, that are not in that file
    why_unrecorded: str = ""
    spares: bool = False  # --on-existing skip, and there was something
    full_sync_begun: bool = False  # by this run: checkpoints of earlier ones are gone
    checkpoints: bool = True  # --exactly-once


def running(confirmed: Confirmed, so_far: Ending) -> Outcome:
    """The outcome of a run that has not ended."""
    lacks = _joined(_left_out(so_far), _doubtful(confirmed))
    return Outcome(Verdict.RUNNING, "", lacks or "none so far", "", confirmed)


def judge(confirmed: Confirmed, end: Ending) -> Outcome:
    """`end` and what was confirmed then, as a verdict."""
    left_out = _left_out(end)
    missing, doubtful = missing_text(confirmed), _doubtful(confirmed)
    if end.failed:
        verdict, text = (Verdict.INCOMPLETE, "") if end.refused else (Verdict.FAILED, "")
        known = "all that was still to come" if end.refused else "not known: it failed before everything was confirmed"
        return Outcome(verdict, text, _joined(left_out, known), end.advice, confirmed)
    if missing and end.cut_short and confirmed.commands_waiting:
        waiting = plural(confirmed.commands_waiting, "command")
        said = missing if missing.startswith(waiting) else f"{waiting} not confirmed, {missing}"
        text = f"the drain was cut short: {said}"
        known = f"not known: {waiting} sent or read, and not confirmed"
        return Outcome(Verdict.UNCONFIRMED, text, _joined(left_out, known), _next(confirmed, end), confirmed)
    if missing:
        known = f"{missing}, and what the source wrote since" if confirmed.records_behind else missing
        if not confirmed.snapshot:
            known = "not known: the full sync had not ended"
        elif confirmed.records_behind is None:
            known = "not known: the source was not followed at the end"
        if doubtful:
            known = f"{doubtful}, and {known}"
        text = f"interrupted: {missing}"
        return Outcome(Verdict.INTERRUPTED, text, _joined(left_out, known), _next(confirmed, end), confirmed)
    if end.cut_short and end.unchecked:
        text = "the target could not be asked at the end whether it still has what it confirmed"
        return Outcome(Verdict.UNCONFIRMED, text, _joined(left_out, f"not known: {text}"), COMPARE, confirmed)
    doubts = [*_doubts(confirmed), *([(end.restarted, COMPARE)] if end.restarted else [])]
    doubtful = ", and ".join(text for text, _ in doubts)
    if end.dead_letters:
        text = f"{end.dead_letters:,} of the keys or commands could not be copied"
        known = _joined(left_out, doubtful)
        where = f"they are listed in {end.dead_letter_file}"
        if end.unrecorded:
            text += f", {end.unrecorded:,} of which are in no dead letter ({end.why_unrecorded})"
            where = (
                f"the log names those that are not in {end.dead_letter_file}; the next run begins the full sync again"
            )
        return Outcome(Verdict.INCOMPLETE, text, known, where, confirmed)
    if doubtful:
        advice = "; ".join(dict.fromkeys(advice for _, advice in doubts))
        known = f"not known: {doubtful}" if confirmed.unverified or end.restarted else doubtful
        return Outcome(Verdict.INCOMPLETE, doubtful, _joined(left_out, known), advice, confirmed)
    text = f"everything was copied but {SPARED}" if end.spares else "everything was copied"
    return Outcome(Verdict.COMPLETE, text, left_out or "none", "", confirmed)


def left_behind(confirmed: Confirmed) -> Outcome:
    """Of an engine that did not end when it had to."""
    text = "the engine did not end in time"
    missing = missing_text(confirmed)
    return Outcome(
        Verdict.UNCONFIRMED,
        f"{text}: {missing}" if missing else text,
        "not known: the engine did not say",
        AGAIN_ANYHOW,
        confirmed,
    )


def missing_text(confirmed: Confirmed) -> str:
    """What is not on the target, in words; "" when nothing is known to be missing."""
    if not confirmed.snapshot:
        known = confirmed.keys_at_start
        return f"{confirmed.keys:,} of {f'~{known:,}' if known is not None else 'an unknown number of'} keys"
    parts = []
    if confirmed.records_behind is None:
        parts.append("an unknown number of records behind")
    elif confirmed.records_behind:
        parts.append(f"{plural(confirmed.records_behind, 'record')} behind")
    elif confirmed.commands_waiting:
        parts.append(f"{plural(confirmed.commands_waiting, 'command')} not confirmed")
    if confirmed.rereads_waiting:
        parts.append(f"{plural(confirmed.rereads_waiting, 'key')} still to be read again")
    if confirmed.clean_up_due:
        parts.append("keys of an earlier full sync still to be removed")
    return ", ".join(parts)


def _doubtful(confirmed: Confirmed) -> str:
    """What a run that is through can't vouch for, "" when there is nothing."""
    return ", and ".join(text for text, _ in _doubts(confirmed))


def _doubts(confirmed: Confirmed) -> list[tuple[str, str]]:
    """What that is, and what to do."""
    found = []
    if number := confirmed.dead_letters_before:
        text = f"{number:,} of the keys or commands could not be copied by an earlier run of this job"
        found.append((text, f"see its dead letters; {ANEW}"))
    if confirmed.spared_before:
        found.append((f"an earlier run of this job has left out {SPARED}", ANEW))
    if number := confirmed.evicted:
        text = f"the target has evicted {plural(number, 'key')} since the full sync began"
        found.append((text, f"set maxmemory-policy noeviction and give it more memory; {ANEW}"))
    if number := confirmed.unverified:
        found.append((f"{plural(number, 'key')} may have expired on the target too early", COMPARE))
    if jobs := confirmed.leftovers_of:
        text = f"the target may hold keys that the source no longer has: they can't be told from those of {jobs}"
        found.append((text, "the log says at `clean-up left out` what helps"))
    return found


def _next(confirmed: Confirmed, end: Ending) -> str:
    if not confirmed.snapshot:
        return AGAIN if end.full_sync_begun else AS_BEFORE
    return GOES_ON if end.checkpoints else NO_CHECKPOINTS


def _left_out(end: Ending) -> str:
    recorded = end.dead_letters - end.unrecorded
    letters = f"{recorded:,} in {end.dead_letter_file}" if recorded else ""
    if end.unrecorded:
        letters = _joined(letters, f"{end.unrecorded:,} that could not be recorded ({end.why_unrecorded})")
    return _joined(letters, SPARED) if end.spares else letters


def _joined(left_out: str, known: str) -> str:
    return f"{left_out}, and {known}" if left_out and known else left_out or known
