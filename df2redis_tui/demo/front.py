"""One client connection of the look-alike: commands go through to the backend, replication commands are answered here.

A client has its own upstream connection, so transactions, subscriptions, blocking commands and the selected
database are the backend's business.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import hiredis

from df2redis_tui.demo.flow_stream import FlowStream
from df2redis_tui.demo.resp import pack
from df2redis_tui.demo.session import Session
from df2redis_tui.demo.valkey_dump import as_dragonfly_dumps

if TYPE_CHECKING:
    from df2redis_tui.demo.source import LookAlike

_REFUSED: Final = frozenset((b"SWAPDB", b"PSYNC", b"SYNC", b"REPLICAOF", b"SLAVEOF", b"FAILOVER", b"MIGRATE"))
_HERE: Final = frozenset(
    (b"ACL", b"CLUSTER", b"AUTH", b"HELLO", b"REPLCONF", b"DFLY", b"INFO", b"ROLE", b"CLIENT", b"QUIT", *_REFUSED)
)
_FOREVER: Final = frozenset((b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"MONITOR"))


def simple(text: str) -> bytes:
    """A RESP simple string."""
    return b"+" + text.encode() + b"\r\n"


def error(text: str) -> bytes:
    """A RESP error."""
    return b"-" + text.encode() + b"\r\n"


def integer(number: int) -> bytes:
    """A RESP integer."""
    return b":%d\r\n" % number


def bulk(text: bytes) -> bytes:
    """A RESP bulk string."""
    return b"$%d\r\n%s\r\n" % (len(text), text)


def array(items: list[bytes]) -> bytes:
    """Already encoded items."""
    return b"*%d\r\n" % len(items) + b"".join(items)


def reply_of(reply: object) -> bytes:
    """A reply (RESP2) as hiredis gave it, with DUMP's payloads as Dragonfly's own."""
    if isinstance(reply, list):
        return array([reply_of(item) for item in reply])
    if isinstance(reply, bytes):
        return bulk(as_dragonfly_dumps(reply))
    if isinstance(reply, int):
        return integer(reply)
    return error(str(reply)) if isinstance(reply, Exception) else b"$-1\r\n"


SYNTAX: Final = error("ERR syntax error")
OK: Final = simple("OK")


class CommandParser:
    """Commands from any split of the input: inline lines until the first RESP array, from then on arrays."""

    def __init__(self) -> None:
        self._resp = hiredis.Reader()
        self._rest = bytearray()
        self._in_array = False

    def feed(self, data: bytes) -> list[list[bytes]]:
        commands: list[list[bytes]] = []
        if not self._in_array and not self._rest and data[:1] == b"*":
            self._in_array = True
        if not self._in_array:
            self._rest += data
            while self._rest and not self._in_array:
                if self._rest[:1] == b"*":
                    self._in_array = True
                    data = bytes(self._rest)
                    self._rest.clear()
                    break
                line, found, after = self._rest.partition(b"\n")
                if not found:
                    return commands
                self._rest = bytearray(after)
                if words := bytes(line).split():
                    commands.append(words)
            if not self._in_array:
                return commands
        self._resp.feed(data)
        while (command := self._resp.gets()) is not False:
            if isinstance(command, list) and command and all(isinstance(word, bytes) for word in command):
                commands.append(command)
        return commands


class Client:
    """State of one accepted connection."""

    def __init__(self, source: LookAlike, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.source = source
        self.reader = reader
        self.writer = writer
        self.authenticated = source.password is None
        self.session: Session | None = None  # of this control connection
        self.flow: FlowStream | None = None  # once DFLY FLOW was answered
        self.flow_session: Session | None = None
        self.listening_port = 0
        self.announced_ip = ""
        self._upstream: asyncio.StreamWriter | None = None
        self._pump: asyncio.Task[None] | None = None
        self._waiting = 0  # replies that the upstream owes
        self._idle = asyncio.Event()
        self._idle.set()
        self._uncounted = False
        self._dumps = False  # replies may hold DUMP payloads
        self._in_multi = False
        self._multi_writes = False

    @property
    def transport(self) -> asyncio.WriteTransport:
        return self.writer.transport

    async def run(self) -> None:
        parser = CommandParser()
        try:
            while data := await self.reader.read(1 << 16):
                await self.source.reading.wait()
                try:
                    commands = parser.feed(data)
                except hiredis.ProtocolError:
                    self.writer.write(error("ERR Protocol error"))
                    return
                if not await self._handle(commands):
                    return
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            if self._pump is not None:
                self._pump.cancel()
            if self._upstream is not None:
                self._upstream.close()
            self.writer.close()
            self.source.connection_closed(self)

    async def _handle(self, commands: list[list[bytes]]) -> bool:
        """Work off one read; False ends the connection."""
        out: list[bytes] = []
        for command in commands:
            name = command[0].upper()
            if not self.authenticated and name not in (b"AUTH", b"HELLO", b"QUIT"):
                await self._send_upstream(out)
                self._answer(error("NOAUTH Authentication required."))
                continue
            if name in _HERE and not (name == b"CLIENT" and not self._is_pause(command)):
                await self._send_upstream(out)
                await self._settle()
                if name == b"QUIT":
                    self._answer(OK)
                    return False
                reply = await self.source.replication.answer(self, name, command)
                if reply is None:
                    out.append(pack(command))
                else:
                    self._answer(reply)
                continue
            if self.source.taken_over and name != b"PING":
                await self._send_upstream(out)
                await self._settle()
                self._answer(self.source.taken_over_error)
                continue
            if self._writes(name) and not self.source.journal.writable.is_set():
                await self._send_upstream(out)
                await self.source.journal.writable.wait()
            if self.source.paused_all:
                await self._send_upstream(out)
                await self.source.pause_over()
            if name == b"DUMP" and not self._dumps:
                await self._send_upstream(out)
                await self._settle()
                self._dumps = not self._uncounted
            if name in _FOREVER:
                self._uncounted = True
            out.append(pack(command))
        await self._send_upstream(out)
        return True

    @staticmethod
    def _is_pause(command: list[bytes]) -> bool:
        return len(command) > 1 and command[1].upper() in (b"PAUSE", b"UNPAUSE")

    def _writes(self, name: bytes) -> bool:
        if name == b"MULTI":
            self._in_multi, self._multi_writes = True, False
            return False
        writes = name in self.source.write_commands
        if self._in_multi:
            self._multi_writes |= writes
            if name in (b"EXEC", b"DISCARD"):
                self._in_multi = False
                return name == b"EXEC" and self._multi_writes
            return False
        return writes

    def _answer(self, reply: bytes) -> None:
        if reply:
            self.writer.write(reply)

    async def _settle(self) -> None:
        """Wait until the replies before this one have gone to the client."""
        if not self._uncounted:
            await self._idle.wait()

    async def _send_upstream(self, out: list[bytes]) -> None:
        if not out:
            return
        if self._upstream is None:
            reader, self._upstream = await asyncio.open_unix_connection(self.source.backend.socket_path, limit=1 << 18)
            self._pump = asyncio.create_task(self._pump_replies(reader))
        self._waiting += len(out)
        self._idle.clear()
        self._upstream.write(b"".join(out))
        out.clear()
        await self._upstream.drain()

    async def _pump_replies(self, reader: asyncio.StreamReader) -> None:
        nothing = object()  # RESP3 has a false of its own
        counter = hiredis.Reader(notEnoughData=nothing)
        with suppress(OSError):
            while data := await reader.read(1 << 17):
                if not self._dumps:
                    self.writer.write(data)
                if not self._uncounted:
                    counter.feed(data)
                    while (reply := counter.gets()) is not nothing:
                        if self._dumps:
                            self.writer.write(reply_of(reply))
                        if not isinstance(reply, hiredis.PushNotification):
                            self._waiting -= 1
                    if self._waiting <= 0:
                        self._idle.set()
                await self.writer.drain()
        self.writer.close()
