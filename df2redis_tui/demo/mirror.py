"""A second embedded server that holds the state exactly at the journal's position.

The backend runs ahead of the journal; what a RENAME moved or what a key held when the snapshot reached it can't be
asked there. The mirror is written by one pipelined connection only, so a query in that pipeline sees precisely the
commands before it. It runs in import mode: it expires nothing by itself, the backend's DELs do that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import hiredis

from df2redis_tui.demo.embedded import EmbeddedValkey
from df2redis_tui.demo.resp import pack

Reply = object
Done = Callable[[list[Reply]], None]

_PENDING_LIMIT: Final = 4096
IMPORT_OPTIONS: Final = (
    "--import-mode",
    "yes",
    "--rdbcompression",
    "no",
    "--maxmemory",
    "0",
)


class MirrorDiverged(RuntimeError):
    """The mirror refused a command that the backend had executed: the journal can't be trusted any more."""


class Mirror:
    """The ordered pipeline. `request` is synchronous: call order is execution order, and `done` callbacks run in it
    too.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, after_read: Callable[[], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._after_read = after_read
        self._pending: deque[tuple[int, Done | None]] = deque()
        self._out: list[bytes] = []
        self._room = asyncio.Event()
        self._room.set()
        self._db = 0

    @classmethod
    async def connect(cls, server: EmbeddedValkey, after_read: Callable[[], None]) -> Mirror:
        reader, writer = await asyncio.open_unix_connection(server.socket_path, limit=1 << 20)
        writer.transport.set_write_buffer_limits(high=8 << 20)
        mirror = cls(reader, writer, after_read)
        mirror.request([(b"CLIENT", b"IMPORT-SOURCE", b"ON")], None)
        return mirror

    def select(self, db: int) -> None:
        """Database of the requests that follow."""
        if db != self._db:
            self._db = db
            self.request([(b"SELECT", b"%d" % db)], None)

    def request(self, commands: Sequence[Sequence[bytes]], done: Done | None) -> None:
        """Queue commands; `done` gets their replies (hiredis objects, errors included) when all before are done."""
        self._out += [pack(command) for command in commands]
        self._pending.append((len(commands), done))
        if len(self._pending) > _PENDING_LIMIT:
            self._room.clear()

    def flush(self) -> None:
        if self._out:
            self._writer.write(b"".join(self._out))
            self._out.clear()

    async def room(self) -> None:
        """Wait until the pipeline is short enough to add to it."""
        self.flush()
        await self._room.wait()
        await self._writer.drain()

    async def ask(self, *commands: Sequence[bytes], db: int | None = None) -> list[Reply]:
        """Replies of commands at the present position of the pipeline."""
        future: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
        if db is not None:
            self.select(db)
        self.request(commands, lambda replies: None if future.done() else future.set_result(replies))
        self.flush()
        return await future

    async def run(self) -> None:
        """Read replies and run the callbacks, for ever."""
        parser = hiredis.Reader()
        replies: list[Reply] = []
        while data := await self._reader.read(1 << 18):
            parser.feed(data)
            while (reply := parser.gets()) is not False:
                replies.append(reply)
                if len(replies) < self._pending[0][0]:
                    continue
                done = self._pending.popleft()[1]
                if done is not None:
                    done(replies)
                replies = []
            if len(self._pending) < _PENDING_LIMIT // 2:
                self._room.set()
            self._after_read()
        raise MirrorDiverged("the mirror's connection ended")

    def close(self) -> None:
        self._writer.close()
