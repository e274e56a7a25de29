"""The embedded backend's own replication stream: every effect of every write, in execution order.

Valkey has already resolved what is random, relative or nested: SPOP is SREM, TTLs are absolute, XADD has its id,
MULTI and scripts are their inner commands, an expiry is a DEL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import hiredis

from df2redis_tui.demo.embedded import EmbeddedValkey
from df2redis_tui.demo.resp import pack


class BackendStream:
    """Joined as a replica of an empty backend. `offset` counts the stream's bytes as the backend's ROLE does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.offset = 0

    @classmethod
    async def join(cls, server: EmbeddedValkey) -> BackendStream:
        reader, writer = await asyncio.open_unix_connection(server.socket_path, limit=1 << 20)
        for line in (b"REPLCONF listening-port 1\r\n", b"REPLCONF capa eof capa psync2\r\n"):
            writer.write(line)
            await reader.readline()
        writer.write(b"PSYNC ? -1\r\n")
        answer = (await reader.readline()).split()
        line = b""
        while not line.startswith(b"$EOF:"):  # empty lines keep the connection alive until the transfer begins
            line = await reader.readline()
        await reader.readuntil(line[5:].strip())
        stream = cls(reader, writer)
        stream.offset = int(answer[2])
        return stream

    async def acknowledge(self) -> None:
        """Send ACKs for ever. The backend starts the stream at the first one it gets after its transfer has ended."""
        begin = self.offset
        while True:
            self._writer.write(pack((b"REPLCONF", b"ACK", b"%d" % self.offset)))
            await asyncio.sleep(0.01 if self.offset == begin else 1)

    async def batches(self) -> AsyncIterator[tuple[list[list[bytes]], int]]:
        """Commands as they arrive, and the offset that is reached when they have been dealt with."""
        parser = hiredis.Reader()
        while data := await self._reader.read(1 << 17):
            parser.feed(data)
            commands: list[list[bytes]] = []
            while (command := parser.gets()) is not False:
                commands.append(command)
            self.offset += len(data)
            # A command cut at the end of `data` ends behind any offset the backend can have named so far.
            yield commands, self.offset

    def close(self) -> None:
        self._writer.close()
