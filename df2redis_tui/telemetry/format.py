"""Numbers, times and untrusted text as an operator reads them. Each has a widest result, so columns never move.

Sizes are decimal (1 kB = 1000 B). None becomes "--".
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from df2redis_tui.masking import masked
from df2redis_tui.telemetry.glyphs import UNICODE, Glyphs

NOTHING = "--"


class Span(NamedTuple):
    """Text with a role; front ends turn a role into a style, so no view knows a colour."""

    text: str
    role: str = ""


Line = tuple[Span, ...]


def count(number: float | None) -> str:
    """1,204"""
    return NOTHING if number is None else f"{int(number):,}"


def plural(number: int, word: str) -> str:
    """1 error, 1,204 errors"""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def si(number: float | None) -> str:
    """At most 6 cells: 999, 1.2 k, 41.2 k, 999 k, 1.2 M ..."""
    if number is None:
        return NOTHING
    if number < 999.5:
        return f"{number:.0f}"
    for unit in "kMGT":
        number /= 1000
        if number < 99.95:
            return f"{number:.1f} {unit}"
        if number < 999.5:
            return f"{number:.0f} {unit}"
    return f"{number / 1000:.0f} P"


def rate(per_second: float | None) -> str:
    """At most 8 cells: 41.2 k/s"""
    return NOTHING if per_second is None else f"{si(per_second)}/s"


def size(octets: float | None) -> str:
    """At most 7 cells: 999 B, 41.2 MB, 1.2 GB"""
    if octets is None:
        return NOTHING
    text = si(octets)
    return f"{text}B" if text[-1].isalpha() else f"{text} B"


def size_rate(per_second: float | None) -> str:
    """At most 9 cells: 38.0 MB/s"""
    return NOTHING if per_second is None else f"{size(per_second)}/s"


def span(seconds: float | None) -> str:
    """A short time in at most 6 cells: 0 ms, 950 ms, 1.2 s, 59 s, 12 m, 3.5 h, 9.1 d"""
    if seconds is None:
        return NOTHING
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 5970:
        return f"{seconds / 60:.0f} m"
    if seconds < 86_400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} d"


def millis(ms: float | None) -> str:
    """At most 6 cells: 4 ms, 0.3 ms, 1.2 s"""
    if ms is None:
        return NOTHING
    return f"{ms:.1f} ms" if 0 < ms < 0.95 else span(ms / 1000)


def lag(seconds: float | None) -> str:
    """At most 6 cells: 0.2 s (a tenth of a second is as fine as a lag is known)"""
    return NOTHING if seconds is None else f"{seconds:.1f} s" if seconds < 9.95 else span(seconds)


def duration(seconds: float | None) -> str:
    """41 s, 4 m 10 s, 2 h 05 m, 3 d 04 h"""
    if seconds is None:
        return NOTHING
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"


def percent(ratio: float | None) -> str:
    """At most 5 cells: 62 %; never "100 %" before it is whole."""
    return NOTHING if ratio is None else f"{int(ratio * 100 + 1e-9)} %"


def clock(at: float, millis: bool = False) -> str:
    """Local wall-clock time: 12:41:07 or 12:41:07.112"""
    text = time.strftime("%H:%M:%S", time.localtime(at))
    return f"{text}.{int(at % 1 * 1000):03d}" if millis else text


def clean(text: str) -> str:
    """Text from a server or a key: without passwords, control, format or surrogate characters, on one line."""
    text = masked(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else "?" if unicodedata.category(c) in ("Cc", "Cs", "Co") else "" for c in text)


def fit(text: str, width: int, glyphs: Glyphs = UNICODE) -> str:
    """`text` in exactly `width` cells, cut with an ellipsis or padded on the right."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + glyphs.ellipsis


@lru_cache(maxsize=4096)
def bar(ratio: float, width: int, glyphs: Glyphs = UNICODE) -> tuple[str, str]:
    """A gauge as (filled part, empty part), together `width` cells. Anything above 0 shows, only 1 fills it."""
    steps = len(glyphs.bar)
    units = int(min(1.0, max(0.0, ratio)) * width * steps + 1e-9)
    if ratio > 0 and units == 0:
        units = 1
    whole, part = divmod(units, steps)
    filled = glyphs.bar[-1] * whole + (glyphs.bar[part - 1] if part else "")
    return filled, glyphs.track * (width - len(filled))


def bar_spans(ratio: float, width: int, role: str, glyphs: Glyphs = UNICODE) -> Line:
    """`bar` with `role` for the filled part."""
    filled, empty = bar(round(ratio, 3), width, glyphs)
    return Span(filled, role), Span(empty, "track")


def spark(values: Sequence[float], width: int, top: float, glyphs: Glyphs = UNICODE) -> str:
    """The newest `width` values as heights on the fixed scale 0..`top`, newest at the right."""
    heights = glyphs.spark
    last = len(heights) - 1
    marks = [
        heights[min(last, int(v / top * len(heights)))] if v > 0 and top > 0 else " "
        for v in values[max(0, len(values) - width) :]
    ]
    return "".join(marks).rjust(width)


def scale_top(values: Sequence[float]) -> float:
    """The next 1, 2 or 5 times a power of ten at or above every value, so that a scale stays when figures wobble."""
    most = max(values, default=0.0)
    if most <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= most:
        power *= 10
    return next((power * step for step in (1, 2, 5, 10) if power * step >= most), power * 10)


def line_width(line: Line) -> int:
    """In cells."""
    return sum(cell_len(s.text) for s in line)


def line_text(line: Line) -> str:
    """Without the roles."""
    return "".join(s.text for s in line)


def clip(line: Line, width: int, role: str = "") -> Line:
    """`line` in exactly `width` cells; what it lacks is filled with blanks of `role`."""
    out: list[Span] = []
    left = width
    for piece in line:
        cells = cell_len(piece.text)
        if cells <= left:
            if piece.text:
                out.append(piece)
            left -= cells
        else:
            if left:
                out.append(Span(set_cell_size(piece.text, left), piece.role))
            return tuple(out)
    if left > 0:
        out.append(Span(" " * left, role))
    return tuple(out)


def arrange(pieces: Sequence[tuple[int, Line]], width: int, gap: str = "   ", right: Line = ()) -> Line:
    """Pieces beside each other, `right` at the right edge; the pieces with the highest number leave first."""
    keep = [(order, p) for order, p in pieces if line_width(p)]
    room = width - line_width(right)
    while True:
        used = sum(line_width(p) for _, p in keep) + len(gap) * max(0, len(keep) - 1)
        if used <= room or len(keep) <= 1:
            break
        keep.remove(max(reversed(keep), key=lambda k: k[0]))
    line: list[Span] = []
    for index, (_, piece) in enumerate(keep):
        if index:
            line.append(Span(gap))
        line.extend(piece)
    return clip(tuple(line), max(0, room)) + right
