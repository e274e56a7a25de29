"""A program with the fake engine behind a front end: `python -m tests.ui.program KIND OPTIONS`, for terminal tests.

OPTIONS is JSON: {"engine": {...}, "settings": {...}}; phases of a script are their names.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

from df2redis_tui import watching
from df2redis_tui.settings import Endpoint, Settings
from df2redis_tui.telemetry.snapshot import Phase

from .fake_engine import FakeEngine

HERE = Endpoint((("127.0.0.1", 1),))


def make_settings(**changes: Any) -> Settings:
    paths = {k: Path(v) for k, v in changes.items() if k.endswith("_dir") or k == "summary"}
    return Settings(**{"source": HERE, "target": HERE, **changes, **paths})


def main() -> int:
    began = time.monotonic()
    kind, options = sys.argv[1], json.loads(sys.argv[2])
    if "log" in options:
        logging.basicConfig(filename=options["log"], level=logging.INFO, format="%(message)s")
    arguments = options.get("engine", {})
    if "script" in arguments:
        arguments["script"] = tuple((Phase(p), s) for p, s in arguments["script"])
    if "end" in arguments:
        phase, code, text = arguments["end"]
        arguments["end"] = (Phase(phase), code, text)
    if "deadlines" in options:
        watching.DRAIN_SECONDS, watching.GRACE = options["deadlines"]
    engine = FakeEngine(**arguments)
    settings = make_settings(**options.get("settings", {}))
    if options.get("crash_after"):
        threading.Thread(target=_crash, args=(options["crash_after"],), daemon=True).start()
    if "beats" in options:
        threading.Thread(target=_beats, args=(engine, options["beats"]), daemon=True).start()
    if kind == "tui":
        from df2redis_tui.tui.app import run
    else:
        from df2redis_tui.headless import run
    code = run(engine, settings)
    if "log" in options:
        logging.info("ended code=%d stops=%s beats=%d", code, engine.stops, engine.beats)
        logging.info("lasted %.1f s", time.monotonic() - began)
    return code


def _beats(engine: FakeEngine, path: str) -> None:
    """The engine's heart, written down five times a second by a thread of its own."""
    with open(path, "a") as file:
        while True:
            file.write(f"{time.monotonic():.2f} {engine.beats}\n")
            file.flush()
            time.sleep(0.2)


def _crash(after: float) -> None:
    """Make the status line fail while it draws."""
    time.sleep(after)
    from df2redis_tui.tui.widgets.bars import StatusLine

    def fail(self: object, width: int, height: int) -> list[Any]:
        raise RuntimeError("drawing failed")

    StatusLine.lines = fail  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
