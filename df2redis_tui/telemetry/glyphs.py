"""The characters the front ends draw with: full Unicode, blocks only, or plain ASCII.

Every mark is one cell wide, so that a line keeps its width whichever set is in force.
"""

from __future__ import annotations

import locale
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from df2redis_tui.telemetry.snapshot import Health, Phase


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set. `bar` holds the partial cells from thinnest to full, `spark` the heights from lowest to full."""

    name: str
    bar: str
    track: str
    spark: str
    healthy: str
    warning: str
    critical: str
    waiting: str
    running: str
    barrier: str
    paused: str
    reconnecting: str
    draining: str
    done: str
    failed: str
    arrow: str
    dot: str
    ellipsis: str
    cursor: str
    up: str
    down: str
    enter: str
    corners: str  # top left, top right, bottom left, bottom right
    heavy_corners: str
    horizontal: str
    heavy_horizontal: str
    vertical: str
    heavy_vertical: str
    times: str = "x"
    at_least: str = ">="

    def health(self, health: Health) -> str:
        return {Health.HEALTHY: self.healthy, Health.WARNING: self.warning, Health.CRITICAL: self.critical}[health]

    def phase(self, phase: Phase) -> str:
        return {
            Phase.CONNECTING: self.waiting,
            Phase.HANDSHAKE: self.waiting,
            Phase.FULL_SYNC: self.running,
            Phase.BARRIER: self.barrier,
            Phase.STABLE_SYNC: self.running,
            Phase.PAUSED: self.paused,
            Phase.RECONNECTING: self.reconnecting,
            Phase.DRAINING: self.draining,
            Phase.DONE: self.done,
            Phase.FAILED: self.failed,
        }[phase]

    def plain(self, text: str) -> str:
        """`text` with the signs this set lacks written in ASCII."""
        return text if self.name != "ascii" else text.translate(_ASCII_SIGNS)

    def only(self, text: str) -> str:
        """`text` as it can be shown: with the ASCII set nothing else gets through, whatever a server says."""
        if self.name != "ascii" or text.isascii():
            return text
        return self.plain(text).encode("ascii", "replace").decode()


_ASCII_SIGNS = str.maketrans(
    {"·": "-", "→": "->", "…": "~", "≥": ">=", "≤": "<=", "—": "-", "–": "-", "×": "x", "µ": "u", "‖": "|", "↻": "@"}
)

UNICODE = Glyphs(
    name="unicode",
    bar="▏▎▍▌▋▊▉█",
    track="·",
    spark="▁▂▃▄▅▆▇█",
    healthy="●",
    warning="▲",
    critical="■",
    waiting="○",
    running="◆",
    barrier="◇",
    paused="‖",
    reconnecting="↻",
    draining="▽",
    done="✔",
    failed="✖",
    arrow="→",
    dot="·",
    ellipsis="…",
    cursor="▸",
    up="▲",
    down="▼",
    enter="⏎",
    corners="╭╮╰╯",
    heavy_corners="┏┓┗┛",
    horizontal="─",
    heavy_horizontal="━",
    vertical="│",
    heavy_vertical="┃",
    times="×",
    at_least="≥",
)

# Terminals (and fonts) with the old box and block characters of code page 437, but not much more.
BLOCK = Glyphs(
    name="block",
    bar="▌█",
    track="░",
    spark="▄█",
    healthy="■",
    warning="▲",
    critical="█",
    waiting="○",
    running="►",
    barrier="♦",
    paused="║",
    reconnecting="↔",
    draining="▼",
    done="√",
    failed="X",
    arrow="→",
    dot="·",
    ellipsis="~",
    cursor="►",
    up="▲",
    down="▼",
    enter="Enter",
    corners="┌┐└┘",
    heavy_corners="╔╗╚╝",
    horizontal="─",
    heavy_horizontal="═",
    vertical="│",
    heavy_vertical="║",
    at_least="≥",
)

ASCII = Glyphs(
    name="ascii",
    bar="#",
    track=".",
    spark="_.-=#",
    healthy="*",
    warning="!",
    critical="X",
    waiting="o",
    running=">",
    barrier="=",
    paused="|",
    reconnecting="@",
    draining="v",
    done="*",
    failed="X",
    arrow=">",
    dot="-",
    ellipsis="~",
    cursor=">",
    up="^",
    down="v",
    enter="Enter",
    corners="++++",
    heavy_corners="####",
    horizontal="-",
    heavy_horizontal="=",
    vertical="|",
    heavy_vertical="#",
)

SETS = {g.name: g for g in (UNICODE, BLOCK, ASCII)}


def choose(wanted: str, environ: Mapping[str, str] | None = None, encoding: str | None = None) -> Glyphs:
    """The set named `wanted`, or for "auto" what the terminal can show.

    `TERM=linux` (the kernel's console) has the block characters only; an output which isn't UTF-8 gets ASCII.
    """
    if wanted != "auto":
        return SETS[wanted]
    env = os.environ if environ is None else environ
    if encoding is None:
        encoding = getattr(sys.stdout, "encoding", None) or locale.getpreferredencoding(False)
    if encoding.lower().replace("-", "").replace("_", "") != "utf8" or env.get("TERM") in ("dumb", "vt100"):
        return ASCII
    return BLOCK if env.get("TERM") == "linux" else UNICODE
