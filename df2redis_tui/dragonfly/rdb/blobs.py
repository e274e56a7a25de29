"""Compressed blobs (opcodes 201 zstd, 202 LZ4 frame): a source fed by another one, decompressed step by step.

The sizes that frames declare are not looked at; output is bounded per step, so a blob of any expansion costs a
constant amount of memory.
"""

from __future__ import annotations

import sys
from typing import Final, Protocol, cast

from lz4.frame import LZ4FrameDecompressor

from df2redis_tui.dragonfly.rdb.source import Source, Steps

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor
else:
    from backports.zstd import ZstdDecompressor

ZSTD, LZ4 = 201, 202

_STEP_IN: Final = 256 * 1024
_STEP_OUT: Final = 1024 * 1024
_HELD_MOST: Final = 16 * 1024 * 1024  # bytes; a server's blob holds one megabyte in all


class _Decompressor(Protocol):
    eof: bool
    needs_input: bool
    unused_data: bytes | None

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class BlobSource(Source):
    """The content of one compressed blob, whose `left` bytes follow in `outer`."""

    __slots__ = ("_decompressor", "_left", "_outer")

    held_most = _HELD_MOST

    def __init__(self, outer: Source, opcode: int, left: int) -> None:
        super().__init__()
        self._outer = outer
        self._left = left
        made = LZ4FrameDecompressor() if opcode == LZ4 else ZstdDecompressor()
        self._decompressor = cast(_Decompressor, made)

    def pull(self) -> Steps[None]:
        if not (yield from self._step()):
            raise self.fail("an item passes the end of its compressed blob")

    def ended(self) -> Steps[bool]:
        """True when the content is used up and the frame is complete; else there are bytes in the window."""
        if self.available() or (yield from self._step()):
            yield from self.need(1)
            return False
        return True

    def _step(self) -> Steps[bool]:
        """Decompress some more; False at the frame's end."""
        decompressor = self._decompressor
        idle = 0
        while not decompressor.eof:
            piece = b""
            if decompressor.needs_input:
                if not self._left:
                    raise self._outer.fail("a compressed blob ends before its frame does")
                # Not what happens to be there: a damaged frame gives as much, and fails at the same place, however the
                # stream is cut.
                piece = yield from self._outer.take(min(self._left, _STEP_IN))
                self._left -= len(piece)
            try:
                content = decompressor.decompress(piece, _STEP_OUT)
            except Exception as error:  # each library has errors of its own, lz4 plain RuntimeError
                raise self._outer.fail(f"a compressed blob is damaged ({type(error).__name__})") from None
            if content:
                self.add(content)
                return True
            idle = 0 if piece else idle + 1
            if idle > 2:
                raise self._outer.fail("a compressed blob gives nothing")
        if self._left or decompressor.unused_data:
            raise self._outer.fail("bytes are left behind the frame of a compressed blob")
        return False
