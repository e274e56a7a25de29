"""SVG pictures of the application as PNG, for looking at."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

_TEXT = re.compile(r'(<text class="[^"]*" x=")([\d.]+)(" y="[^"]*" textLength=")([\d.]+)("[^>]*>)([^<]*)(</text>)')


def steady(svg: str) -> str:
    """The SVG with every run of text at its own place: rsvg drops leading no-break spaces, browsers don't."""

    def move(match: re.Match[str]) -> str:
        head, x, mid, length, tail, text, end = match.groups()
        cells = len(re.sub(r"&#?\w+;", "x", text))
        body = text
        lead = 0
        while body.startswith("&#160;"):
            body, lead = body[6:], lead + 1
        trail = 0
        while body.endswith("&#160;"):
            body, trail = body[:-6], trail + 1
        if not body or not cells:
            return ""
        cell = float(length) / cells
        return f"{head}{float(x) + lead * cell:.2f}{mid}{float(length) - (lead + trail) * cell:.2f}{tail}{body}{end}"

    # A cell is 12.2 wide at 20px; DejaVu Sans Mono, which rsvg takes, fills it at 20.27px (rsvg knows no textLength).
    return _TEXT.sub(move, svg).replace("font-size: 20px", "font-size: 20.27px")


def without_fonts(svg: str) -> str:
    """The SVG without the fonts it would fetch from the network."""
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def to_png(svg: Path, png: Path) -> None:
    """By rsvg-convert."""
    subprocess.run(["rsvg-convert", "-o", str(png)], input=steady(svg.read_text()).encode(), check=True)
