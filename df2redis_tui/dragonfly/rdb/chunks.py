"""Tagged chunks (opcode 224): values that come in pieces, several at a time (protocol page §3.7)."""

from __future__ import annotations

from struct import Struct
from typing import Final

from df2redis_tui.dragonfly.rdb.entry import Outlet, read_entry
from df2redis_tui.dragonfly.rdb.source import BLOCK, Source, Steps

# A server has a handful open; each costs a suspended reader and what it holds of a value that may yet prove small.
_IDS_MOST: Final = 1024
_FEW: Final = 8
_SMALL_AMONG_MANY: Final = 1024  # bytes
_BYTES_MOST: Final = 576 * 1024**2  # of all together: room for an element as large as a target takes
_STEP: Final = 64 * 1024

_HEADER: Final = Struct("<II")


class OpenChunks:
    """The values that have begun in tagged chunks and not ended; each has its own source and its own reader."""

    __slots__ = ("_bytes", "_open", "_outlet")

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._open: dict[int, tuple[Source, Steps[None]]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    def read(self, src: Source, db: int) -> Steps[None]:
        """E0 u32le stream id, u32le payload length, payload: a piece of one value."""
        id, left = _HEADER.unpack((yield from src.take(8)))
        if not id or not left:
            raise src.fail("a tagged chunk has the id or the length 0")
        if id not in self._open:
            if len(self._open) >= _IDS_MOST:
                raise src.fail(f"more than {_IDS_MOST:,} values are open in tagged chunks")
            self._begin(id, db)
        chunk, steps = self._open[id]
        while left:
            # Not what happens to be there, so that an error is met at the same place however the stream is cut.
            piece = yield from src.take(min(left, _STEP))
            left -= len(piece)
            self._bytes -= chunk.held()
            chunk.add(piece)
            try:
                while next(steps) == BLOCK:
                    yield BLOCK
            except StopIteration:
                del self._open[id]
                if left or chunk.available():
                    raise src.fail("a tagged chunk goes on behind the end of its value") from None
                return
            self._bytes += chunk.held()
            if self._bytes > _BYTES_MOST:
                raise src.fail(f"unfinished values in tagged chunks hold more than {_BYTES_MOST:,} bytes")

    def _begin(self, id: int, db: int) -> None:
        small = self._outlet.small_limit
        if len(self._open) >= _FEW:
            small = min(small, _SMALL_AMONG_MANY)
        chunk = Source()
        self._open[id] = chunk, _entry(chunk, db, self._outlet, small)


def _entry(chunk: Source, db: int, outlet: Outlet, small: int) -> Steps[None]:
    op = yield from chunk.byte()
    yield from read_entry(chunk, op, db, outlet, small)
