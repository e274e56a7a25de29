"""What goes on beside a copy may fail; nothing is started beside it in another way."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import anyio
import pytest

import df2redis_tui.replication as package
from df2redis_tui.errors import TargetError, TargetLost
from df2redis_tui.replication import side_tasks
from df2redis_tui.replication.side_tasks import SideTask, keep_going

pytestmark = pytest.mark.anyio


class Told:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def event(self, level: str, kind: str, text: str, flow: int | None = None) -> None:
        self.texts.append(text)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_tasks, "AGAIN", (0.001, 0.001))
    monkeypatch.setattr(SideTask, "known", [])


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("x"), OSError(24, "Too many open files"), TargetLost("gone"), ExceptionGroup("g", [OSError()])],
)
async def test_a_task_that_fails_is_said_and_begins_again(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    told, runs = Told(), 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise error

    await keep_going(SideTask("stars", "nobody counts them"), told, run)
    assert runs == 4
    assert len(told.texts) == 3
    assert all(t.startswith("stars: ") and t.endswith("nobody counts them") for t in told.texts)
    assert [r.levelno for r in caplog.records] == [logging.ERROR] * 3
    assert sum(r.exc_info is not None for r in caplog.records) == (0 if isinstance(error, (OSError, TargetLost)) else 1)


async def test_what_is_meant_for_the_run_ends_it() -> None:
    told = Told()

    async def run() -> None:
        raise TargetError("another run took over")

    with pytest.raises(TargetError):
        await keep_going(SideTask("lease", "", (TargetError,)), told, run)
    assert not told.texts


async def test_it_can_be_cancelled_while_it_works_and_while_it_waits() -> None:
    async def fails() -> None:
        raise OSError

    for run in (anyio.sleep_forever, fails):
        with anyio.move_on_after(0.02) as scope:
            await keep_going(SideTask("stars", ""), Told(), run)
        assert scope.cancelled_caught


# What may be started in a task group of the engine, beside side tasks: an error of it ends the run, or it has none.
PIPELINE = {
    "job.py": {"_note_cancellation", "stopped"},
    "engine.py": {"self._keep_deadline"},
    "job_state.py": {"self.guarded"},
    "wiring.py": {"job.guarded"},
    "ingest.py": {"self._rereading.run"},
    "session.py": {"open_one", "self._follow", "spool.pump"},
    "silence.py": {"name"},
    "true_times.py": {"ask"},
}
SIDE = {"_go_beside", "keep_going", "self._keep_acknowledging"}


def test_whatever_is_started_is_a_side_task_or_belongs_to_the_pipeline() -> None:
    """A new task is to be one or the other, on purpose."""
    for path in Path(package.__file__).parent.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(".start_soon"):
                what = ast.unparse(call.args[0])
                assert what in SIDE | PIPELINE.get(path.name, set()), f"{path.name}: {what}"
