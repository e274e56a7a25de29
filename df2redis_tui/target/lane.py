"""A lane: the one ordered connection of a FLOW to a target node, on which many parts are pipelined."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable

import anyio
import hiredis

from df2redis_tui.answers import shown
from df2redis_tui.errors import TargetError
from df2redis_tui.pipeline.signal import Signal
from df2redis_tui.streams import NEED_MORE, READ_SIZE, RespConnection
from df2redis_tui.target.answers import QUEUED, Denied, WrongAnswer, wrong_answer
from df2redis_tui.target.part import LOOKED_AT, SELECT, Part

SEND_SIZE = 4 * 1024**2  # bytes at once
OKS = b"+OK\r\n" * 60_000  # more than come at once
LINES = re.compile(rb"(?::\d++\r\n|\+OK\r\n|(?:\+QUEUED\r\n)++)*+")
LINE_MOST = 64 * 1024  # bytes
ARRAYS = (b"*", b"%", b"~", b">")
ENDLESS = re.compile(rb".\+?\d{9}")  # the head of one, or of none
REPLY_TIMEOUT = 120.0  # seconds without a byte while replies are due: the connection is taken for dead


class Unreadable(Exception):
    """The target does not read what was sent, and closes the connection."""


class Broken(Exception):
    """The connection can't be used any more, another one may do."""


