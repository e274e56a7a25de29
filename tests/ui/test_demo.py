"""The real thing in a terminal: the demo (look-alike of Dragonfly, real Valkey, real engine), driven by keys."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .pseudo_terminal import Terminal


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Terminal]:
    command = [sys.executable, "-m", "df2redis_tui", "demo", "--ui", "--keys", "4000", "--write-rate", "500",
               "--flows", "3", "--glyphs", "unicode", "--log-dir", str(tmp_path / "log")]  # fmt: skip
    it = Terminal(command, tmp_path, tmp_path / "log" / "replicate.log")
    try:
        yield it
    finally:
        if it.process.poll() is None:
            it.process.terminate()
            it.wait(30)
        it.end()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", " ", text)


def test_the_demo_in_a_terminal(demo: Terminal) -> None:
    demo.see("STABLE SYNC")
    demo.read(2)
    seen = plain(demo.seen)
    for words in ("STABLE SYNC", "FLOW 0", "FLOW 2", "limiter", "Target", "Batches", "all FLOWs", "healthy"):
        assert words in seen, words

    demo.seen = ""
    demo.key("+")
    demo.see("from the next batch")
    assert "2,500" in plain(demo.seen)

    demo.key("p")
    demo.see("ENGINE PAUSED")
    assert "ENGINE PAUSED" in demo.seen
    time.sleep(1.0)
    demo.key("p")

    demo.seen = ""
    demo.key("4")
    demo.see("What it can do")
    assert "standalone" in demo.seen
    demo.key("?")
    demo.see("undo the last change")
    assert "undo the last change" in demo.seen

    demo.key("q")
    assert demo.wait(60) == 0
    assert demo.restored()
    assert re.search(r"equal|same", demo.seen.rsplit("\x1b[?1049l", 1)[1])
