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

from df2redis_tui.errors import ConfigError, SourceError, SourceLost, TargetError, TargetLost, printable
from df2redis_tui.reply_reader import NEED_MORE as NEED_MORE
from df2redis_tui.reply_reader import Malformed, ReplyReader
from df2redis_tui.settings import Endpoint, Tls

CONNECT_TIMEOUT = 10.0
READ_SIZE = 256 * 1024
KEEP_ALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # a peer that is gone is noticed after 30 s

# Bytes that an answer may have: of a command that says OK or a few numbers, of one about the server, of data.
FEW, MANY, DATA = 64 * 1024, 64 * 1024**2, 4 * 1024**3

_MAYBE_PLAIN = " (if this port does not speak TLS, use redis:// in its URL)"
_MAYBE_TLS = " (if this port speaks TLS, use rediss:// in its URL)"
_NO_TLS_RECORD = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNEXPECTED_MESSAGE")
_TLS_RECORD = (b"\x15\x03", b"\x16\x03")  # how an alert and a handshake begin

Arg = bytes | str | int


class PeerLost(Exception):
    """The other side closed or broke the connection; callers turn it into SourceLost or TargetLost."""

    def of_source(self, which: str) -> SourceError:
        """The error to raise where the peer is this source."""
        return SourceLost(f"source {which}: {self}")

    def of_target(self, which: str) -> TargetError:
        """The error to raise where the peer is this target."""
        return TargetLost(f"target {which}: {self}")


class PeerSilent(PeerLost):
    """It did not answer in time."""


class PeerBroken(PeerLost):
    """What it sends is no answer: another connection to it is not worth trying."""

    def of_source(self, which: str) -> SourceError:
        return SourceError(f"source {which}: {self}")

    def of_target(self, which: str) -> TargetError:
        return TargetError(f"target {which}: {self}")


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Raises ConfigError when a certificate can't be read, OSError when this process has no file descriptor for it."""
    try:
        context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        if tls.cert:
            context.load_cert_chain(str(tls.cert), str(tls.key) if tls.key else None)
    except (OSError, ssl.SSLError) as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
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
    context: ssl.SSLContext | None = None
    try:
        context = tls_context(tls) if tls else None
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
    except ValueError:  # of the encoding, or of a NUL in it
        raise OSError(None, "can't resolve the name (it is none)") from None
    last: OSError | None = None
    for family, kind, proto, _, address in found:
        raw = socket.socket(family, kind, proto)
        try:
            if receive_buffer:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _keep_alive(raw)
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


def _keep_alive(raw: socket.socket) -> None:
    """A peer whose machine went away says nothing, and neither do we where we only read."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEP_ALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, value)


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
    """Requests one after the other. Error replies come back as `hiredis.ReplyError` values, not raised.

    `most`: bytes that an answer may have; one that announces more is refused at once (PeerBroken).
    """

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self._reader = ReplyReader()
        self._read: bytes | None = None  # how the first bytes that came begin
        self._answered = False

    async def call(self, *args: Arg, timeout: float | None = 30.0, most: int = MANY) -> object:
        """Send one command, read one reply. Raises PeerLost (also on the timeout)."""
        return (await self.pipeline([encode(*args)], timeout=timeout, most=most))[0]

    async def authenticate(self, endpoint: Endpoint) -> object:
        """AUTH where there is a password; the reply, which may be an error. Raises PeerLost."""
        if endpoint.password is None:
            return b"OK"
        user = [endpoint.username] if endpoint.username else []
        return await self.call("AUTH", *user, endpoint.password.reveal(), most=FEW)

    async def pipeline(self, commands: Sequence[bytes], timeout: float | None = 30.0, most: int = MANY) -> list[object]:
        """Send encoded commands at once, read as many replies."""
        replies: list[object] = []
        try:
            with anyio.fail_after(timeout):
                await self.stream.send(b"".join(commands))
                while len(replies) < len(commands):
                    replies.append(await self._reply(most))
        except TimeoutError:
            raise PeerSilent(f"no answer to {name_of_command(commands[len(replies)])} within {timeout:g} s") from None
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise self._closed() from None
        except Malformed as found:
            raise self._malformed(commands[len(replies)], found) from None
        return replies

    async def call_then_stream(self, *args: Arg, timeout: float = 30.0) -> tuple[object, bytes]:
        """Like `call` for a command after whose reply another protocol begins: (reply, bytes read behind it)."""
        return await self.call(*args, timeout=timeout, most=FEW), self._reader.rest()

    async def _reply(self, most: int) -> object:
        while (reply := self._reader.next(most)) is NEED_MORE:
            data = await self.stream.receive(READ_SIZE)
            if self._read is None:
                self._read = data[:2]
            self._reader.feed(data)
        self._answered = True
        return reply

    def _closed(self) -> PeerLost:
        never_answered = self._read is None and not isinstance(self.stream, TLSStream)
        return PeerLost(f"closed the connection{' without an answer' + _MAYBE_TLS if never_answered else ''}")

    def _malformed(self, command: bytes, found: Malformed) -> PeerBroken:
        if self._read in _TLS_RECORD:
            return PeerBroken("speaks TLS: use rediss:// in its URL")
        asked = f"its answer to {name_of_command(command)} is {found}"
        return PeerBroken(asked if self._answered else f"not a RESP server ({asked})")

    async def aclose(self) -> None:
        await anyio.aclose_forcefully(self.stream)


_OF_TWO_WORDS = frozenset(
    b"ACL CLIENT CLUSTER COMMAND CONFIG DFLY INFO MEMORY MODULE REPLCONF SCRIPT".split()
)  # their second word is never a key, nor a password


def name_of_command(wire: bytes) -> str:
    """What an encoded command is called in messages: its first word, or two, and never its arguments."""
    words = wire.split(b"\r\n", 5)
    name = words[2] if len(words) > 2 else b""
    more = b" " + words[4] if name.upper() in _OF_TWO_WORDS and len(words) > 5 else b""
    return printable(name + more, 40)


def is_error(reply: object) -> bool:
    return isinstance(reply, hiredis.ReplyError)
