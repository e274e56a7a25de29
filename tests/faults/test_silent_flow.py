"""A source that goes silent in the middle of a full sync is named, then asked anew; one that waits for us is not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from df2redis_tui.errors import SourceLost
from df2redis_tui.replication import silence
from df2redis_tui.replication.session import Session
from df2redis_tui.replication.silence import Silence
from df2redis_tui.settings import Endpoint
from tests.hostile.odd_peer import Odd, OddPeer, Step
from tests.support.fault_source import FaultSource
from tests.support.program import Program
from tests.support.proxy import Proxy
from tests.support.servers import available_targets, start_server

HERE = Endpoint((("127.0.0.1", 1),))
STEPS = int(silence.LOST_AFTER / silence.STEP)


class State:
    """What a session asks of a FLOW."""

    def __init__(self, flow: int) -> None:
        self.flow = flow
        self.stalled = 0.0

    def reader_stalled(self) -> float:
        return self.stalled


class Told:
    def __init__(self) -> None:
        self.named: list[int] = []
        self.heard_again: list[int] = []

    def silent(self, flow: int, seconds: float) -> None:
        self.named.append(flow)

    def sends_again(self, flow: int) -> None:
        self.heard_again.append(flow)


class Watched:
    """A session in the middle of a full sync."""

    def __init__(self, flows: int = 2) -> None:
        self.told = Told()
        self.states = [State(flow) for flow in range(flows)]
        self.session = Session(HERE, self.told, resume=lambda greeting: None)  # type: ignore[arg-type]
        self.session._flows = self.states  # type: ignore[assignment]
        self.session._syncing = True

    def silent(self, flow: int, steps: int) -> None:
        for _ in range(steps):
            self.session.silent(flow)


def test_one_flow_is_named_once_and_given_up_when_the_others_are_through() -> None:
    it = Watched()
    it.session.full_sync_end(0)
    it.silent(1, STEPS - 1)
    assert it.told.named == [1]
    with pytest.raises(SourceLost, match=r"FLOW 1: nothing came for 60 s"):
        it.silent(1, 1)


def test_it_is_not_given_up_while_another_one_sends() -> None:
    it = Watched()
    it.silent(1, 10 * STEPS)
    assert it.told.named == [1]


def test_all_of_them_silent_are_given_up() -> None:
    it = Watched()
    it.silent(0, STEPS // 2)
    with pytest.raises(SourceLost):
        it.silent(1, STEPS)


def test_a_source_that_waits_for_us_is_excused() -> None:
    it = Watched(1)
    it.states[0].stalled = 1.0
    it.silent(0, 10 * STEPS)
    assert it.told.named == []


def test_behind_its_snapshot_a_flow_may_be_silent() -> None:
    it = Watched()
    it.session.full_sync_end(1)
    it.silent(1, 10 * STEPS)
    assert it.told.named == []


def test_what_comes_ends_the_silence() -> None:
    it = Watched()
    it.session.full_sync_end(0)
    it.silent(1, STEPS - 1)
    it.session.heard(1)
    assert it.told.heard_again == [1]
    it.silent(1, STEPS - 1)
    assert it.told.named == [1, 1]


def test_a_short_silence_is_not_worth_a_word() -> None:
    quiet = Silence()
    quiet.grows(0)
    assert not quiet.to_name(0)
    assert not quiet.heard(0)


@pytest.fixture
def source() -> Iterator[FaultSource]:
    with FaultSource(flows=2, snapshot_pace=0.05, chunk_limit=4096) as source:
        with source.client() as client, client.pipeline(transaction=False) as batch:
            for i in range(4_000):
                batch.set(f"key:{i}", "x" * 100)
            batch.execute()
        yield source


def impatient(directory: Path, flow: float = 3.0, control: float = 60.0) -> dict[str, str]:
    """The environment of a program that takes silence for loss after so many seconds."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(
        f"from {silence.__name__.rpartition('.')[0]} import silence\n"
        "silence.STEP, silence.NAMED_AFTER = 0.2, 1.0\n"
        f"silence.LOST_AFTER, silence.ANSWERS_WITHIN = {flow}, {control}\n"
    )
    return {"PYTHONPATH": str(directory)}


@pytest.mark.real
@pytest.mark.timeout(120)
def test_a_run_goes_on_with_a_source_that_had_gone_silent(source: FaultSource, tmp_path: Path) -> None:
    with start_server(available_targets()[0]) as target, Proxy(source.look_alike.port) as proxy:
        program = Program(
            ["--source", f"dragonfly://127.0.0.1:{proxy.port}", "--target", target.url, "--log-format", "text"],
            tmp_path / "run",
            env=impatient(tmp_path / "impatient"),
        )
        with program:
            program.wait_for("full sync ·")
            proxy.hold_replies()
            program.wait_for("the source has sent nothing for")
            program.wait_for("Reconnecting")
            proxy.release_replies()
            program.wait_for("stable sync ·", 60)
            source.wait_level()
            program.signal(signal.SIGTERM)
            assert program.wait(40) == 0
            assert source.compare(Endpoint((("127.0.0.1", target.port),))).same


@pytest.mark.real
@pytest.mark.timeout(120)
def test_a_control_connection_that_does_not_answer_is_named_and_given_up(source: FaultSource, tmp_path: Path) -> None:
    """The FLOWs send all the time: without a question nobody would find out before the full sync is through."""
    never = OddPeer(source.look_alike.port, Step(("PING",), 1), Odd("silence", b"", "silence"))
    with start_server(available_targets()[0]) as target, never as peer:
        program = Program(
            ["--source", f"dragonfly://127.0.0.1:{peer.port}", "--target", target.url, "--no-reconnect"],
            tmp_path / "run",
            env=impatient(tmp_path / "impatient", flow=60.0, control=2.0),
        )
        with program:
            source.do(lambda: setattr(source.look_alike, "snapshot_pace", 0.2))
            assert program.wait(60) == 3, program.output()
    assert "control connection: no answer to PING within 2 s" in program.output()
    assert "control connection: the source has not answered for 1 s in the full sync" in program.output()


class Answering:
    """A control connection that answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer = anyio.Event()

    async def answers(self, patience: float) -> None:
        self.asked += 1
        await self.answer.wait()


@pytest.mark.parametrize("name", ["STEP", "NAMED_AFTER"])
def test_a_question_under_way_is_answered_before_the_next_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, name, 0.0)
    told: list[float] = []

    async def watch() -> None:
        control, ended, returned = Answering(), anyio.Event(), anyio.Event()

        async def watched() -> None:
            await silence.watch_control(control, ended, told.append)
            returned.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watched)
            while name == "STEP" and not control.asked:
                await anyio.sleep(0)
            ended.set()
            await anyio.wait_all_tasks_blocked()
            assert returned.is_set() == (name != "STEP")
            control.answer.set()
            await returned.wait()

    anyio.run(watch)
    assert told == []
