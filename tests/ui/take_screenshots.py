"""Take the pictures of `screenshots/` from the running application.

    python -m tests.ui.take_screenshots [--png DIRECTORY] [NAME ...]

`--png` also draws them as PNG (by rsvg-convert), for looking at.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path
from typing import Any

from df2redis_tui.telemetry.snapshot import Phase

from .drive import driving
from .fake_engine import FakeEngine
from .pictures import to_png, without_fonts

DIRECTORY = Path(__file__).parents[2] / "screenshots"
FULL = {"script": ((Phase.FULL_SYNC, 1e9),), "loaded": (0, 2, 5)}
DONE: dict[str, Any] = {"loaded": (), "end": (Phase.DONE, 0, "")}

# name: size, theme, engine, keys
PICTURES: dict[str, tuple[tuple[int, int], str, dict[str, Any], tuple[str, ...]]] = {
    "overview": ((120, 40), "dark", {"flows": 8}, ()),
    "overview-light": ((120, 40), "light", {"flows": 8}, ()),
    "overview-80x24": ((80, 24), "dark", {"flows": 8}, ()),
    "overview-80x24-light": ((80, 24), "light", {"flows": 4, **FULL}, ()),
    "overview-200x60": ((200, 60), "dark", {"flows": 8}, ()),
    "overview-200x60-light": ((200, 60), "light", {"flows": 8}, ()),
    "full-sync": ((120, 40), "dark", {"flows": 16, **FULL}, ()),
    "full-sync-200x60-light": ((200, 60), "light", {"flows": 16, **FULL}, ()),
    "flow": ((120, 40), "dark", {"flows": 8}, ("right", "right", "enter")),
    "flow-80x24": ((80, 24), "dark", {"flows": 8}, ("right", "right", "enter")),
    "batches": ((120, 40), "dark", {"flows": 8}, ("2", "up", "up", "up")),
    "batches-80x24": ((80, 24), "light", {"flows": 8}, ("2", "x")),
    "errors": ((120, 40), "dark", {"flows": 8}, ("3",)),
    "errors-80x24": ((80, 24), "dark", {"flows": 8}, ("3",)),
    "target": ((120, 40), "dark", {"flows": 8}, ("4",)),
    "target-80x24": ((80, 24), "light", {"flows": 8}, ("4",)),
    "report": ((120, 40), "dark", {"flows": 8, **DONE}, ("5",)),
    "report-80x24": ((80, 24), "dark", {"flows": 8, **DONE}, ("5",)),
    "help": ((120, 40), "dark", {"flows": 8}, ("question_mark",)),
    "help-80x24": ((80, 24), "light", {"flows": 8}, ("question_mark",)),
    "tuning": ((120, 40), "dark", {"flows": 4}, ("plus", "plus", "equals_sign")),
    "paused": ((120, 40), "dark", {"flows": 4}, ("p",)),
    "paused-frozen-80x24": ((80, 24), "dark", {"flows": 4}, ("p", "space")),
    "palette": ((120, 40), "dark", {"flows": 8}, ("ctrl+p",)),
    "high-contrast": ((120, 40), "high-contrast", {"flows": 4}, ()),
    "blue-orange": ((120, 40), "blue-orange", {"flows": 8}, ()),
    "red-cyan": ((120, 40), "red-cyan", {"flows": 8}, ()),
    "ansi-16": ((120, 40), "ansi-16", {"flows": 4}, ()),
    "mono": ((120, 40), "mono", {"flows": 4}, ()),
}


async def take(name: str) -> Path:
    size, theme, changes, keys = PICTURES[name]
    engine = FakeEngine(**{"moving": False, "start_at": 90, **changes})
    async with driving(engine, size, theme=theme) as d:
        if "end" in changes:
            engine.finish()
            d.app.sample()
        for key in keys:
            await d.press(key)
            await d.settle(0.3)
        await d.settle(0.4)
        path = DIRECTORY / f"{name}.svg"
        path.write_text(without_fonts(d.app.export_screenshot(title="df2redis-tui")), encoding="utf-8")
    return path


def main() -> None:
    os.environ |= {"TZ": "UTC", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    os.environ.pop("NO_COLOR", None)
    time.tzset()
    DIRECTORY.mkdir(exist_ok=True)
    parser = argparse.ArgumentParser()
    parser.add_argument("--png", type=Path)
    parser.add_argument("names", nargs="*")
    wanted = parser.parse_args()
    for name in wanted.names or PICTURES:
        path = asyncio.run(take(name))
        if wanted.png:
            to_png(path, wanted.png / f"{name}.png")


if __name__ == "__main__":
    main()
