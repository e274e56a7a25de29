"""Side tasks: what goes on beside the copy. One that fails says so and begins again after a pause; the copy goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import anyio

from df2redis_tui.errors import Df2RedisError, printable
from df2redis_tui.pipeline.backoff import Backoff

log = logging.getLogger(__name__)

AGAIN = (0.2, 30.0)  # seconds of the first pause and of the longest
STEADY = 60.0  # seconds after which a task counts as having worked


class Told(Protocol):
    """Who hears of a task that failed (`Records`)."""

    def event(self, level: str, kind: str, text: str, flow: int | None = None) -> None: ...


@dataclass(frozen=True, eq=False)
class SideTask:
    """`without`: what is missing while it does not run. `ends_run`: what it raises for the run, which is no failure."""

    name: str
    without: str
    ends_run: tuple[type[Exception], ...] = field(default=())
    known: ClassVar[list[SideTask]] = []

    def __post_init__(self) -> None:
        SideTask.known.append(self)

    async def attempt(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run it once."""
        await run()


async def keep_going(task: SideTask, told: Told, run: Callable[[], Awaitable[None]]) -> None:
    """Until `run` returns or is cancelled. Raises nothing but what `task.ends_run` names."""
    backoff = Backoff(*AGAIN)
    traced = ""
    while True:
        began = time.monotonic()
        try:
            await task.attempt(run)
            return
        except task.ends_run:
            raise
        except (Exception, BaseExceptionGroup) as error:
            if time.monotonic() - began > STEADY:
                backoff.reset()
            why = f"{type(error).__name__}: {printable(str(error).encode())}"
            told.event("warning", "side-task", f"{task.name}: {why}; until it works, {task.without}")
            expected = isinstance(error, (OSError, Df2RedisError)) or why == traced
            traced = why
            log.error(
                "A side task failed, the replication goes on",
                extra={"fields": {"task": task.name, "reason": why, "without": task.without}},
                exc_info=None if expected else error,
            )
        await anyio.sleep(backoff.next())
