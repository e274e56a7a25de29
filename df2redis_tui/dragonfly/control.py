"""The control connection: handshake, SYNC, STARTSTABLE, offsets (protocol page §1 and §2)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from df2redis_tui.errors import SourceError, SourceLost, printable
from df2redis_tui.login import unwelcome
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import Arg, PeerLost, RespConnection, is_error, open_stream

CLIENT_VERSION = 4  # gives LSN records from all >= 1.16 and never switches on search extensions (§1.4)
MAX_FLOWS = 1024


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the source said of itself. `release` is (major, minor), None when it did not say."""

    master_id: str
    sync_id: str
    flows: int
    version: int
    df_version: str
    release: tuple[int, int] | None

    @property
    def takes_lsn(self) -> bool:
        """DFLY FLOW accepts the optional LSN (§1.3)."""
        return self.version >= 2


def parse_release(df_version: str) -> tuple[int, int] | None:
    """`df-v1.40.1` → (1, 40)."""
    found = re.match(r"(?:df-)?v?(\d+)\.(\d+)", df_version)
    return (int(found[1]), int(found[2])) if found else None


def error_text(reply: object) -> str:
    return printable(str(reply).encode("utf-8", "backslashreplace"))


def not_now(text: str) -> bool:
    """Whether an error says that the source serves nobody just now: it loads, or a replica takes it over (§2.5)."""
    return text.startswith("LOADING") or "TAKEN OVER" in text


def not_let_in(source: Endpoint, text: str, command: str) -> SourceError:
    """The error to raise where the source answers AUTH or the first PING with this one."""
    why = unwelcome(text, command)
    return (SourceLost if why.temporary else SourceError)(f"source {source.label} {why.text}")


async def open_source(source: Endpoint, what: str, *, receive_buffer: int | None = None) -> RespConnection:
    """A connection that has passed AUTH. `what` names it in errors. Raises SourceLost or SourceError."""
    host, port = source.hosts[0]
    try:
        stream = await open_stream(host, port, source.tls, receive_buffer=receive_buffer)
        connection = RespConnection(stream)
        try:
            reply = await connection.authenticate(source)
            if is_error(reply):
                raise not_let_in(source, error_text(reply), "AUTH")
        except BaseException:
            await connection.aclose()
            raise
    except PeerLost as lost:
        raise SourceLost(f"source {source.label}: {what}: {lost}") from None
    return connection


class Control:
    """The control connection of one session. Every method raises SourceLost when the connection ends."""

    def __init__(self, source: Endpoint, connection: RespConnection) -> None:
        self._source = source
        self._connection = connection

    @classmethod
    async def connect(cls, source: Endpoint) -> Control:
        return cls(source, await open_source(source, "control connection"))

    async def call(self, *args: Arg, timeout: float | None = 30.0) -> object:
        try:
            return await self._connection.call(*args, timeout=timeout)
        except PeerLost as lost:
            raise SourceLost(f"source {self._source.label}: control connection: {lost}") from None

    async def _expect_ok(self, *args: Arg, timeout: float | None = 30.0) -> None:
        reply = await self.call(*args, timeout=timeout)
        if reply not in (b"OK", "OK"):
            text = error_text(reply)
            if not_now(text):
                raise SourceLost(f"source {self._source.label} is loading its data or being taken over: {text}")
            if "syncid not found" in text:  # the master ended the session on its own (§2.3)
                raise SourceLost(f"source {self._source.label} ended the session: {text}")
            command = " ".join(str(a) for a in args[:2])
            raise SourceError(f"source {self._source.label} refused {command}: {text}")

    async def greet(self, client_id: str) -> Greeting:
        """PING, REPLCONF ..., in the only order that can't crash a Dragonfly (§0 rule 2)."""
        label = self._source.label
        pong = await self.call("PING")
        if is_error(pong):
            raise not_let_in(self._source, error_text(pong), "PING")
        df_version = await self._df_version()
        await self._expect_ok("REPLCONF", "listening-port", 0)
        reply = await self.call("REPLCONF", "capa", "dragonfly")
        if is_error(reply):
            text = error_text(reply)
            if not_now(text):
                raise SourceLost(f"source {label} is loading its data or being taken over: {text}")
            if "eplicating a replica" in text:
                # In the middle of a failover it may be the next master.
                raise SourceLost(f"source {label} is itself a replica: point --source at its master")
            raise SourceError(f"source {label} refused to be replicated: {text}")
        if not isinstance(reply, list) or len(reply) < 3:
            raise SourceError(
                f"source {label} is not a Dragonfly (it answered {error_text(reply)} to `capa dragonfly`)"
            )
        master_id, sync_id, flows = _text(reply[0]), _text(reply[1]), reply[2]
        version = reply[3] if len(reply) > 3 and isinstance(reply[3], int) else 0
        if not re.fullmatch(r"[0-9A-Za-z]{1,128}", master_id) or not re.fullmatch(r"SYNC\d{1,20}", sync_id):
            raise SourceError(f"source {label} sent an unusable session id: {printable(sync_id.encode())}")
        if not isinstance(flows, int) or not 1 <= flows <= MAX_FLOWS:
            raise SourceError(f"source {label} wants {flows!r} FLOWs; 1 to {MAX_FLOWS} are possible")
        await self.call("REPLCONF", "CLIENT-ID", client_id)
        reply = await self.call("REPLCONF", "CLIENT-VERSION", CLIENT_VERSION)
        if is_error(reply) and version >= 2:
            raise SourceError(f"source {label} refused CLIENT-VERSION: {error_text(reply)}")
        return Greeting(master_id, sync_id, flows, version, df_version, parse_release(df_version))

    async def _df_version(self) -> str:
        info = await self.call("INFO", "SERVER")
        if isinstance(info, bytes):
            found = re.search(rb"dragonfly_version:\s*(\S+)", info)
            if found:
                return printable(found[1], 40)
        return ""

    async def key_count(self) -> int | None:
        """Keys over all databases, from INFO KEYSPACE; None when it does not say."""
        info = await self.call("INFO", "KEYSPACE")
        if not isinstance(info, bytes):
            return None
        return sum(int(n) for n in re.findall(rb"db\d+:keys=(\d{1,18})", info))

    async def databases(self) -> tuple[int, ...]:
        """Numbers of the databases that hold keys."""
        info = await self.call("INFO", "KEYSPACE")
        if not isinstance(info, bytes):
            return ()
        return tuple(int(db) for db, keys in re.findall(rb"db(\d{1,9}):keys=(\d{1,18})", info) if int(keys))

    async def sync(self, sync_id: str) -> None:
        await self._expect_ok("DFLY", "SYNC", sync_id, timeout=120.0)

    async def start_stable(self, sync_id: str) -> None:
        """Only after opcode 200 on every FLOW (or PARTIAL on every FLOW): the caller's barrier sees to that."""
        await self._expect_ok("DFLY", "STARTSTABLE", sync_id, timeout=120.0)

    async def offsets(self) -> list[int] | None:
        """Next LSN per shard; None when the source does not say."""
        reply = await self.call("DFLY", "REPLICAOFFSET")
        if isinstance(reply, list) and all(isinstance(n, int) for n in reply):
            return [int(n) for n in reply if isinstance(n, int)]
        return None

    async def aclose(self) -> None:
        await self._connection.aclose()


def _text(raw: object) -> str:
    return raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(raw)
