"""How long the source's journal backlog lasts, and that none of it is lost by asking for FLOWs one by one."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import pytest

from df2redis_tui.dragonfly.control import Greeting
from df2redis_tui.dragonfly.flow import FlowConnection
from df2redis_tui.errors import SourceError
from df2redis_tui.replication.backlog import WINDOW, Backlog
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.outcome import significant
from df2redis_tui.replication.session import Session
from df2redis_tui.replication.session_port import SessionPort
from df2redis_tui.settings import Endpoint, Settings

HERE = Endpoint((("127.0.0.1", 1),))


def greeting(release: tuple[int, int] | None = (1, 40), flows: int = 2) -> Greeting:
    return Greeting("m", "SYNC1", flows, 5, "", release)


def followed(release: tuple[int, int] | None, *offsets: list[int]) -> Backlog:
    backlog = Backlog()
    backlog.follow(greeting(release))
    for number, found in enumerate(offsets):
        backlog.note(found, 100.0 + number * WINDOW)
    return backlog


def test_it_lasts_as_long_as_that_of_the_busiest_flow() -> None:
    backlog = followed((1, 40), [0, 1000], [100, 1000 + int(8192 * WINDOW)])
    assert backlog.busiest() == (1, 8192.0)
    assert backlog.holds() == 1.0
    assert "--shard_repl_backlog_len is 8,192 records" in backlog.advice()
    assert "1.0 s at the 8,192 records/s of FLOW 1" in backlog.advice()


def test_older_releases_keep_less() -> None:
    assert followed((1, 33), [0, 0], [0, int(1024 * WINDOW)]).holds() == 1.0


def test_nothing_is_said_of_a_rate_that_is_not_known() -> None:
    assert followed((1, 40), [5, 5]).holds() is None
    assert followed((1, 40), [5, 5], [5, 5]).holds() is None
    assert "records/s" not in followed((1, 40), [5, 5]).advice()


def test_the_rate_is_that_of_the_last_seconds() -> None:
    backlog = followed((1, 40), [0, 0], [0, 100_000], [0, 100_000], [0, 100_000])
    assert backlog.holds() is None


@pytest.mark.parametrize(("release", "never"), [((1, 20), False), ((1, 21), True), ((1, 30), True), ((1, 31), False)])
def test_some_releases_never_grant_a_partial_sync(release: tuple[int, int], never: bool) -> None:
    assert ("never grant a partial sync" in followed(release).advice()) is never


def test_a_run_says_once_that_a_restart_may_cost_a_full_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = JobState(Settings(HERE, HERE, state_dir=tmp_path))
    port = SessionPort(job)
    clock = iter(range(0, 10_000, int(WINDOW)))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    for number in range(4):
        port.source_offsets([0, int(number * 7_000 * WINDOW)])
    (warning,) = [event.text for event in job.records.events if event.level == "warning"]
    assert "may cost a full sync" in warning
    assert "--shard_repl_backlog_len is 8,192 records a shard unless raised, 1.2 s at the 7,000 records/s" in warning


class Opened:
    """A FLOW connection that is granted only when all have been asked for."""

    def __init__(self, flow: int) -> None:
        self.flow = flow


@pytest.mark.anyio
async def test_all_flows_are_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    all_asked = anyio.Event()

    async def opens(source: Endpoint, greeted: Greeting, flow: int, resume: object) -> Opened:
        asked.insert(0, flow)
        if len(asked) == greeted.flows:
            all_asked.set()
        await all_asked.wait()
        return Opened(flow)

    monkeypatch.setattr(FlowConnection, "open", opens)
    session = Session(HERE, None, resume=lambda greeting: None)  # type: ignore[arg-type]
    connections: list[FlowConnection] = []
    with anyio.fail_after(10):
        await session._open_flows(greeting(flows=5), None, connections)
    assert [connection.flow for connection in connections] == [0, 1, 2, 3, 4]


@pytest.mark.anyio
async def test_one_that_is_refused_is_the_error_and_the_others_are_closed_by_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def opens(source: Endpoint, greeted: Greeting, flow: int, resume: object) -> Opened:
        if flow == 1:
            await anyio.sleep(0)
            raise SourceError("refused FLOW 1")
        return Opened(flow)

    monkeypatch.setattr(FlowConnection, "open", opens)
    session = Session(HERE, None, resume=lambda greeting: None)  # type: ignore[arg-type]
    connections: list[FlowConnection] = []
    with pytest.raises(BaseExceptionGroup) as caught:
        await session._open_flows(greeting(flows=3), None, connections)
    assert str(significant(caught.value)) == "refused FLOW 1"
    assert [connection.flow for connection in connections] == [0, 2]
