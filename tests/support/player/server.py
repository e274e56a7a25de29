"""The player's thread and sockets; what it answers that is no part of one session."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections import defaultdict

from tests.support.player.answers import ordinary, read_again
from tests.support.player.resp import encode, read_command
from tests.support.player.script import Behaviour, Script
from tests.support.player.session import Connection, PlayedSession


class Player:
    """The server, on its own thread; use it as a context manager.

    `scripts` are played one per session in turn, the last one again and again.
    """

    def __init__(self, *scripts: Script, behaviour: Behaviour | None = None) -> None:
        self.scripts = scripts
        self.behaviour = behaviour or Behaviour()
        self.violations: list[str] = []
        self.commands: list[tuple[str, ...]] = []  # everything but ACKs, in order of arrival, without passwords
        self.acks: defaultdict[int, list[tuple[float, int]]] = defaultdict(list)  # FLOW → (monotonic time, value)
        self.sessions = 0
        self.port = 0
        self.stable_started = threading.Event()
        self.played = threading.Event()  # everything of the newest session was written to the sockets
        self._current: PlayedSession | None = None
        self._connections: set[Connection] = set()
        self._released: asyncio.Event
        self._stop: asyncio.Event
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="player", daemon=True)

    @property
    def url(self) -> str:
        """dragonfly[s]://127.0.0.1:port, without credentials."""
        return f"dragonfly{'s' if self.behaviour.certificates else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> Player:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the player does not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def last_acks(self) -> list[int | None]:
        """The newest ACK of each FLOW."""
        return [self.acks[f][-1][1] if self.acks[f] else None for f in range(len(self.scripts[-1].flows))]

    def bytes_sent(self) -> list[int]:
        """Bytes handed to each FLOW's socket in the newest session."""
        return list(self._current.sent) if self._current else []

    def release_stable(self) -> None:
        """Send what `Behaviour.hold_stable` held back."""
        self._loop.call_soon_threadsafe(self._released.set)

    def lose(self, flow: int | None = None) -> None:
        """Close one FLOW's connection, or all connections, now."""

        def close() -> None:
            for connection in list(self._connections):
                if flow is None or connection.flow == flow:
                    connection.writer.transport.abort()

        self._loop.call_soon_threadsafe(close)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._released = asyncio.Event()
        context = None
        if self.behaviour.certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.behaviour.certificates.cert, self.behaviour.certificates.key)
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for connection in list(self._connections):
            connection.writer.transport.abort()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self._connections.add(connection)
        try:
            while argv := await read_command(reader):
                reply = await self._answer(connection, argv)
                if reply is not None:
                    writer.write(reply)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except ValueError as malformed:
            self.violations.append(f"not RESP: {malformed}")
        finally:
            self._connections.discard(connection)
            if connection.session is not None:
                connection.session.end()
            writer.close()

    async def _answer(self, connection: Connection, argv: list[bytes]) -> bytes | None:
        words = [a.decode("utf-8", "replace") for a in argv]
        name = words[0].upper()
        if name == "REPLCONF" and len(words) == 3 and words[1].upper() == "ACK":
            self._acknowledged(connection, words[2])
            return None
        self.commands.append(tuple(words) if name not in ("AUTH", "HELLO") else (name,))
        if connection.flow is not None:
            return self._wrong(f"{name} on a FLOW connection after DFLY FLOW", "ERR syntax error")
        for refused, line in self.behaviour.refuse.items():
            if " ".join(words).upper().startswith(refused.upper()):
                return f"-{line}\r\n".encode()
        if name == "AUTH":
            return self._authenticate(connection, words)
        if self.behaviour.password is not None and not connection.authenticated and name != "QUIT":
            return b"-NOAUTH Authentication required.\r\n"
        if name == "REPLCONF":
            return self._replconf(connection, words)
        if name == "DFLY":
            return await self._dfly(connection, words)
        if self.behaviour.dump is not None and (name in ("MULTI", "EXEC", "SELECT") or connection.queued is not None):
            return read_again(connection, name, argv, self.behaviour.dump)
        return ordinary(self.scripts[0], name, words)

    def _authenticate(self, connection: Connection, words: list[str]) -> bytes:
        user, password = ("default", words[1]) if len(words) == 2 else (words[1], words[2])
        if self.behaviour.password is None:
            return b"-ERR AUTH <password> called without any password configured for the default user.\r\n"
        if (user, password) != (self.behaviour.username, self.behaviour.password):
            return b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
        connection.authenticated = True
        return b"+OK\r\n"

    def _replconf(self, connection: Connection, words: list[str]) -> bytes:
        options = list(zip(words[1::2], words[2::2], strict=False))
        if len(words) % 2 == 0:
            return self._wrong(f"odd REPLCONF: {words}", "ERR syntax error")
        if words[1:] == ["capa", "dragonfly"]:
            script = self.scripts[min(self.sessions, len(self.scripts) - 1)]
            self.sessions += 1
            sync_id = script.sync_id if self.sessions == 1 else f"SYNC{self.sessions}"
            if connection.session is not None:
                connection.session.end()
            connection.session = self._current = PlayedSession(
                script,
                sync_id,
                self.behaviour,
                wrong=self._wrong,
                released=self._released,
                stable_started=self.stable_started,
                played=self.played,
            )
            self.stable_started.clear()
            self.played.clear()
            reply: list[str | int] = [script.master_id, sync_id, len(script.flows)]
            if script.capa_version is not None:
                reply.append(script.capa_version)
            if script.release >= (1, 40):
                reply.append(script.master_id)
            return encode(reply)
        for option, value in options:
            match option.lower():
                case "listening-port":
                    if not value.isdigit():
                        return b"-ERR value is not an integer or out of range\r\n"
                case "ip-address":
                    if self.scripts[0].release < (1, 21):
                        return b"-ERR syntax error\r\n"
                case "capa":
                    if value == "dragonfly":
                        return self._wrong("capa dragonfly together with other options", "ERR syntax error")
                case "client-id" | "client-version":
                    if connection.session is None:
                        return self._wrong(f"{option} before capa dragonfly crashes a real server", "ERR syntax error")
                    if option.lower() == "client-version" and not value.isdigit():
                        return self._wrong(f"CLIENT-VERSION {value}", "ERR value is not an integer or out of range")
                case _:
                    return self._wrong(f"unknown REPLCONF {option}", "ERR syntax error")
        return b"+OK\r\n"

    async def _dfly(self, connection: Connection, words: list[str]) -> bytes | None:
        what = words[1].upper() if len(words) > 1 else ""
        session = self._current
        if what == "REPLICAOFFSET":
            return encode(self._offsets())
        if session is None:
            return self._wrong(f"DFLY {what} before capa dragonfly", "ERR syncid not found")
        if session.state == "CANCELLED":
            return b"-ERR syncid not found\r\n"
        match what:
            case "FLOW":
                return session.open_flow(connection, words)
            case "SYNC":
                return session.sync(connection, words)
            case "STARTSTABLE":
                return await session.start_stable(connection, words)
        return self._wrong(f"unknown {words}", "ERR syntax error")

    def _acknowledged(self, connection: Connection, value: str) -> None:
        if connection.flow is None:
            self.violations.append("REPLCONF ACK not on a FLOW")
        elif not value.isdigit():
            self.violations.append(f"REPLCONF ACK {value}")
        else:
            self.acks[connection.flow].append((time.monotonic(), int(value)))

    def _offsets(self) -> list[int]:
        session = self._current
        if session is None:
            return [f.lsn_start for f in self.scripts[0].flows]
        return [
            script.lsn_end
            if (session.start.is_set() and not self.behaviour.hold_stable) or self._released.is_set()
            else script.lsn_start
            for script in session.script.flows
        ]

    def _wrong(self, what: str, error: str) -> bytes:
        self.violations.append(what)
        return f"-{error}\r\n".encode()
