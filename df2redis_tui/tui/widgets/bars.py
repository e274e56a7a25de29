"""The lines that stand on every screen: status, banner, tuning bar, keys."""

from __future__ import annotations

from typing import NamedTuple

from rich.cells import cell_len
from textual import events

from df2redis_tui.telemetry import format as fmt
from df2redis_tui.telemetry.format import Line, Span
from df2redis_tui.telemetry.view import knobs_of, tune_line
from df2redis_tui.telemetry.view_status import status_lines, status_view
from df2redis_tui.tui.actions import ACTIONS
from df2redis_tui.tui.widgets.painted import Painted

_MOST = 10
_PAIRS = {"tune-batch-down": ("tune-batch-up", "batch"), "tune-in-flight-down": ("tune-in-flight-up", "in flight")}
_LAST = ("help", "quit")


class Entry(NamedTuple):
    """Something in the key bar; the one with the highest rank leaves first."""

    rank: int
    keys: str
    title: str
    action: str

    @property
    def cells(self) -> int:
        return cell_len(self.keys) + 1 + cell_len(self.title)


class StatusLine(Painted):
    """How far, how fast, is it healthy, what holds it back. Always live, also while the view is frozen."""

    def depends(self) -> object:
        return status_view(self.ui.state.live, self.glyphs), self.ui.state.frozen

    def lines(self, width: int, height: int) -> list[Line]:
        state = self.ui.state
        badges = tuple(word for word, on in (("FROZEN", state.frozen), ("READ-ONLY", self.ui.settings.read_only)) if on)
        return list(status_lines(status_view(state.live, self.glyphs), width, self.glyphs, badges=badges))


class Banner(Painted):
    """Paused engine and frozen view, so different that nobody takes one for the other."""

    def wanted(self) -> int:
        """Rows it needs now."""
        state = self.ui.state
        paused = (3 if self.app.size.height >= 30 else 1) if state.live.paused else 0
        return paused + (1 if state.frozen else 0)

    def lines(self, width: int, height: int) -> list[Line]:
        state, glyphs = self.ui.state, self.glyphs
        out: list[Line] = []
        if state.live.paused:
            why = fmt.clean(state.live.reason).removeprefix("paused ") or "by operator"
            key = self.ui.key_of("pause")
            text = f"{glyphs.paused} ENGINE PAUSED {why} since {fmt.clock(state.paused_since)}"
            more = (f" {glyphs.dot} nothing is sent to the target", f" {glyphs.dot} {key} goes on")
            text += "".join(more) if cell_len(text + "".join(more)) <= width else more[1]
            text = fmt.fit(text, min(width, cell_len(text)), glyphs)
            row = (Span(text.center(width), "banner-pause"),)
            blank = (Span(" " * width, "banner-pause"),)
            out += [blank, row, blank] if self.app.size.height >= 30 else [row]
        if state.frozen:
            key = self.ui.key_of("freeze")
            at = fmt.clock(state.snap.at)
            text = f"VIEW FROZEN at {at} {glyphs.dot} the engine goes on {glyphs.dot} {key} unfreezes"
            out.append((Span(text.center(width), "banner-freeze"),))
        return out


class TuneBar(Painted):
    """The knobs in force and the last change."""

    def depends(self) -> object:
        state = self.ui.state
        return knobs_of(state.live, state.scope), state.live.configured, state.scope, state.note

    def lines(self, width: int, height: int) -> list[Line]:
        state = self.ui.state
        return [tune_line(state.live, state.scope, width, state.note, self.glyphs)]


class KeyBar(Painted):
    """The keys that matter here, most important first; a click does what the key does."""

    def __init__(self) -> None:
        super().__init__()
        self._spots: list[tuple[int, int, str]] = []  # start, end, action id

    def entries(self) -> list[Entry]:
        """The keys of this page; a pair of tuning keys counts as one."""
        out: list[Entry] = []
        for action in ACTIONS:
            key = self.ui.key_of(action.id)
            if not action.footer or not key or (action.screens and self.ui.screen_name not in action.screens):
                continue
            if action.id in _PAIRS and out and out[-1].action == _PAIRS[action.id][0]:
                out[-1] = Entry(action.footer, f"{out[-1].keys} {key}", _PAIRS[action.id][1], out[-1].action)
            else:
                rank = action.footer - 10 if action.screens else action.footer
                out.append(Entry(rank, key, action.title, action.id))
        return sorted(out, key=lambda e: e.action in _LAST)

    def depends(self) -> object:
        live = self.ui.state.live
        return self.ui.screen_name, live.phase, live.exit_code, bool(live.flows)

    def lines(self, width: int, height: int) -> list[Line]:
        gap = 3 if width >= 100 else 2
        entries = self.entries()
        while entries and (len(entries) > _MOST or sum(e.cells + gap for e in entries) > width):
            entries.remove(max(entries, key=lambda e: e.rank))
        self._spots = []
        line: list[Span] = [Span(" ")]
        at = 1
        for entry in entries:
            enabled = self.ui.why_not(entry.action) is None
            line += [
                Span(entry.keys, "key" if enabled else "key-off"),
                Span(f" {entry.title}{' ' * gap}", "dim" if enabled else "key-off"),
            ]
            self._spots.append((at, at + entry.cells, entry.action))
            at += entry.cells + gap
        return [tuple(line)]

    async def on_click(self, event: events.Click) -> None:
        for start, end, action_id in self._spots:
            if start <= event.x < end:
                event.stop()
                await self.ui.run_action_id(action_id)
                return
