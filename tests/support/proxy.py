"""A TCP proxy in front of a server, on its own thread: delays, throttles, holds, cuts, counts, and can end TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading

from tests.support.certificates import Certificates


class Proxy:
    """Forwards 127.0.0.1:`port` to `upstream`; use it as a context manager.

    `delay`: seconds every piece of a reply is late (pieces stay in order, and more of them can be under way at once).
    `rate`: bytes/s towards the server, all connections together, 0 = no bound.
    `hold_replies`: while set, nothing comes back from the server. All three may be changed while it runs.
    """

    def __init__(self, upstream: int, *, delay: float = 0.0, rate: int = 0, certificates: Certificates | None = None):
        self.upstream = upstream
        self.delay = delay
        self.rate = rate
        self.port = 0
        self.connections = 0  # ever made
        self.open = 0
        self.bytes_to_server = 0
        self.bytes_from_server = 0
        self.refuse = False  # close new connections at once
        self._certificates = certificates
        self._go = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the proxy does not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def hold_replies(self) -> None:
        """Keep back what the server answers from now on."""
        self._go = False

    def release_replies(self) -> None:
        """Let kept answers go."""
        self._go = True

    def cut(self) -> None:
        """Abort every connection now."""

        def abort() -> None:
            for writer in list(self._writers):
                writer.transport.abort()

        self._loop.call_soon_threadsafe(abort)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        context = None
        if self._certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificates.cert, self._certificates.key)
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuse:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, server_writer}
        self.open += 1
        forth = asyncio.create_task(self._forth(reader, server_writer))
        back = asyncio.create_task(self._back(server_reader, writer))
        try:
            await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
            if forth.done() and not forth.cancelled() and forth.exception() is None:
                await back  # the client has said all; answers may still come
        except asyncio.CancelledError:
            pass
        finally:
            self.open -= 1
            for task in (forth, back):
                task.cancel()
            for side in (writer, server_writer):
                self._writers.discard(side)
                side.close()

    async def _forth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(16 * 1024 if self.rate else 256 * 1024):
                self.bytes_to_server += len(data)
                writer.write(data)
                await writer.drain()
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
            writer.write_eof()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(10_000)

        async def deliver() -> None:
            while True:
                due, data = await late.get()
                if not data:
                    return
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                while not self._go:
                    await asyncio.sleep(0.005)
                writer.write(data)
                await writer.drain()

        delivering = asyncio.create_task(deliver())
        try:
            while data := await reader.read(256 * 1024):
                self.bytes_from_server += len(data)
                await late.put((self._loop.time() + self.delay, data))
            await late.put((0.0, b""))
            await delivering
        except OSError:
            pass
        finally:
            delivering.cancel()
