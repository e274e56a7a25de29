"""TCP and TLS byte streams, and one-request-at-a-time RESP on top of them (handshakes, control connection)."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import sys
from collections.abc import Sequence

import anyio
import hiredis
from anyio.abc import ByteStream, SocketStream
from anyio.streams.tls import TLSStream

from df2redis_tui.errors import ConfigError
from df2redis_tui.settings import Endpoint, Tls

CONNECT_TIMEOUT = 10.0
READ_SIZE = 256 * 1024

NEED_MORE = object()

_MAYBE_PLAIN = " (if this port does not speak TLS, use redis:// in its URL)"
_MAYBE_TLS = " (if this port speaks TLS, use rediss:// in its URL)"
_NO_TLS_RECORD = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNEXPECTED_MESSAGE")
_TLS_RECORD = (b"\x15\x03", b"\x16\x03")  # how an alert and a handshake begin

Arg = bytes | str | int


class PeerLost(Exception):
    """The other side closed or broke the connection; callers turn it into SourceLost or TargetLost."""


class PeerSilent(PeerLost):
    """It did not answer in time."""


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Raises ConfigError when a certificate can't be read."""
    try:
        context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        if tls.cert:
            context.load_cert_chain(str(tls.cert), str(tls.key) if tls.key else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"TLS: can't load {tls.ca or ''} {tls.cert or ''} {tls.key or ''}: {error}") from None
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if sys.version_info >= (3, 13):
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # private CAs of Redis deployments seldom carry every extension
    return context


async def open_stream(
    host: str,
    port: int,
    tls: Tls | None,
    *,
    receive_buffer: int | None = None,
    timeout: float = CONNECT_TIMEOUT,
) -> ByteStream:
    """Connect. Raises PeerLost with a reason fit for people (never an OSError); ConfigError for bad certificates.

    `receive_buffer` (bytes) is set before the connection is made, so that the TCP window can scale to it.
    """
    context = tls_context(tls) if tls else None
    try:
        with anyio.fail_after(timeout):
            stream: SocketStream = await _connect(host, port, receive_buffer)
            if context is None or tls is None:
                return stream
            try:
                return await TLSStream.wrap(
                    stream, hostname=tls.server_name or host, ssl_context=context, standard_compatible=False
                )
            except BaseException:
                await anyio.aclose_forcefully(stream)
                raise
    except TimeoutError:
        raise PeerLost(f"no answer within {timeout:g} s{_MAYBE_PLAIN if context else ''}") from None
    except ssl.SSLError as error:
        plain = _MAYBE_PLAIN if error.reason in _NO_TLS_RECORD else ""
        raise PeerLost(f"TLS: {error.reason or error}{plain}") from None
    except (anyio.BrokenResourceError, anyio.EndOfStream):
        raise PeerLost(f"closed the connection during the TLS handshake{_MAYBE_PLAIN}") from None
    except OSError as error:
        raise PeerLost(_reason(error)) from None


async def _connect(host: str, port: int, receive_buffer: int | None) -> SocketStream:
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(None, f"can't resolve the name ({error.args[-1]})") from None
    last: OSError | None = None
    for family, kind, proto, _, address in found:
        raw = socket.socket(family, kind, proto)
        try:
            if receive_buffer:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            raw.setblocking(False)
            code = raw.connect_ex(address)
            if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
                raise OSError(code, os.strerror(code))
            if code:
                await anyio.wait_writable(raw)
                code = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
            stream = await SocketStream.from_socket(raw)
            _read_only_on_demand(stream)
            return stream
        except OSError as error:
            last = error
            raw.close()
        except BaseException:
            raw.close()
            raise
    raise last or OSError(None, "no address")


def _read_only_on_demand(stream: SocketStream) -> None:
    """Without this a peer that answers before the first `receive` is read on and on into anyio's unbounded queue.

    anyio 4.16 pauses the transport of `connect_tcp`, not that of `from_socket`, which pauses when a `receive` ends
    that had to wait. There is no public way; a `receive` that is cancelled at once takes a byte where one has come.
    """
    transport = getattr(stream, "_transport", None)
    if transport is not None:
        transport.pause_reading()


def _reason(error: OSError) -> str:
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def encode(*args: Arg) -> bytes:
    """One command as a RESP array."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        raw = arg if isinstance(arg, bytes) else str(arg).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


class RespConnection:
    """Requests one after the other. Error replies come back as `hiredis.ReplyError` values, not raised."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self._reader = hiredis.Reader(notEnoughData=NEED_MORE)
        self._read: bytes | None = None  # how the first bytes that came begin

    async def _receive(self) -> bytes:
        data = await self.stream.receive(READ_SIZE)
        if self._read is None:
            self._read = data[:2]
        return data

    def _closed(self) -> PeerLost:
        never_answered = self._read is None and not isinstance(self.stream, TLSStream)
        return PeerLost(f"closed the connection{' without an answer' + _MAYBE_TLS if never_answered else ''}")

    def _not_resp(self, error: Exception) -> PeerLost:
        if self._read in _TLS_RECORD:
            return PeerLost("speaks TLS: use rediss:// in its URL")
        return PeerLost(f"not a RESP server ({error})")

    async def call(self, *args: Arg, timeout: float | None = 30.0) -> object:
        """Send one command, read one reply. Raises PeerLost (also on the timeout)."""
        return (await self.pipeline([encode(*args)], timeout=timeout))[0]

    async def authenticate(self, endpoint: Endpoint) -> object:
        """AUTH where there is a password; the reply, which may be an error. Raises PeerLost."""
        if endpoint.password is None:
            return b"OK"
        user = [endpoint.username] if endpoint.username else []
        return await self.call("AUTH", *user, endpoint.password.reveal())

    async def pipeline(self, commands: Sequence[bytes], timeout: float | None = 30.0) -> list[object]:
        """Send encoded commands at once, read as many replies."""
        replies: list[object] = []
        try:
            with anyio.fail_after(timeout):
                await self.stream.send(b"".join(commands))
                while len(replies) < len(commands):
                    reply = self._reader.gets()
                    if reply is NEED_MORE:
                        self._reader.feed(await self._receive())
                    else:
                        replies.append(reply)
        except TimeoutError:
            raise PeerSilent(f"no answer within {timeout:g} s") from None
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise self._closed() from None
        except hiredis.ProtocolError as error:
            raise self._not_resp(error) from None
        return replies

    async def call_then_stream(self, *args: Arg, timeout: float = 30.0) -> tuple[object, bytes]:
        """Like `call` for a command after whose reply another protocol begins: (reply, bytes read behind it)."""
        try:
            with anyio.fail_after(timeout):
                await self.stream.send(encode(*args))
                while True:
                    data = await self._receive()
                    for i in range(len(data)):
                        self._reader.feed(data[i : i + 1])
                        reply = self._reader.gets()
                        if reply is not NEED_MORE:
                            return reply, data[i + 1 :]
        except TimeoutError:
            raise PeerLost(f"no answer within {timeout:g} s") from None
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise self._closed() from None
        except hiredis.ProtocolError as error:
            raise self._not_resp(error) from None

    async def aclose(self) -> None:
        await anyio.aclose_forcefully(self.stream)


def is_error(reply: object) -> bool:
    return isinstance(reply, hiredis.ReplyError)
