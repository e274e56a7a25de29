"""A copy goes on and ends well, whichever side task fails in it."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from df2redis_tui.replication import engine as engine_module
from df2redis_tui.replication import side_tasks
from df2redis_tui.replication.engine import Engine
from df2redis_tui.replication.side_tasks import SideTask
from df2redis_tui.settings import Endpoint, Settings
from tests.support.player import Player, Script
from tests.support.servers import Server
from tests.support.synthetic import STRING, entry, flow, record, string

pytestmark = pytest.mark.real

SCRIPT = Script((flow([entry(STRING, b"k:%03d" % i, string(b"v")) for i in range(500)], [record(b"INCR", b"n")] * 10),))
FAILURES = 2
WORKS_FOR = 0.2  # seconds, until it fails
assert engine_module.LOOKS in SideTask.known


def copy(player: Player, target: Server, directory: Path) -> Engine:
    target.client().set("old", "of before")  # so that there is something to clean up
    settings = Settings(
        Endpoint((("127.0.0.1", player.port),)),
        Endpoint((("127.0.0.1", target.port),)),
        until="caught-up",
        target_owned=True,
        state_dir=directory,
        log_dir=directory,
    )
    engine = Engine(settings)
    engine.start()
    return engine


@pytest.mark.parametrize("task", SideTask.known, ids=lambda task: task.name)
@pytest.mark.parametrize("works_for", [0.0, WORKS_FOR], ids=["at once", "after a while"])
def test_a_side_task_that_fails_ends_nothing(
    task: SideTask, works_for: float, any_target: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    failures = 0
    attempt = SideTask.attempt

    async def failing(self: SideTask, run: Callable[[], Awaitable[None]]) -> None:
        nonlocal failures
        if self is not task:
            return await attempt(self, run)
        begun.set()
        if works_for or failures >= FAILURES:
            with anyio.move_on_after(works_for if failures < FAILURES else None):
                await attempt(self, run)
                return
        failures += 1
        raise ZeroDivisionError("injected")

    monkeypatch.setattr(SideTask, "attempt", failing)
    monkeypatch.setattr(side_tasks, "AGAIN", (0.01, 0.05))
    with Player(SCRIPT) as player:
        engine = copy(player, any_target, tmp_path)
        assert engine.wait(60), engine.snapshot()
    snap = engine.snapshot()
    assert begun.is_set(), "an ordinary run does not have it"
    assert (snap.exit_code, snap.failure) == (0, "")
    said = [event.text for event in snap.events if event.kind == "side-task"]
    assert len(said) == failures
    assert works_for or failures
    assert all(text.startswith(f"{task.name}: ZeroDivisionError") for text in said)
    client = any_target.client()
    assert (client.get("n"), client.exists("old"), client.exists("k:499")) == (b"10", 0, 1)


@pytest.mark.parametrize(
    "task", [task for task in SideTask.known if task.name != "clean-up"], ids=lambda task: task.name
)
def test_a_side_task_that_always_fails_does_not_hang_a_stop(
    task: SideTask, any_target: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the one that watches for the end by itself, and the one that asks the source where it is."""
    failed = threading.Event()
    attempt = SideTask.attempt

    async def failing(self: SideTask, run: Callable[[], Awaitable[None]]) -> None:
        if self is not task:
            return await attempt(self, run)
        failed.set()
        raise ZeroDivisionError("injected")

    monkeypatch.setattr(SideTask, "attempt", failing)
    with Player(SCRIPT) as player:
        engine = copy(player, any_target, tmp_path)
        assert failed.wait(30)
        engine.request_stop(20)
        assert engine.wait(40), engine.snapshot()
    assert engine.snapshot().exit_code in (0, 6, 7)
