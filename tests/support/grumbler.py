"""A proxy that understands RESP and, while told to, answers commands itself with an error: LOADING, BUSY and the like.

It does what a server does: errors come at their place in the order of the replies, and a transaction is refused as a
whole (each of its commands with the error, EXEC with EXECABORT).
"""

from __future__ import annotations

import asyncio
import threading

from tests.support.player.resp import read_command

ALWAYS_ANSWERED = {
    b"PING",
    b"INFO",
    b"CLIENT",
    b"AUTH",
    b"HELLO",
    b"SELECT",
    b"CONFIG",
    b"COMMAND",
    b"ROLE",
    b"CLUSTER",
}
FORWARDED = object()


class Answers:
    """What each command of a connection gets, in order, and whether it gets it; whether a transaction was refused."""

    def __init__(self) -> None:
        self.due: asyncio.Queue[object] = asyncio.Queue()
        self.silent = False
        self.refused = False


class Grumbler:
    """Forwards 127.0.0.1:`port` to `upstream`; `error` (without "-") is what commands get while it is set.

    `refuse_next` refuses the next transaction only; `behind` counts those that were forwarded on its connection since.
    With `then_silent` that connection gets no answer from there on, while the server gets everything.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.error: str | None = None
        self.refused = 0
        self.refuse_next = False
        self.then_silent = False
        self.behind = 0
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="grumbler", daemon=True)

    def __enter__(self) -> Grumbler:
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
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        answers = Answers()
        try:
            async with asyncio.TaskGroup() as group:
                back = group.create_task(self._back(server_reader, writer, answers))
                await self._forth(reader, server_writer, answers)
                back.cancel()
        except* (OSError, asyncio.IncompleteReadError):
            pass
        except* asyncio.CancelledError:
            pass
        finally:
            writer.close()
            server_writer.close()

    async def _forth(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, answers: Answers) -> None:
        transaction: str | None = None  # None outside, "" inside a forwarded one, else the error of a refused one
        inside = False
        while argv := await read_command(reader):
            name = argv[0].upper()
            refuse = transaction if inside else self.error
            answer: object = FORWARDED
            if name == b"MULTI":
                inside, transaction = True, self.error or ""
                if self.refuse_next:
                    self.behind, answers.silent, answers.refused = 0, self.then_silent, True
                    self.refuse_next = False
                    transaction = "OOM command not allowed when used memory > 'maxmemory'."
                answer = FORWARDED if not transaction else b"+OK\r\n"
            elif name in (b"EXEC", b"DISCARD"):
                if transaction:
                    answer = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
                elif answers.refused:
                    self.behind += 1
                inside, transaction = False, None
            elif refuse and name in ALWAYS_ANSWERED and inside:
                answer = b"+QUEUED\r\n"
            elif refuse and name not in ALWAYS_ANSWERED:
                answer = f"-{refuse}\r\n".encode()
            if answer is FORWARDED:
                server.write(b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in argv))
                await server.drain()
            else:
                self.refused += 1
            answers.due.put_nowait(answer)

    async def _back(self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: Answers) -> None:
        while True:
            answer = await answers.due.get()
            reply = await read_reply(server) if answer is FORWARDED else answer
            if not answers.silent:
                writer.write(reply)  # type: ignore[arg-type]
                await writer.drain()


async def read_reply(reader: asyncio.StreamReader) -> bytes:
    """One RESP2 reply as it stood on the wire."""
    line = await reader.readuntil(b"\r\n")
    kind, count = line[:1], line[1:-2]
    if kind == b"$" and int(count) >= 0:
        return line + await reader.readexactly(int(count) + 2)
    if kind == b"*":
        return line + b"".join([await read_reply(reader) for _ in range(int(count))])
    return line
