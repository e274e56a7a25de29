"""The barrier of commands that concern all shards: every FLOW stops at its copy, it runs once, all go on (§4.6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from df2redis_tui.errors import SourceError, printable
from df2redis_tui.pipeline.block import Global


class GlobalBarrier:
    """One round at a time: the n-th global command of every FLOW is the same command, first in first out."""

    def __init__(self, flows: int) -> None:
        self._flows = flows
        self._arrived: dict[int, Global] = {}
        self._released = anyio.Event()
        self.executing = False

    @property
    def waiting(self) -> int:
        return len(self._arrived)

    async def arrive(self, flow: int, item: Global, execute: Callable[[dict[int, Global]], Awaitable[None]]) -> None:
        """Wait for all FLOWs; the last one to arrive runs `execute` with what each of them carries.

        Raises SourceError when the FLOWs disagree about the command.
        """
        for other, theirs in self._arrived.items():
            if theirs.args != item.args or theirs.db != item.db:
                raise SourceError(
                    f"FLOW {flow} brought {_text(item)} where FLOW {other} brought {_text(theirs)}: "
                    "the source's journal is inconsistent"
                )
        self._arrived[flow] = item
        if len(self._arrived) < self._flows:
            await self._released.wait()
            return
        self.executing = True
        try:
            await execute(dict(self._arrived))
        finally:
            self.executing = False
        self._arrived.clear()
        released, self._released = self._released, anyio.Event()
        released.set()


def _text(item: Global) -> str:
    return printable(b" ".join(item.args)) + f" (db {item.db})"
