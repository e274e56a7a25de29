"""The lines that stand on every screen: status, banner, tuning bar, keys."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events

from df2redis_tui.telemetry import format as fmt
from df2redis_tui.telemetry.format import Line, Span
from df2redis_tui.telemetry.view import tune_line
from df2redis_tui.telemetry.view_status import status_lines, status_view
from df2redis_tui.tui.actions import ACTIONS, Action, key_text
from df2redis_tui.tui.widgets.painted import Painted


class StatusLine(Painted):
    """How far, how fast, is it healthy, what holds it back. Always live, also while the view is frozen."""

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
            why = fmt.clean(state.live.reason) or "by operator"
            key = self.ui.key_of("pause")
            text = (
                f"{glyphs.paused} ENGINE PAUSED {why} since {fmt.clock(state.paused_since)}"
                f" {glyphs.dot} nothing is sent to the target {glyphs.dot} {key} goes on"
            )
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

    def lines(self, width: int, height: int) -> list[Line]:
        state = self.ui.state
        return [tune_line(state.live, state.scope, width, state.note, self.glyphs)]


class KeyBar(Painted):
    """The keys that matter here, most important first; a click does what the key does."""

    def __init__(self) -> None:
        super().__init__()
        self._spots: list[tuple[int, int, str]] = []  # start, end, action id

    def actions(self) -> list[Action]:
        """Those with a footer rank for this screen; the pairs of tuning keys count as one."""
        screen = self.ui.screen_name
        own = [a for a in ACTIONS if a.footer and screen in a.screens]
        rest = [a for a in ACTIONS if a.footer and not a.screens]
        return sorted(own, key=lambda a: a.footer) + sorted(rest, key=lambda a: a.footer)

    def lines(self, width: int, height: int) -> list[Line]:
        entries: list[tuple[int, str, str, str]] = []  # rank, keys, title, id
        for action in self.actions():
            keys = self.ui.keymap.get(action.id, ())
            if not keys:
                continue
            shown = self.ui.key_of(action.id)
            if action.id.endswith("-down"):
                rank, up_key, _, up_id = entries[-1]
                entries[-1] = (rank, f"{up_key} {shown}", {"tune-batch-up": "batch"}.get(up_id, "in flight"), up_id)
                continue
            entries.append((action.footer, shown, action.title, action.id))
        return [self._fit(entries[:10], width)]

    def _fit(self, entries: list[tuple[int, str, str, str]], width: int) -> Line:
        """As many as fit, in the order of their rank."""
        self._spots = []
        line: list[Span] = [Span(" ")]
        at = 1
        for _, keys, title, action_id in entries:
            cells = cell_len(keys) + 1 + cell_len(title)
            if at + cells + 1 > width:
                continue
            enabled = self.ui.why_not(action_id) is None
            line += [Span(keys, "key" if enabled else "key-off"), Span(f" {title}", "dim" if enabled else "key-off")]
            line.append(Span("   " if width >= 100 else "  "))
            self._spots.append((at, at + cells, action_id))
            at += cells + (3 if width >= 100 else 2)
        return tuple(line)

    async def on_click(self, event: events.Click) -> None:
        for start, end, action_id in self._spots:
            if start <= event.x < end:
                event.stop()
                await self.ui.run_action_id(action_id)
                return


def key_of(keys: tuple[str, ...]) -> str:
    """The first of an action's keys as people read it."""
    from textual.keys import key_to_character

    if not keys:
        return ""
    return key_text(key_to_character(keys[0]) or keys[0]) if keys[0] not in ("enter", "space") else key_text(keys[0])
