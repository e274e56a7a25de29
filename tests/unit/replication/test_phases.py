"""Which phases of a run are told."""

from __future__ import annotations

from pathlib import Path

from df2redis_tui.replication.job_state import JobState
from df2redis_tui.settings import Endpoint, Settings
from df2redis_tui.telemetry.snapshot import Phase

HERE = Endpoint((("127.0.0.1", 1),))


def test_attempts_to_reach_a_lost_source_are_told_once(tmp_path: Path) -> None:
    job = JobState(Settings(HERE, HERE, state_dir=tmp_path))
    attempt = [Phase.RECONNECTING, Phase.HANDSHAKE]
    for phase in [Phase.HANDSHAKE, Phase.STABLE_SYNC, *attempt, *attempt, *attempt, Phase.STABLE_SYNC, Phase.DRAINING]:
        job.set_phase(phase)
        assert job.phase is phase
    assert [event.text for event in job.records.events] == [
        "connecting → handshake",
        "handshake → stable sync",
        "stable sync → reconnecting",
        "reconnecting → stable sync",
        "stable sync → draining",
    ]
