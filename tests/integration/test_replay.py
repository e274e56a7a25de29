"""Every recorded session, run as a user runs it, into every real server: the content must be equal."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.content import (
    Can,
    Difference,
    differences,
    expected_content,
    read_content,
    report,
)
from tests.support.exceptions import DEFECT, RELATIVE, excused, judge
from tests.support.player import Behaviour, Player, script_of
from tests.support.program import Program, copy_arguments
from tests.support.recordings import Recording, full_sessions, load
from tests.support.servers import Server

pytestmark = pytest.mark.real
SESSIONS = full_sessions()
BOOKKEEPING = b"df2redis"  # the program's own keys on the target


def session_id(session: tuple[Path, bool]) -> str:
    return session[0].name + ("/resume" if session[1] else "")


def test_there_are_recordings() -> None:
    assert SESSIONS, "neither tests/captures nor $REPLAY_CAPTURES holds a recording"


def compare(recording: Recording, target: Server) -> list[Difference]:
    expected = expected_content(recording.expected())
    actual = read_content(target.client(), skip_prefix=BOOKKEEPING)
    return differences(
        expected,
        actual,
        Can.of(target.kind),
        expiry_known_to=recording.expiry_known_to,
        relative=RELATIVE.get(recording.name, frozenset()),
    )


def assert_copied(recording: Recording, target: Server, program: Program) -> None:
    """Equal, but for what is excused and for keys that the program said it could not read again.

    A recording answers no re-read. Commands on such a key that arrive before the refusal wait for the value and go
    with it, later ones run: what the target ends with depends on the timing, that it was told does not.
    """
    unexplained, stale = judge(recording.name, target.kind, compare(recording, target))
    told = {
        (letter["db"], base64.b64decode(letter["key_base64"]))
        for letter in program.dead_letters()
        if "a re-read failed" in letter["reason"]
    }
    unexplained = [d for d in unexplained if (d.db, d.key) not in told]
    assert not unexplained, f"{len(unexplained)} differences:\n{report(unexplained)}"
    assert not stale, "excused, but equal:\n" + "\n".join(f"{e.key!r} {e.aspect}: {e.reason}" for e in stale)


def assert_nothing_left_out_silently(recording: Recording, target: Server, program: Program) -> None:
    """A key that the target lacks, or has otherwise, is in the dead-letter file."""
    told = {(letter["db"], base64.b64decode(letter["key_base64"])) for letter in program.dead_letters()}
    excuses = excused(recording.name, target.kind)
    defects = {(e.db, e.key) for e in excuses if e.reason.startswith(DEFECT)}
    missing = [d for d in compare(recording, target) if d.aspect in ("absent", "value", "type")]
    silent = [d for d in missing if (d.db, d.key) not in told | defects]
    assert not silent, f"not in the dead letters: {report(silent)}"


def assert_acknowledged(recording: Recording, player: Player) -> None:
    for flow, of_flow in enumerate(recording.flows):
        values = [value for _, value in player.acks[flow]]
        assert values == sorted(values), f"FLOW {flow} took an ACK back: {values}"
        assert values[-1:] == [of_flow.lsn_end], f"FLOW {flow} ended at {values[-1:]}, the source at {of_flow.lsn_end}"


@pytest.mark.parametrize("session", SESSIONS, ids=session_id)
def test_content_is_equal(session: tuple[Path, bool], target: Server, run: Callable[..., Program]) -> None:
    recording = load(session[0], resumed=session[1])
    with Player(script_of(recording)) as player:
        program = run(copy_arguments(player.url, target.url, "--member-ttl", "drop"))
    assert player.violations == []
    assert_copied(recording, target, program)
    assert_acknowledged(recording, player)
    assert_nothing_left_out_silently(recording, target, program)
    lost = program.dead_letters()
    assert program.process.returncode == (5 if lost else 0), program.output()
    assert program.summary()["version"] == 1
    assert "Traceback" not in program.output() + program.log()


PIECES = [(61, 0.0), (1500, 0.0), (20_000, 0.002)]


@pytest.mark.parametrize(("piece", "delay"), PIECES, ids=[f"{p}-bytes" for p, _ in PIECES])
@pytest.mark.parametrize("session", SESSIONS[:: max(1, len(SESSIONS) // 4)], ids=session_id)
def test_however_the_bytes_arrive(
    session: tuple[Path, bool], piece: int, delay: float, any_target: Server, run: Callable[..., Program]
) -> None:
    recording = load(session[0], resumed=session[1])
    with Player(script_of(recording), behaviour=Behaviour(piece=piece, delay=delay)) as player:
        program = run(copy_arguments(player.url, any_target.url, "--member-ttl", "drop"), timeout=120)
    assert player.violations == []
    assert_copied(recording, any_target, program)


KNOBS = [
    ("--batch-size", "1", "--max-in-flight", "1"),
    ("--batch-size", "3", "--max-in-flight", "50"),
    ("--batch-size", "100000", "--flush-interval", "500ms", "--max-in-flight", "2"),
    ("--channel-entries", "10", "--channel-bytes", "65536"),
]


@pytest.mark.parametrize("knobs", KNOBS, ids=" ".join)
def test_whatever_the_knobs_are(knobs: tuple[str, ...], any_target: Server, run: Callable[..., Program]) -> None:
    busiest = max(SESSIONS, key=lambda s: sum(f.lsn_end - f.lsn_start for f in load(s[0], resumed=s[1]).flows))
    recording = load(busiest[0], resumed=busiest[1])
    with Player(script_of(recording)) as player:
        program = run(copy_arguments(player.url, any_target.url, "--member-ttl", "drop", *knobs), timeout=180)
    assert_copied(recording, any_target, program)
    assert_acknowledged(recording, player)
