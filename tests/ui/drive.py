"""The application over a fake engine, for tests: no timer, no worker; a test looks at the engine when it wants."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from textual.pilot import Pilot

from df2redis_tui.telemetry.format import line_text
from df2redis_tui.tui.application import ReplicationApp
from df2redis_tui.tui.widgets.painted import Painted

from .fake_engine import FakeEngine
from .program import make_settings


def make_app(engine: FakeEngine, **settings: Any) -> ReplicationApp:
    """With half a minute of history behind it."""
    wanted = {"theme": "dark", "glyphs": "unicode", **settings}
    app = ReplicationApp(engine, make_settings(**wanted), sampling=False)
    now = engine.start_at
    for step in range(60, 0, -1):
        engine.start_at = now - step * 0.5
        engine.refresh()
        app.state.take(engine.snapshot())
    engine.start_at = now
    engine.refresh()
    app.state.take(engine.snapshot())
    return app


@dataclass
class Driver:
    app: ReplicationApp
    engine: FakeEngine
    pilot: Pilot[None]

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
        await self.pilot.pause()

    async def settle(self, seconds: float = 0.3) -> None:
        """Long enough for repeated tuning keys to become one change."""
        await self.pilot.pause(seconds)

    async def look(self) -> None:
        self.engine.refresh()
        self.app.sample()
        await self.pilot.pause()

    def text(self, selector: str = "") -> str:
        """What is displayed, as the widgets drew it; `selector` narrows it."""
        screen = self.app.screen if self.app.screen is not self.app.frame else self.app.frame
        out = []
        for widget in screen.query(selector or "*"):
            if isinstance(widget, Painted) and widget.display and widget.is_on_screen:
                out += [line_text(line) for line in widget._lines]
        return "\n".join(out)

    def messages(self) -> str:
        """The short messages shown until now."""
        return "\n".join(n.message for n in self.app._notifications)


@contextlib.asynccontextmanager
async def driving(
    engine: FakeEngine | None = None, size: tuple[int, int] = (120, 40), **settings: Any
) -> AsyncIterator[Driver]:
    engine = engine or FakeEngine(moving=False, start_at=90)
    app = make_app(engine, **settings)
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        yield Driver(app, engine, pilot)
