"""`--until caught-up` ends with success only if the source has just said where it is, and the target is there too."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.hostile.odd_peer import Odd, OddPeer, Step
from tests.hostile.table import array
from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments, wait_until
from tests.support.servers import Server
from tests.support.synthetic import STRING, entry, flow, record, string

pytestmark = pytest.mark.real
SCRIPT = Script((flow([entry(STRING, b"k", string(b"v"))], [record(b"SET", b"j", b"1")] * 5), flow([], [])))
ASKED_OFTEN = 8  # times, half a second apart or less
FULL = pytest.mark.hostile_full
ODD = [
    Odd("error", b"-ERR unknown command\r\n"),
    Odd("no permission", b"-NOPERM this user has no permissions to run the 'dfly' command\r\n"),
    Odd("stale", array(b":1\r\n", b":1\r\n")),
    Odd("journal off", array(b":0\r\n", b":0\r\n")),
]


@pytest.mark.parametrize(
    ("odd", "passed"),
    [
        pytest.param(odd, passed, id=f"{odd.name} after {passed}", marks=() if some else FULL)
        for odd, passed, some in [
            *((odd, 0, odd.name == "error") for odd in ODD),
            *((odd, 1, odd.name == "stale") for odd in ODD),
        ]
    ],
)
def test_a_source_that_does_not_say_where_it_is_is_never_caught_up_with(
    odd: Odd, passed: int, any_target: Server, start: Callable[..., Program]
) -> None:
    with Player(SCRIPT) as player, OddPeer(player.port, Step(("DFLY", "REPLICAOFFSET"), passed), odd) as peer:
        program = start(copy_arguments(f"dragonfly://127.0.0.1:{peer.port}", any_target.url))
        wait_until(lambda: peer.given >= ASKED_OFTEN)
        assert program.process.poll() is None, program.output()
        program.wait_for("the source does not say where it is, so nobody knows whether it is caught up")
        peer.behave = True
        assert program.wait(20) == 0, program.output()
    assert "The source says again where it is" in program.log()


def test_one_that_is_ended_meanwhile_does_not_claim_to_have_all(
    any_target: Server, start: Callable[..., Program]
) -> None:
    with Player(SCRIPT) as player, OddPeer(player.port, Step(("DFLY", "REPLICAOFFSET"), 2), ODD[0]) as peer:
        program = start(copy_arguments(f"dragonfly://127.0.0.1:{peer.port}", any_target.url))
        wait_until(lambda: peer.given >= ASKED_OFTEN)
        program.signal(signal.SIGTERM)
        assert program.wait(40) == 143, program.output()


@FULL
def test_one_that_stops_answering_is_lost(any_target: Server, start: Callable[..., Program]) -> None:
    never = Odd("silence", b"", "silence")
    with Player(SCRIPT) as player, OddPeer(player.port, Step(("DFLY", "REPLICAOFFSET"), 1), never) as peer:
        program = start(copy_arguments(f"dragonfly://127.0.0.1:{peer.port}", any_target.url, "--no-reconnect"))
        assert program.wait(60) == 3, program.output()
    assert "no answer to DFLY REPLICAOFFSET within 30 s" in program.output()
