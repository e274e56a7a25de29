"""Byte streams: nothing is read that nobody asked for."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from pathlib import Path

import anyio
import pytest

from df2redis_tui.settings import Tls
from df2redis_tui.streams import READ_SIZE, PeerLost, open_stream

FLOOD = 256 << 20


class Flooder:
    """Answers the first bytes it gets with all of `FLOOD`, as fast as it is taken."""

    def __init__(self) -> None:
        self.sent = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        self._listener.close()
        block = bytes(1 << 16)
        with connection:
            connection.recv(16)
            try:
                while self.sent < FLOOD:
                    self.sent += connection.send(block)
            except OSError:
                return

    def settled(self) -> int:
        """Bytes sent when no more are taken."""
        before = -1
        while before != self.sent:
            before = self.sent
            time.sleep(0.3)
        return before


@pytest.mark.parametrize("backend", [{}, {"use_uvloop": True}], ids=["asyncio", "uvloop"])
def test_a_peer_that_answers_before_it_is_read_does_not_fill_memory(backend: dict[str, bool]) -> None:
    flooder = Flooder()

    async def read_little() -> tuple[int, int]:
        stream = await open_stream("127.0.0.1", flooder.port, None)
        try:
            await stream.send(b"go")
            unread = await anyio.to_thread.run_sync(flooder.settled)
            taken = 0
            while taken < unread:
                taken += len(await stream.receive(READ_SIZE))
            return unread, await anyio.to_thread.run_sync(flooder.settled) - taken
        finally:
            await anyio.aclose_forcefully(stream)

    before, after = anyio.run(read_little, backend_options=backend)
    assert before < FLOOD // 4, f"{before >> 20} MiB were taken before the first receive"
    assert after < FLOOD // 4, f"{after >> 20} MiB are held that nobody asked for"


def test_a_peer_that_is_gone_is_noticed_without_a_word_of_ours() -> None:
    async def options() -> list[int]:
        listener = socket.create_server(("127.0.0.1", 0))
        stream = await open_stream("127.0.0.1", listener.getsockname()[1], None)
        try:
            raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
            numbers = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            return [
                raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                *(raw.getsockopt(socket.IPPROTO_TCP, number) for number in numbers),
            ]
        finally:
            await anyio.aclose_forcefully(stream)
            listener.close()

    alive, idle, interval, probes = anyio.run(options)
    assert alive == 1
    assert (idle, interval, probes) == (15, 5, 3)


@pytest.mark.parametrize("host", ["\u00e9" * 70, "h" * 70 + ".example", "a\0b", "\ud800"])
def test_a_host_that_is_none_is_a_lost_peer(host: str) -> None:
    async def connect() -> None:
        await open_stream(host, 1, None)

    with pytest.raises(PeerLost, match="can't resolve the name"):
        anyio.run(connect)


@pytest.mark.anyio
async def test_no_file_descriptor_for_the_certificates_is_no_wrong_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again, like a connection for which there is none."""

    def none_left(**_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(ssl, "create_default_context", none_left)
    with pytest.raises(PeerLost, match="too many open files"):
        await open_stream("127.0.0.1", 1, Tls(ca=tmp_path / "ca.pem"))
