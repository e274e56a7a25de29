"""Dialogs: an exact value for a knob, the text of a filter, the drain at the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from df2redis_tui.telemetry.format import Line, Span, plural, si
from df2redis_tui.telemetry.view import KNOB_LABEL, knob_text, knobs_of
from df2redis_tui.tui.state import RecordFilter
from df2redis_tui.tui.tuning import KNOBS, parse_value, range_text
from df2redis_tui.tui.widgets.painted import Painted

if TYPE_CHECKING:
    from df2redis_tui.tui.application import ReplicationApp


class Dialog(Vertical):
    """The frame of a dialog."""


class Note(Painted):
    """Some lines in a dialog."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.styles.height = rows
        self.content: list[Line] = []

    def lines(self, width: int, height: int) -> list[Line]:
        return self.content

    def tell(self, *lines: Line) -> None:
        self.content = list(lines)
        self.repaint()


class ValuePrompt(ModalScreen[tuple[str, float] | None]):
    """An exact value; up and down choose the knob. The result is (knob, value), or None."""

    def __init__(self, knob: str, flow: int | None) -> None:
        super().__init__()
        self._knob = knob if knob in KNOBS else "batch_size"
        self._flow = flow

    @property
    def ui(self) -> ReplicationApp:
        return cast("ReplicationApp", self.app)

    def compose(self) -> ComposeResult:
        with Dialog():
            yield Note(len(KNOBS) + 2)
            yield Input()
            yield Note(2)

    def on_mount(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self, error: str = "") -> None:
        snap, g = self.ui.state.live, self.ui.glyphs
        knobs = knobs_of(snap, self._flow)
        head, foot = self.query(Note)
        where = "all FLOWs" if self._flow is None else f"FLOW {self._flow}"
        rows: list[Line] = [(Span(f" Exact value for {where}", "heading"),), (Span(" "),)]
        for knob in KNOBS:
            chosen = knob == self._knob
            rows.append(
                (
                    Span(f" {g.cursor if chosen else ' '} {KNOB_LABEL[knob]:<18}", "strong" if chosen else "dim"),
                    Span(f"{knob_text(knob, getattr(knobs, knob)):>14}", "strong" if chosen else "dim"),
                    Span(f"   {g.plain(range_text(knob))}" if chosen else "", "dim"),
                )
            )
        head.tell(*rows)
        keys = "Enter sets it   Up/Down chooses   Esc leaves it as it is"
        foot.tell((Span(f" {error}", "crit"),), (Span(f" {keys}", "dim"),))
        self.query_one(Input).placeholder = knob_text(self._knob, getattr(knobs, self._knob))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            self.dismiss((self._knob, parse_value(self._knob, event.value)))
        except ValueError as error:
            self._draw(str(error))

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            self.dismiss(None)
        elif event.key in ("up", "down", "tab", "shift+tab"):
            event.stop()
            event.prevent_default()
            by = 1 if event.key in ("down", "tab") else -1
            self._knob = KNOBS[(KNOBS.index(self._knob) + by) % len(KNOBS)]
            self.query_one(Input).value = ""
            self._draw()


class FilterPrompt(ModalScreen[str | None]):
    """The text to look for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        with Dialog():
            yield Note(1)
            yield Input(self._text, placeholder="regular expression; ! before it shows what doesn't match")
            yield Note(1)

    def on_mount(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self, error: str = "") -> None:
        head, foot = self.query(Note)
        head.tell((Span(" Show lines with", "heading"),))
        foot.tell(
            (Span(f" {error}", "crit"),) if error else (Span(" Enter shows them   empty shows all   Esc", "dim"),)
        )

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            RecordFilter().with_text(event.value)
        except re.error as error:
            self._draw(f"not a regular expression: {error}")
        else:
            self.dismiss(event.value)

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            self.dismiss(None)


class DrainDialog(ModalScreen[None]):
    """What is left to be confirmed; pressing the quit key once more leaves now."""

    @property
    def ui(self) -> ReplicationApp:
        return cast("ReplicationApp", self.app)

    def compose(self) -> ComposeResult:
        with Dialog():
            yield Note(4)

    def on_mount(self) -> None:
        self.call_after_refresh(self.redraw)

    def redraw(self) -> None:
        snap = self.ui.state.live
        batches = sum(f.in_flight for f in snap.flows)
        waiting = sum(f.channel_entries + f.open_batch_entries for f in snap.flows)
        left = sum(1 for f in snap.flows if f.in_flight or f.channel_entries or f.open_batch_entries)
        again = f"{self.ui.key_of('quit')} once more leaves now; what isn't confirmed is not acknowledged either"
        for note in self.query(Note):
            note.tell(
                (Span(" Draining", "heading"),),
                (
                    Span(
                        f" {plural(left, 'FLOW')} left, {batches:,} batches in flight, {si(waiting)} entries waiting",
                        "value",
                    ),
                ),
                (Span(" "),),
                (Span(f" {again}", "dim"),),
            )

    async def on_key(self, event: events.Key) -> None:
        event.stop()
        if event.key in self.ui.keymap["quit"]:
            await self.ui.run_action_id("quit")
