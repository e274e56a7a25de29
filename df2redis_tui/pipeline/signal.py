"""A wake-up call for one waiting task: `set` is sync and cheap, `wait` returns once after any number of `set`s."""

from __future__ import annotations

import anyio


class Signal:
    """Unlike `anyio.Event` it can be used again: `wait` consumes it. One waiter at a time."""

    __slots__ = ("_event", "_set")

    def __init__(self) -> None:
        self._set = False
        self._event: anyio.Event | None = None

    def set(self) -> None:
        self._set = True
        if self._event is not None:
            self._event.set()

    async def wait(self, timeout: float | None = None) -> bool:
        """True when it was set, False when the timeout (seconds) ran out first."""
        if not self._set:
            self._event = anyio.Event()
            try:
                if timeout is None:
                    await self._event.wait()
                elif timeout > 0:
                    with anyio.move_on_after(timeout):
                        await self._event.wait()
            finally:
                self._event = None
        was_set, self._set = self._set, False
        return was_set

    def clear(self) -> None:
        self._set = False
