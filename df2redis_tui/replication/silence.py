"""A FLOW or a control connection that is silent in a full sync: said after a while, given up when nothing explains it.

What is waited for may be long in coming for good reasons: the source has not begun, this FLOW's snapshot is through and
the others' are not (§2.3), or the source waits for us, because the target does not take what another FLOW has sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

import anyio

NAMED_AFTER = 15.0  # seconds
LOST_AFTER = 60.0  # seconds; the source is asked anew
ANSWERS_WITHIN = 60.0  # seconds; of the control connection, while the source has a full sync to do
STEP = 5.0  # seconds between two looks


class Silence:
    """Of one session. Seconds count only while a reader waits for bytes and nothing excuses their absence."""

    def __init__(self) -> None:
        self._silent: dict[int, float] = {}
        self._named: set[int] = set()

    def excused(self, flow: int) -> None:
        """Nothing is to be expected of this FLOW now."""
        self._silent.pop(flow, None)

    def grows(self, flow: int) -> float:
        """Another step has passed without a byte; returns the seconds of silence."""
        self._silent[flow] = self._silent.get(flow, 0.0) + STEP
        return self._silent[flow]

    def heard(self, flow: int) -> bool:
        """Bytes came. Whether their absence had been named."""
        self._silent.pop(flow, None)
        named = flow in self._named
        self._named.discard(flow)
        return named

    def to_name(self, flow: int) -> bool:
        """Whether the time has come to say so; once for each silence."""
        if flow in self._named or self._silent.get(flow, 0.0) < NAMED_AFTER:
            return False
        self._named.add(flow)
        return True

    def lost(self, flow: int, others: Collection[int]) -> bool:
        """Whether to give up: silent for long, and of the `others`, which are not through, none sends anything."""
        return self._silent.get(flow, 0.0) >= LOST_AFTER and all(
            self._silent.get(other, 0.0) >= NAMED_AFTER for other in others
        )


class Asked(Protocol):
    """The control connection."""

    async def answers(self, patience: float) -> None:
        """Ask for a sign of life. Raises SourceLost when none comes."""


async def watch_control(control: Asked, until: anyio.Event, silent: Callable[[float], None]) -> None:
    """Wait for `until`, and ask the source now and then meanwhile. Raises SourceLost.

    A question that is under way is answered before this returns: the next command's answer comes behind it.
    """

    async def name() -> None:
        await anyio.sleep(NAMED_AFTER)
        silent(NAMED_AFTER)

    while not until.is_set():
        with anyio.move_on_after(STEP):
            await until.wait()
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(name)
            await control.answers(ANSWERS_WITHIN)
            tasks.cancel_scope.cancel()


class Listener(Protocol):
    """Who decides what a silence means."""

    def silent(self, flow: int) -> None:
        """Nothing came of this FLOW for another step in the full sync. Raises SourceLost when that lasts too long."""

    def heard(self, flow: int) -> None:
        """Something came again."""


async def receive_watched(flow: int, receive: Callable[[], Awaitable[bytes]], listener: Listener) -> bytes:
    """The next bytes of a full sync. Raises SourceLost."""
    silent = False
    while True:
        with anyio.move_on_after(STEP):
            data = await receive()
            if silent:
                listener.heard(flow)
            return data
        silent = True
        listener.silent(flow)
