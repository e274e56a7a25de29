"""A Dragonfly of which only the replication side exists: it plays prepared FLOW bytes over real sockets.

It is strict about the order of the handshake (protocol page §1 and §2): what would harm or be refused by a real server
is written to `violations` and answered with that server's error. Whatever needs live data answers an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.certificates import Certificates
from tests.support.recordings import Recording

Pieces = Iterable[bytes | memoryview]
Live = Callable[[], AsyncIterator[bytes]]
WRITE = 256 * 1024  # bytes handed to a socket at once


@dataclass(frozen=True, slots=True)
class FlowScript:
    """What one FLOW delivers: `snapshot` until STARTSTABLE, `stable` after it. Called anew for each session."""

    snapshot: Callable[[], Pieces]
    stable: Callable[[], Pieces] | None = None
    live: Live | None = None  # follows `stable`, paced by itself
    token: str = "0" * 40
    full_sync_end: int = 0  # STARTSTABLE is legal once so many bytes went out
    stable_from: int = 0  # STARTSTABLE is answered once so many bytes of `stable` went out
    lsn_start: int = 1
    lsn_end: int = 1
    resumes_from: int | None = None  # grants PARTIAL for this LSN


@dataclass(frozen=True, slots=True)
class Script:
    """One session as the source plays it."""

    flows: tuple[FlowScript, ...]
    version: str = "df-v1.40.1"
    redis_version: str = "7.4.0"
    master_id: str = "5eb249481d405e957e42aec40fbbfe3afb6c06e6"
    sync_id: str = "SYNC1"
    capa_version: int | None = 5  # None: the three-element reply of 1.0 to 1.3
    databases: Mapping[int, int] = field(default_factory=lambda: {0: 1000})  # keys, made up


@dataclass(slots=True)
class Behaviour:
    """How the player deviates from sending everything at once and staying."""

    piece: int = WRITE  # bytes written at once
    delay: float = 0.0  # seconds between two pieces
    cut_after: Mapping[int, int] = field(default_factory=dict)  # FLOW → close it after so many bytes
    close_at_end: bool = False
    password: str | None = None
    username: str = "default"
    certificates: Certificates | None = None
    refuse: Mapping[str, str] = field(default_factory=dict)  # first words of a command → error line without "-"
    hold_stable: bool = False  # `release_stable` lets the stable part go
    startstable_delay: float = 0.0
    dump: Callable[[int, bytes], tuple[bytes, int] | None] | None = (
        None  # (db, key) → payload, PTTL: state at `lsn_end`
    )


def script_of(recording: Recording) -> Script:
    """The session as it was recorded."""
    flows = tuple(
        FlowScript(
            snapshot=lambda f=f: [memoryview(f.stream)[: f.cut]],
            stable=lambda f=f: [memoryview(f.stream)[f.cut :]],
            token=f.token,
            full_sync_end=f.full_sync_end,
            stable_from=max(0, f.stable_from - f.cut),
            lsn_start=f.lsn_start,
            lsn_end=f.lsn_end,
            resumes_from=f.lsn_start if f.granted == "PARTIAL" else None,
        )
        for f in recording.flows
    )
    capa = recording.capa_reply
    return Script(
        flows,
        recording.version,
        recording.redis_version,
        recording.master_id,
        recording.sync_id,
        capa[3] if len(capa) > 3 else None,  # type: ignore[arg-type]
    )


class _Session:
    """What `REPLCONF capa dragonfly` created, until its first connection closes."""

    def __init__(self, script: Script, sync_id: str) -> None:
        self.script = script
        self.sync_id = sync_id
        self.state = "PREPARATION"
        self.flows: dict[int, _Connection] = {}
        self.partial: set[int] = set()
        self.start = asyncio.Event()
        self.stable_ready = [asyncio.Event() for _ in script.flows]
        self.sent = [0] * len(script.flows)
        self.finished = [False] * len(script.flows)
        self.senders: list[asyncio.Task[None]] = []


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.authenticated = False
        self.session: _Session | None = None
        self.flow: int | None = None
        self.db = 0
        self.queued: list[list[bytes]] | None = None  # of a MULTI


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
        self._current: _Session | None = None
        self._connections: set[_Connection] = set()
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
        connection = _Connection(reader, writer)
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
            self._end_session(connection.session)
            writer.close()

    def _end_session(self, session: _Session | None) -> None:
        """A real server ends the whole session when one of its sockets closes."""
        if session is None or session.state == "CANCELLED":
            return
        session.state = "CANCELLED"
        for sender in session.senders:
            sender.cancel()
        for other in session.flows.values():
            other.writer.close()

    async def _answer(self, connection: _Connection, argv: list[bytes]) -> bytes | None:
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
            return self._read_again(connection, name, argv, self.behaviour.dump)
        return self._ordinary(name, words)

    def _read_again(
        self,
        connection: _Connection,
        name: str,
        argv: list[bytes],
        dump: Callable[[int, bytes], tuple[bytes, int] | None],
    ) -> bytes:
        """MULTI, DUMP, PTTL, EXEC of a source whose values are known."""
        if name == "SELECT":
            connection.db = int(argv[1])
            return b"+OK\r\n"
        if name == "MULTI":
            connection.queued = []
            return b"+OK\r\n"
        queued = connection.queued
        if queued is None:
            return b"-ERR EXEC without MULTI\r\n"
        if name != "EXEC":
            queued.append(argv)
            return b"+QUEUED\r\n"
        connection.queued = None
        replies = b""
        for command, key in queued:
            found = dump(connection.db, key)
            if command.upper() == b"DUMP":
                replies += encode(found[0]) if found else b"$-1\r\n"
            else:
                replies += encode(found[1] if found else -2)
        return b"*%d\r\n%s" % (len(queued), replies)

    def _authenticate(self, connection: _Connection, words: list[str]) -> bytes:
        user, password = ("default", words[1]) if len(words) == 2 else (words[1], words[2])
        if self.behaviour.password is None:
            return b"-ERR AUTH <password> called without any password configured for the default user.\r\n"
        if (user, password) != (self.behaviour.username, self.behaviour.password):
            return b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
        connection.authenticated = True
        return b"+OK\r\n"

    def _replconf(self, connection: _Connection, words: list[str]) -> bytes:
        options = list(zip(words[1::2], words[2::2], strict=False))
        if len(words) % 2 == 0:
            return self._wrong(f"odd REPLCONF: {words}", "ERR syntax error")
        if words[1:] == ["capa", "dragonfly"]:
            script = self.scripts[min(self.sessions, len(self.scripts) - 1)]
            self.sessions += 1
            sync_id = script.sync_id if self.sessions == 1 else f"SYNC{self.sessions}"
            self._end_session(connection.session)
            connection.session = self._current = _Session(script, sync_id)
            self.stable_started.clear()
            self.played.clear()
            reply: list[str | int] = [script.master_id, sync_id, len(script.flows)]
            if script.capa_version is not None:
                reply.append(script.capa_version)
            if _release(script.version) >= (1, 40):
                reply.append(script.master_id)
            return encode(reply)
        for option, value in options:
            match option.lower():
                case "listening-port":
                    if not value.isdigit():
                        return b"-ERR value is not an integer or out of range\r\n"
                case "ip-address":
                    if _release(self.scripts[0].version) < (1, 21):
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

    async def _dfly(self, connection: _Connection, words: list[str]) -> bytes | None:
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
                return self._flow(connection, session, words)
            case "SYNC":
                return self._sync(connection, session, words)
            case "STARTSTABLE":
                return await self._startstable(connection, session, words)
        return self._wrong(f"unknown {words}", "ERR syntax error")

    def _flow(self, connection: _Connection, session: _Session, words: list[str]) -> bytes | None:
        if connection.session is not None:
            return self._wrong("DFLY FLOW on the control connection", "ERR invalid state")
        if len(words) not in (5, 6):
            return self._wrong(f"arguments of {words}", "ERR syntax error")
        if words[2] != session.script.master_id:
            return self._wrong("DFLY FLOW with another master id", "ERR bad master id")
        if words[3] != session.sync_id:
            return self._wrong("DFLY FLOW with another sync id", "ERR syncid not found")
        if not words[4].isdigit() or int(words[4]) >= len(session.script.flows):
            return self._wrong(f"FLOW {words[4]} does not exist", "ERR value is not an integer or out of range")
        flow = int(words[4])
        if flow in session.flows:
            return self._wrong(f"FLOW {flow} opened twice", "ERR invalid state")
        if session.state != "PREPARATION":
            return self._wrong(f"FLOW {flow} opened in state {session.state}", "ERR invalid state")
        if len(words) == 6 and _release(session.script.version) < (1, 11):
            return self._wrong("DFLY FLOW with an LSN to a server before 1.11", "ERR syntax error")
        script = session.script.flows[flow]
        granted = "FULL"
        if script.resumes_from is not None:
            if len(words) != 6 or words[5] != str(script.resumes_from):
                return f"-ERR this recording of FLOW {flow} resumes from {script.resumes_from} only\r\n".encode()
            granted = "PARTIAL"
            session.partial.add(flow)
        session.flows[flow] = connection
        connection.flow, connection.session = flow, session
        connection.writer.write(encode([granted, script.token]))
        if granted == "PARTIAL":
            session.senders.append(asyncio.create_task(self._send(session, flow, connection)))
        return None

    def _sync(self, connection: _Connection, session: _Session, words: list[str]) -> bytes:
        if connection.session is not session:
            return self._wrong("DFLY SYNC not on the control connection", "ERR invalid state")
        if words[2:] != [session.sync_id]:
            return self._wrong(f"DFLY SYNC {words[2:]}", "ERR syncid not found")
        if session.state != "PREPARATION" or len(session.flows) != len(session.script.flows) or session.partial:
            return self._wrong(f"DFLY SYNC in {session.state} with {len(session.flows)} FLOWs", "ERR invalid state")
        session.state = "FULL_SYNC"
        for flow, of_flow in session.flows.items():
            session.senders.append(asyncio.create_task(self._send(session, flow, of_flow)))
        return b"+OK\r\n"

    async def _startstable(self, connection: _Connection, session: _Session, words: list[str]) -> bytes:
        if connection.session is not session:
            return self._wrong("DFLY STARTSTABLE not on the control connection", "ERR invalid state")
        if words[2:] != [session.sync_id]:
            return self._wrong(f"DFLY STARTSTABLE {words[2:]}", "ERR syncid not found")
        scripts = session.script.flows
        resumed = len(session.partial) == len(scripts)
        if session.state != "FULL_SYNC" and not resumed:
            return self._wrong(f"STARTSTABLE in state {session.state} crashes a real server", "ERR invalid state")
        early = [f for f, s in enumerate(scripts) if session.sent[f] < s.full_sync_end]
        if early:
            return self._wrong(
                f"STARTSTABLE before opcode 200 of FLOWs {early} freezes a real server", "ERR invalid state"
            )
        await asyncio.sleep(self.behaviour.startstable_delay)
        session.start.set()
        self.stable_started.set()
        for ready in session.stable_ready:
            await ready.wait()
        session.state = "STABLE_SYNC"
        return b"+OK\r\n"

    async def _send(self, session: _Session, flow: int, connection: _Connection) -> None:
        script, behaviour = session.script.flows[flow], self.behaviour
        with contextlib.suppress(OSError):
            for piece in script.snapshot():
                await self._write(session, flow, connection, piece)
            await session.start.wait()
            remaining = script.stable_from
            for piece in script.stable() if script.stable else ():
                view = memoryview(piece)
                if remaining > 0:
                    await self._write(session, flow, connection, view[:remaining])
                    remaining, view = remaining - min(remaining, len(view)), view[remaining:]
                if remaining == 0:
                    session.stable_ready[flow].set()
                    if behaviour.hold_stable:
                        await self._released.wait()
                await self._write(session, flow, connection, view)
            session.stable_ready[flow].set()
            if script.live is not None:
                async for live in script.live():
                    await self._write(session, flow, connection, live)
            session.finished[flow] = True
            if all(session.finished):
                self.played.set()
                if behaviour.close_at_end:
                    for other in session.flows.values():
                        other.writer.close()

    async def _write(self, session: _Session, flow: int, connection: _Connection, data: bytes | memoryview) -> None:
        behaviour = self.behaviour
        view = memoryview(data)
        limit = behaviour.cut_after.get(flow)
        for offset in range(0, len(view), behaviour.piece):
            piece = view[offset : offset + behaviour.piece]
            if limit is not None and session.sent[flow] + len(piece) > limit:
                connection.writer.write(piece[: limit - session.sent[flow]])
                connection.writer.close()
                raise ConnectionAbortedError("cut on purpose")
            connection.writer.write(piece)
            session.sent[flow] += len(piece)
            await connection.writer.drain()
            if behaviour.delay:
                await asyncio.sleep(behaviour.delay)

    def _acknowledged(self, connection: _Connection, value: str) -> None:
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

    def _ordinary(self, name: str, words: list[str]) -> bytes:
        script = self.scripts[0]
        match name:
            case "PING":
                return b"+PONG\r\n"
            case "SELECT" | "CLIENT" | "QUIT" | "READONLY":
                return b"+OK\r\n"
            case "DBSIZE":
                return encode(script.databases.get(0, 0))
            case "ROLE":
                return encode(["master", []])
            case "INFO":
                return encode(_info(script, [w.lower() for w in words[1:]]).encode())
            case "CONFIG":
                return encode([])
            case "MULTI" | "DUMP" | "PTTL" | "EXEC" | "GET" | "TYPE" | "SCAN" | "RANDOMKEY" | "EXISTS":
                return b"-ERR the source is a recording, it holds no data\r\n"
        return f"-ERR unknown command `{name}`\r\n".encode()

    def _wrong(self, what: str, error: str) -> bytes:
        self.violations.append(what)
        return f"-{error}\r\n".encode()


def _release(version: str) -> tuple[int, int]:
    major, minor = version.removeprefix("df-v").split(".")[:2]
    return int(major), int(minor)


def _info(script: Script, sections: list[str]) -> str:
    keyspace = "".join(f"db{db}:keys={keys},expires=0,avg_ttl=-1\r\n" for db, keys in script.databases.items())
    parts = {
        "server": f"redis_version:{script.redis_version}\r\ndragonfly_version:{script.version}\r\n",
        "replication": f"role:master\r\nconnected_slaves:0\r\nmaster_replid:{script.master_id}\r\n",
        "memory": "used_memory:1000000\r\nmaxmemory:8000000000\r\n",
        "keyspace": keyspace,
    }
    wanted = [s for s in parts if not sections or s in sections or sections[0] in ("all", "everything", "default")]
    return "\r\n".join(f"# {s.capitalize()}\r\n{parts[s]}" for s in wanted)


def encode(value: Any) -> bytes:
    """A RESP2 reply: str as simple string, bytes as bulk, int, list."""
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, str):
        return f"+{value}\r\n".encode()
    if isinstance(value, bytes):
        return b"$%d\r\n%s\r\n" % (len(value), value)
    return b"*%d\r\n" % len(value) + b"".join(encode(v) for v in value)


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """One command, inline or as an array; [] at the end of the connection."""
    while line := await reader.readline():
        if not line.endswith(b"\r\n"):
            return []
        if not line.startswith(b"*"):
            if words := line.split():
                return words
            continue
        argv = []
        for _ in range(int(line[1:])):
            header = await reader.readline()
            if not header.startswith(b"$"):
                raise ValueError(f"expected a bulk string, got {header[:20]!r}")
            argv.append((await reader.readexactly(int(header[1:]) + 2))[:-2])
        return argv
    return []
