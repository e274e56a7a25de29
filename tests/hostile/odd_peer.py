"""A proxy that understands RESP and gives one command's answer itself: an odd one. Everything else passes through."""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import threading
from dataclasses import dataclass

from tests.support.grumbler import read_reply
from tests.support.player.resp import read_command


@dataclass(frozen=True, slots=True)
class Odd:
    """What is answered, and what then becomes of the connection: it goes on, is closed, or nobody says anything."""

    name: str
    data: bytes
    then: str = "go on"

    @property
    def waits(self) -> bool:
        """Whether more is to be expected: the run may wait for it, until it is ended."""
        return self.then == "silence"


@dataclass(frozen=True, slots=True)
class Step:
    """A command by its first words (patterns), the first `passed` of which get their own answer."""

    words: tuple[str, ...]
    passed: int = 0

    def __str__(self) -> str:
        return " ".join(self.words) + (f" after {self.passed}" if self.passed else "")

    def matches(self, argv: list[bytes]) -> bool:
        found = [word.decode("latin-1").upper() for word in argv[: len(self.words)]]
        return len(found) == len(self.words) and all(
            fnmatch.fnmatchcase(word, pattern.upper()) for word, pattern in zip(found, self.words, strict=True)
        )


class OddPeer:
    """Forwards 127.0.0.1:`port` to `upstream`; a context manager. `reached` is set when the odd answer was given, which
    `given` counts. `behave` ends it."""

    def __init__(self, upstream: int, step: Step, odd: Odd) -> None:
        self.reached = threading.Event()
        self.given = 0
        self.behave = False
        self.port = 0
        self._upstream = upstream
        self._step = step
        self._odd = odd
        self._passed = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="odd peer", daemon=True)

    def __enter__(self) -> OddPeer:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the proxy does not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
            due: asyncio.Queue[Odd | None] = asyncio.Queue()  # None: the server's own answer
            back = asyncio.create_task(self._back(server_reader, writer, due))
            try:
                await self._forth(reader, server_writer, due)
            finally:
                back.cancel()
                writer.close()
                server_writer.close()

    async def _forth(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, due: asyncio.Queue) -> None:  # type: ignore[type-arg]
        while argv := await read_command(reader):
            if self._is_due(argv):
                due.put_nowait(self._odd)
                continue
            server.write(b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in argv))
            if [word.upper() for word in argv[:2]] == [b"REPLCONF", b"ACK"]:
                continue  # it has no answer
            due.put_nowait(None)
            if [word.upper() for word in argv[:2]] == [b"DFLY", b"FLOW"]:
                due.put_nowait(Odd("raw", b"", "raw"))
            await server.drain()

    def _is_due(self, argv: list[bytes]) -> bool:
        if self.behave or not self._step.matches(argv):
            return False
        self._passed += 1
        return self._passed > self._step.passed

    async def _back(self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, due: asyncio.Queue) -> None:  # type: ignore[type-arg]
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
            while True:
                odd = await due.get()
                if odd is None:
                    writer.write(await read_reply(server))
                elif odd.then == "raw":
                    while data := await server.read(65536):
                        writer.write(data)
                        await writer.drain()
                    break
                else:
                    writer.write(odd.data)
                    self.given += 1
                    self.reached.set()
                    if odd.then == "close":
                        break
                    if odd.then == "silence":
                        await writer.drain()
                        await asyncio.Event().wait()
                await writer.drain()
        writer.close()