class Lane:
    """Posts are sync; `run` writes them in order, reads the replies in order and tells `on_part` of each finished part.

    After `run` has returned, the lane is lost and its unfinished parts stand in `waiting` with `lost` set. The counters
    go on from those of the lane `before` it.
    """

    def __init__(
        self,
        node: str,
        connection: RespConnection,
        on_part: Callable[[Part], None],
        before: Lane | None = None,
    ) -> None:
        self.node = node
        self.waiting: deque[Part] = deque()
        self.lost = ""  # why it ended
        self.unreadable = ""  # why it would end so again
        self.fatal: TargetError | None = None  # why no other one will do
        self.db = 0
        self.latency = 0.0
        self.bytes_out: int = before.bytes_out if before is not None else 0
        self.commands: int = before.commands if before is not None else 0  # answered
        self.errors: int = before.errors if before is not None else 0  # error replies
        self._stream = connection.stream
        self._connection = connection
        self._on_part = on_part
        self._outbox: deque[Part] = deque()
        self._posted = Signal()
        self._uncounted: deque[Part] = deque()
        self._astray = ""  # why it may not be in the database that `db` says

    def silent_for(self) -> float:
        """Seconds since the oldest part that waits for replies was written."""
        sent = self.waiting[0].sent_at if self.waiting else 0.0
        return time.monotonic() - sent if sent else 0.0

    def post(self, part: Part) -> None:
        # Values of a snapshot are many bytes, and no such command.
        journal = any(block.lsns is not None for block in part.batch.blocks)
        part.looked_at = journal and any(command in part.wire for command in LOOKED_AT)
        part.values = not journal and all(len(b.commands) == b.kinds.get("string") for b in part.batch.blocks)
        if not part.counted:
            self._uncounted.append(part)
        self.waiting.append(part)
        self._outbox.append(part)
        self._posted.set()

    async def run(self) -> None:
        """Until the connection ends or `aclose` is called."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write)
                await self._read()
                tasks.cancel_scope.cancel()
        except* (anyio.EndOfStream, anyio.ClosedResourceError):
            self.lost = self.lost or "the target closed the connection"
        except* (anyio.BrokenResourceError, OSError):
            self.lost = self.lost or "the connection broke"
        except* Broken as group:
            self.lost = str(group.exceptions[0])
        except* Unreadable as group:
            self.lost = self.unreadable = f"the target refused what was sent: {group.exceptions[0]}"
        except* (WrongAnswer, Denied) as group:
            why = group.exceptions[0]
            assert isinstance(why, (WrongAnswer, Denied))
            self.fatal, self.lost = wrong_answer(self.node, why), str(why)
        except* (hiredis.ProtocolError, MemoryError) as group:
            why_not = Denied(f"speaks no RESP ({group.exceptions[0] or 'no memory for the length it announces'})")
            self.fatal, self.lost = wrong_answer(self.node, why_not), str(why_not)
        finally:
            self.lost = self.lost or "closed"
            for part in self.waiting:
                part.lost = True
            await anyio.aclose_forcefully(self._stream)

    async def aclose(self) -> None:
        self.lost = self.lost or "closed"
        await self._connection.aclose()

    async def _write(self) -> None:
        while True:
            while self._outbox:
                part = self._outbox.popleft()
                wire, part.wire = part.wire, b""
                part.sent_at = time.monotonic()
                self.bytes_out += len(wire)
                if len(wire) <= SEND_SIZE:
                    await self._stream.send(wire)
                    continue
                # The transport would keep a copy of all that the socket does not take at once.
                view = memoryview(wire)
                for at in range(0, len(wire), SEND_SIZE):
                    await self._stream.send(bytes(view[at : at + SEND_SIZE]))
            await self._posted.wait()

    async def _read(self) -> None:
        reader = hiredis.Reader(notEnoughData=NEED_MORE)
        receive = self._stream.receive
        tail = b""
        # The reader takes type bytes and headers of arrays out of its buffer at once: what `has_data` does not tell.
        whole = True  # what it got ends with a line's end
        arrays = False  # an array may have begun in it
        while True:
            with anyio.move_on_after(REPLY_TIMEOUT):
                data = tail + await receive(READ_SIZE) if tail else await receive(READ_SIZE)
                tail = b""
                begins = whole and not reader.has_data()  # with a reply
                if begins and not (self._uncounted or self._astray or (arrays and self._array_due())):
                    arrays = False
                    # Only `+…` and `:…` lines in front of an EXEC's array: count them instead of parsing them.
                    star = data.find(b"*")
                    end = data.rfind(b"\r\n", 0, star if star >= 0 else len(data)) + 2
                    if end < 2 and star < 0 and b"-" not in data and b"$" not in data:
                        if len(data) > LINE_MOST:
                            raise Denied("answers a line that has no end")
                        tail = data
                        continue
                    if end >= 2 and self._lines(data, end):
                        data = data[end:]
                        if star < 0 and b"-" not in data and b"$" not in data:
                            tail = data
                            continue
                if begins and data[:1] in ARRAYS:
                    if ENDLESS.match(data):
                        raise Denied("announces an answer that is longer than any batch")
                    if b"\r" not in data:
                        tail = data
                        continue
                reader.feed(data)
                replies = 0
                while (reply := reader.gets()) is not NEED_MORE:
                    self._reply(reply)
                    replies += 1
                whole = data.endswith(b"\r\n")
                arrays = b"*" in data or (arrays and not replies)
                continue
            if self.waiting and time.monotonic() - self.waiting[0].sent_at > REPLY_TIMEOUT:
                self.lost = f"no reply for {REPLY_TIMEOUT:g} s"
                return

    def _array_due(self) -> bool:
        return bool(self.waiting) and self.waiting[0].array_due

    def _lines(self, data: bytes, end: int) -> bool:
        """Take the replies in data[:end], whole lines, where they are what is due. If not, none is taken, and each of
        them has to be looked at."""
        if OKS.startswith(data[:end]):
            lines = oks = end // 5
            queued = 0
        else:
            if LINES.fullmatch(data, 0, end) is None:
                return False
            lines, queued = data.count(b"\r\n", 0, end), data.count(b"+QUEUED\r\n", 0, end)
            oks = data.count(b"+OK\r\n", 0, end)
        left, queued_due, oks_due = lines, 0, 0
        for part in self.waiting:
            count = min(left, part.replies - part.seen)
            due = part.lines_due(count)
            if due is None:
                return False
            queued_due += due[0]
            oks_due += due[1]
            left -= count
            if not left:
                break
        if left or queued != queued_due or oks < oks_due:
            return False
        self._successes(lines)
        return True

    def _successes(self, count: int) -> None:
        waiting = self.waiting
        while count:
            part = waiting[0]
            due = part.replies - part.seen
            if count < due:
                part.seen += count
                return
            count -= due
            part.seen = part.replies
            self._finish()

    def _reply(self, reply: object) -> None:
        if reply == QUEUED and self.waiting and self.waiting[0].queued():
            return
        failed = isinstance(reply, hiredis.ReplyError)
        if failed and str(reply).startswith("ERR Protocol error"):
            raise Unreadable(str(reply))
        if not self.waiting:
            if failed:
                raise Broken(f"the target said {shown(reply)}")
            raise Denied(f"answered {shown(reply)} to nothing")
        part = self.waiting[0]
        if self._astray or (part.layout is not None and part.layout[part.seen] == SELECT):
            self._look_at_database(part, reply, failed)
        part.take(reply)
        if part.seen == part.replies:
            self._finish()
            if self._astray and not self.waiting:
                self.lost = f"the target refused SELECT: {self._astray}"
                raise Broken(self.lost)

    def _look_at_database(self, part: Part, reply: object, failed: bool) -> None:
        """A SELECT that is refused for now leaves the connection in the database in which it was: it is given up as
        soon as all has been answered, and nothing may have been written there."""
        if part.inside:
            return
        mark = part.layout[part.seen] if part.layout is not None else part.seen
        if mark == SELECT:
            self._astray = str(reply) if failed else ""
        elif self._astray and mark >= 0 and not failed:
            raise Denied(f"took a command in another database than the one it refused to select ({self._astray})")

    def _finish(self) -> None:
        part = self.waiting.popleft()
        if self._uncounted and self._uncounted[0] is part:
            self._uncounted.popleft()
        self.commands += len(part.commands)
        self.errors += len(part.failures)
        took = time.monotonic() - part.sent_at
        self.latency = took if not self.latency else self.latency * 0.9 + took * 0.1
        self._on_part(part)
