"""Bytes that arrive in pieces, for decoders written as generators.

A decoder that lacks bytes yields `NEED` and is resumed when more may be there; one that has filled a block of records,
or has read `TURN` fields without doing so, yields `BLOCK`. Nothing is parsed twice: what was consumed is gone, and what
is waited for (`wanted` bytes) is joined once, when all of it has come, so that tiny pieces cost no more than big ones.
"""

from __future__ import annotations

from collections.abc import Generator
from io import BytesIO
from typing import ClassVar, Final, TypeVar

from df2redis_tui.dragonfly.rdb import lzf
from df2redis_tui.dragonfly.rdb.lengths import ENC_LZF, INT_WIDTH, MAX_STRING, check_string_length
from df2redis_tui.errors import DecodeError

NEED: Final = 0
BLOCK: Final = 1
TURN: Final = 16_384  # fields: some 20 ms
LZF_AT_ONCE: Final = 16 * 1024  # bytes of compressed text: some 10 ms
UNPACKED_MOST: Final = 512 * 1024**2  # bytes; an LZF string that has to be held whole

T = TypeVar("T")
Steps = Generator[int, None, T]


class Tape:
    """Keeps the bytes a source consumes from a point on, exactly as they stood."""

    __slots__ = ("begin", "pieces", "start")

    def __init__(self, start: int, begin: int) -> None:
        self.pieces: list[bytes] = []
        self.start = start
        self.begin = begin


