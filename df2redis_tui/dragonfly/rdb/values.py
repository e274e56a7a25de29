"""Whole values decoded: elements of any container, and streams with their groups (protocol page §3.4 to §3.6).

For those who rebuild a value with commands, re-encode it, or want to know whether it is intact. Errors are DecodeError
without a flow or an offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb.lengths import Cursor
from df2redis_tui.dragonfly.rdb.source import Whole
from df2redis_tui.dragonfly.rdb.stream_values import (
    Group,
    StreamEntry,
    StreamId,
    decode_stream_meta,
    decode_stream_node,
)
from df2redis_tui.dragonfly.rdb.walk import walk
from df2redis_tui.errors import DecodeError


@dataclass(frozen=True, slots=True)
class StreamValue:
    """A whole stream: entries as (ms, seq, [field, value, ...]) in order, and the rest as in `StreamInfo`."""

    entries: list[StreamEntry]
    length: int
    last_id: StreamId
    first_id: StreamId | None
    max_deleted_id: StreamId | None
    entries_added: int | None
    groups: list[Group]


class _AllParts:
    """A sink that keeps everything: the value is in memory already."""

    limit: Final = 1 << 62

    def part(self, elements: list[object]) -> bool:
        raise AssertionError("a value in memory is never cut into parts")


def decode_elements(type: int, raw: bytes) -> list[object]:
    """The elements of the whole value `raw` (no type byte), in the shapes of `records.ValuePart`.

    String and JSON: one element, the text. Sketches: one element, the raw bytes. What this takes is intact.
    """
    if type in (r.STRING, r.JSON, r.JSON_OLD):
        cursor = Cursor(raw)
        text = cursor.string()
        cursor.expect_end()
        return [text]
    src = Whole(raw)
    steps = walk(src, type, _AllParts())
    try:
        next(steps)
    except StopIteration as done:
        elements: list[object] = done.value
        if src.available():
            raise DecodeError(f"{src.available():,} bytes are left behind the value") from None
        return elements
    raise AssertionError("a value in memory never waits")


def decode_stream(type: int, raw: bytes) -> StreamValue:
    """A whole stream value of type 15 or 21."""
    if type not in (r.STREAM1, r.STREAM3):
        raise DecodeError(f"value type {type} is not a stream")
    entries: list[StreamEntry] = []
    meta = r.StreamMeta(type, b"")
    for element in decode_elements(type, raw):
        if isinstance(element, r.StreamNode):
            entries += decode_stream_node(element)
        elif isinstance(element, r.StreamMeta):
            meta = element
    info = decode_stream_meta(meta)
    return StreamValue(
        entries, info.length, info.last_id, info.first_id, info.max_deleted_id, info.entries_added, info.groups
    )
