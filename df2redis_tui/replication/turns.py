"""Work that has much to do without waiting for anything lets others run now and then."""

from __future__ import annotations

import time
from typing import Final

import anyio.lowlevel

_SECONDS: Final = 0.01


class Turns:
    """`give` is called between steps that are short; it costs nothing until some time has passed."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    async def give(self) -> None:
        if time.monotonic() - self._began >= _SECONDS:
            await anyio.lowlevel.checkpoint()
            self._began = time.monotonic()
