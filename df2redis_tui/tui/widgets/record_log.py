"""A list of flushes or events that follows the newest, until the operator scrolls back; with filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TypeVar

from textual import events

from df2redis_tui.telemetry.chart import heading
from df2redis_tui.telemetry.format import Line, Span, clean, line_text
from df2redis_tui.telemetry.glyphs import Glyphs
from df2redis_tui.telemetry.snapshot import BatchRecord, EventRecord
from df2redis_tui.tui.state import RecordFilter
from df2redis_tui.tui.widgets.painted import Painted

Record = TypeVar("Record", BatchRecord, EventRecord)


class RecordLog(Painted):
    """`source` gives all records, oldest first, by `seq`; `draw` a line of one; `words` its text for copying."""

    def __init__(
        self,
        title: str,
        source: Callable[[], Sequence[BatchRecord | EventRecord]],
        draw: Callable[..., Line],
        words: Callable[..., str],
        *,
        empty: str = "nothing yet",
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.title = title
        self._source = source
        self._draw = draw
        self._words = words
        self._empty = empty
        self.filter = RecordFilter()
        self.cursor: int | None = None  # seq of the selected record; None follows the newest
        self._known: list[BatchRecord | EventRecord] = []
        self._seen = -1
        self._looks: object = None  # what the lines depend on that are searched
        self._top = 0
        self._rows = 1

    def set_filter(self, wanted: RecordFilter) -> None:
        self.filter = wanted
        self._known, self._seen = [], -1
        self.cursor = None
        self.repaint()

    def records(self) -> list[BatchRecord | EventRecord]:
        """Those which pass the filter; only what is new is looked at."""
        looks = (self.size.width, self.glyphs.name) if self.filter.text else None
        if looks != self._looks:
            self._looks = looks
            self._known, self._seen = [], -1
        every = self._source()
        fresh = list(takewhile(lambda record: record.seq > self._seen, reversed(every)))
        if fresh:
            self._seen = fresh[0].seq
            self._known.extend(r for r in reversed(fresh) if self.filter.passes(r, self._shown(r)))
        oldest = every[0].seq if every else 0
        while self._known and self._known[0].seq < oldest:
            del self._known[0]
        return self._known

    def _shown(self, record: BatchRecord | EventRecord) -> str:
        """What a filter's text is looked for in: the line as it is drawn, and its last column whole."""
        if not self.filter.text:
            return ""
        last = record.result if isinstance(record, BatchRecord) else record.text
        return line_text(self._draw(record, self.size.width, self.glyphs)).rstrip() + "\n" + clean(last)

    def depends(self) -> object:
        records = self.records()
        ends = (records[0].seq, records[-1].seq) if records else None
        return ends, len(records), self.filter, self.cursor

    def lines(self, width: int, height: int) -> list[Line]:
        records = self.records()
        rows = self._rows = max(1, height - 1)
        at = self._position(records)
        if at is None:
            self._top = max(0, len(records) - rows)
        else:
            self._top = max(min(self._top, at), at - rows + 1, 0)
        shown = records[self._top : self._top + rows]
        out = [self._title(records, at, width)]
        for index, record in enumerate(shown, self._top):
            line = self._draw(record, width, self.glyphs)
            out.append(_marked(line, self.glyphs) if index == at else line)
        if not shown:
            words = f"no match for {self.filter.words()}" if self.filter else self._empty
            out.append((Span(f"   {words}", "dim"),))
        return out

    def _position(self, records: list[BatchRecord | EventRecord]) -> int | None:
        if self.cursor is None:
            return None
        return next((i for i, r in enumerate(records) if r.seq >= self.cursor), len(records) - 1)

    def _title(self, records: list[BatchRecord | EventRecord], at: int | None, width: int) -> Line:
        what = self.filter.words() or "all FLOWs"
        if at is None:
            return heading(self.title, width, self.glyphs, f"{what} {self.glyphs.dot} following")
        new = len(records) - 1 - at
        return heading(self.title, width, self.glyphs, f"{new:,} new {self.glyphs.down} {what}", "pill")

    def scroll(self, by: int) -> None:
        """Move the selection; past the newest it follows again."""
        records = self.records()
        if not records:
            return
        at = self._position(records)
        wanted = (len(records) - 1 if at is None else at) + by
        self.cursor = None if wanted >= len(records) and by > 0 else records[max(0, min(len(records) - 1, wanted))].seq
        self.repaint()

    def page(self, by: int) -> None:
        self.scroll(by * max(1, self._rows - 1))

    def first(self) -> None:
        records = self.records()
        self.cursor = records[0].seq if records else None
        self.repaint()

    def follow(self) -> None:
        self.cursor = None
        self.repaint()

    def selected_words(self) -> str:
        """The selected record (the newest while following) as a plain line."""
        records = self.records()
        at = self._position(records)
        return self._words(records[-1 if at is None else at]) if records else ""

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll(-3)


def _marked(line: Line, glyphs: Glyphs) -> Line:
    first, *rest = line
    return (Span(glyphs.cursor + first.text[1:], "cursor"), *rest)
