"""Screen updates that send the changed cells only.

Textual 8.2.8 knows which cells of a widget are dirty, but sends each dirty run from the widget's left edge on, and a
full style with a reset for every piece. Here a run starts where it starts, and a style is sent when it changes. This
leans on Textual's compositor, which is why the version is pinned; `tests/ui/test_wire.py` checks that both draw alike.
"""

from __future__ import annotations

from functools import lru_cache

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from textual._compositor import ChopsUpdate, Compositor
from textual.strip import Strip


class FineUpdate(ChopsUpdate):
    """A partial update as terminal sequences."""

    def render_segments(self, console: Console) -> str:
        system = console._color_system or ColorSystem.TRUECOLOR
        out: list[str] = []
        last: Style | None = None
        for y, x1, x2 in self.spans:
            at = -1
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= x2 or end <= x1:
                    continue
                start = max(x, x1)
                if start != at:
                    out.append(f"\x1b[{y + 1};{start + 1}H")
                at = min(end, x2)
                last = _append(out, strip.crop(start - x, at - x), system, last)
        out.append("\x1b[0m")
        return "".join(out)


def _append(out: list[str], strip: Strip, system: ColorSystem, last: Style | None) -> Style | None:
    """The text of a strip, with a style where it differs from the one before; returns the style in force."""
    for text, style, _ in strip:
        if style is not last:
            out.append(_sequence(style, system))
            last = style
        out.append(text)
    return last


@lru_cache(maxsize=4096)
def _sequence(style: Style | None, system: ColorSystem) -> str:
    codes = style._make_ansi_codes(system) if style is not None else ""
    return f"\x1b[0;{codes}m" if codes else "\x1b[0m"


class FineCompositor(Compositor):
    """Gives `FineUpdate`s."""

    def render_partial_update(self) -> ChopsUpdate | None:
        update = super().render_partial_update()
        return None if update is None else FineUpdate(update.chops, update.spans, update.chop_ends)
