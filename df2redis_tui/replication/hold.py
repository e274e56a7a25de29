"""The source is let go for a while, because this process is about to be stopped (Ctrl-Z)."""

from __future__ import annotations

import threading

import anyio


class Hold:
    """`begin` and `end` on the engine's loop; `detached` may be waited for from any thread."""

    def __init__(self) -> None:
        self.on = False
        self.interrupted = False  # a session was ended for it
        self.detached = threading.Event()
        self.session: anyio.CancelScope | None = None  # the one to end
        self._over = anyio.Event()

    def begin(self) -> None:
        self.on = True
        if self.session is None:
            self.detached.set()
        else:
            self.interrupted = True
            self.detached.clear()
            self.session.cancel()

    def session_ended(self) -> None:
        """Its connections are closed."""
        self.session = None
        if self.on:
            self.detached.set()

    def end(self) -> None:
        self.on = False
        over, self._over = self._over, anyio.Event()
        over.set()

    async def over(self) -> None:
        """Until the source may be followed again."""
        while self.on:
            await self._over.wait()