class Source:
    """A window `data[pos:]` on a byte stream, and the pieces behind it. `base` is the stream position of data[0]."""

    __slots__ = ("_pending", "_pending_bytes", "_tapes", "_turn", "aside", "base", "data", "pos", "wanted")

    held_most: ClassVar[int] = MAX_STRING  # bytes that one item may need at once

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.pos = 0
        self.base = 0
        self.wanted = 0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._tapes: list[Tape] = []
        self._turn = TURN
        self.aside = 0  # bytes that have been read of an item that is not complete

    def add(self, data: bytes) -> None:
        if data:
            self._pending.append(data)
            self._pending_bytes += len(data)

    def available(self) -> int:
        return len(self.data) - self.pos + self._pending_bytes

    def tell(self) -> int:
        """Bytes consumed since the source began."""
        return self.base + self.pos

    def held(self) -> int:
        """Bytes in memory: what has not been consumed, what is on tapes, what is laid aside."""
        taped = self.tell() - min(tape.begin for tape in self._tapes) if self._tapes else 0
        return self.available() + taped + self.aside

    def fail(self, reason: str) -> DecodeError:
        return DecodeError(reason, context=self.data[self.pos : self.pos + 16])

    def pull(self) -> Steps[None]:
        """Try to get more bytes; a source that can't have any raises DecodeError."""
        yield NEED

    def need(self, count: int) -> Steps[None]:
        """Return when `count` bytes stand in the window."""
        if count > self.held_most:
            raise self.fail(f"an item of {count:,} bytes is to be held at once where {self.held_most:,} are the most")
        while self.available() < count:
            self.wanted = count
            yield from self.pull()
        if len(self.data) - self.pos < count:
            self._join()

    def _join(self) -> None:
        data, pos = self.data, self.pos
        for tape in self._tapes:
            tape.pieces.append(data[tape.start : pos])
            tape.start = 0
        rest = data[pos:]
        if rest:
            self._pending.insert(0, rest)
        self.data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self.base += pos
        self.pos = 0
        self._pending.clear()
        self._pending_bytes = 0

    def spend(self, fields: int) -> None:
        """Count work that costs as much as reading so many fields."""
        self._turn -= fields

    def give_turn(self) -> Steps[None]:
        """Let others run before more of the same is read."""
        self._turn = TURN
        yield BLOCK

    def start_tape(self) -> Tape:
        tape = Tape(self.pos, self.base + self.pos)
        self._tapes.append(tape)
        return tape

    def stop_tape(self, tape: Tape) -> bytes:
        """The bytes consumed since the tape was started."""
        self._tapes.remove(tape)
        last = self.data[tape.start : self.pos]
        if not tape.pieces:
            return last
        tape.pieces.append(last)
        return b"".join(tape.pieces)

    def drop_tape(self, tape: Tape) -> None:
        self._tapes.remove(tape)
        tape.pieces.clear()

    def take_some(self, limit: int) -> Steps[bytes]:
        """Between 1 and `limit` bytes, what is there."""
        self._turn -= 1
        if self._turn < 0:
            yield from self.give_turn()
        if self.pos >= len(self.data):
            yield from self.need(1)
        pos, data = self.pos, self.data
        stop = min(pos + limit, len(data))
        self.pos = stop
        return data if not pos and stop == len(data) else data[pos:stop]

    def take(self, count: int) -> Steps[bytes]:
        self._turn -= 1
        if self._turn < 0:
            yield from self.give_turn()
        stop = self.pos + count
        if stop > len(self.data):
            yield from self.need(count)
            stop = self.pos + count
        piece = self.data[self.pos : stop]
        self.pos = stop
        return piece

    def take_large(self, count: int) -> Steps[bytes]:
        """As `take`, without ever holding what has come twice."""
        taken = BytesIO()
        while count:
            piece = yield from self.take_some(count)
            taken.write(piece)
            count -= len(piece)
        return taken.getvalue()  # its own buffer, not a copy

    def skip(self, count: int) -> Steps[None]:
        """Consume `count` bytes without keeping them."""
        self._turn -= 1
        if self._turn < 0:
            yield from self.give_turn()
        while count:
            if self.pos >= len(self.data):
                yield from self.need(1)
            step = min(count, len(self.data) - self.pos)
            self.pos += step
            count -= step

    def byte(self) -> Steps[int]:
        self._turn -= 1
        if self._turn < 0:
            yield from self.give_turn()
        if self.pos >= len(self.data):
            yield from self.need(1)
        self.pos += 1
        return self.data[self.pos - 1]

    def length(self) -> Steps[int]:
        """A LEN (protocol page §3.2); also the journal's packed integers."""
        self._turn -= 1
        if self._turn < 0:
            yield from self.give_turn()
        if self.pos >= len(self.data):
            yield from self.need(1)
        first = self.data[self.pos]
        if first < 64:
            self.pos += 1
            return first
        if first < 128:
            pair = yield from self.take(2)
            return (first & 63) << 8 | pair[1]
        if first == 0x80:
            return int.from_bytes((yield from self.take(5))[1:], "big")
        if first == 0x81:
            return int.from_bytes((yield from self.take(9))[1:], "big")
        raise self.fail(f"{first:02X} does not begin a length")

    def string(self) -> Steps[bytes]:
        """A STR decoded (protocol page §3.3): integers as decimal text, LZF decompressed."""
        if self.pos >= len(self.data):
            yield from self.need(1)
        if self.data[self.pos] < 0xC0:
            length = yield from self.length()
            return (yield from self.take(check_string_length(length)))
        return (yield from self.special_string())

    def special_string(self) -> Steps[bytes]:
        """A STR whose first byte (it is in the window) says that it is not plain bytes."""
        first = self.data[self.pos]
        width = INT_WIDTH.get(first)
        if width is not None:
            packed = yield from self.take(width + 1)
            return b"%d" % int.from_bytes(packed[1:], "little", signed=True)
        if first != ENC_LZF:
            raise self.fail(f"{first:02X} does not begin a string")
        length, size = yield from self.lzf_lengths()
        return (yield from self.unpacked(length, size))

    def lzf_lengths(self) -> Steps[tuple[int, int]]:
        """The lengths, packed and real, of an LZF string whose first byte is in the window."""
        self.pos += 1
        length = check_string_length((yield from self.length()))
        size = check_string_length((yield from self.length()))
        return length, size

    def unpacked(self, length: int, size: int) -> Steps[bytes]:
        """The LZF text whose packed `length` bytes come next, as a whole."""
        self.spend(length)
        if length <= LZF_AT_ONCE:
            return lzf.decompress((yield from self.take(length)), size)
        most = min(UNPACKED_MOST, self.held_most)
        if size > most:
            raise self.fail(f"an LZF string of {size:,} bytes is to be held at once where {most:,} are the most")
        packed, whole = PackedText(self, length, size), BytesIO()
        while piece := (yield from packed.piece()):
            whole.write(piece)
            self.aside += len(piece)
        self.aside -= size
        return whole.getvalue()


class PackedText:
    """An LZF string that is decompressed as it is read."""

    __slots__ = ("_decompressor", "_left", "_src", "size")

    def __init__(self, src: Source, packed: int, size: int) -> None:
        self.size = size
        self._src = src
        self._left = packed
        self._decompressor = lzf.Decompressor(packed, size)

    def piece(self) -> Steps[bytes]:
        """What comes next, at most some 1.4 MiB; b"" at the end."""
        while self._left:
            # Not what happens to be there: what is damaged fails at the same place, however the stream is cut.
            packed = yield from self._src.take(min(self._left, LZF_AT_ONCE))
            self._left -= len(packed)
            piece = self._decompressor.feed(packed)
            if self._left:
                yield from self._src.give_turn()
            if piece:
                return piece
        self._decompressor.finish()
        return b""


class Held(Source):
    """A source that is all there, and whose reader gives turns."""

    __slots__ = ()

    def pull(self) -> Steps[None]:
        raise self.fail("the value is cut short")
        yield NEED


class Whole(Held):
    """A source that is all there, read in one go."""

    __slots__ = ()

    def give_turn(self) -> Steps[None]:
        """Nobody waits who could take a turn."""
        self._turn = TURN
        return
        yield BLOCK
