"""The control connection: handshake, SYNC, STARTSTABLE, offsets (protocol page §1 and §2)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from df2redis_tui.answers import Answer, shown
from df2redis_tui.errors import SourceError, SourceLost, printable
from df2redis_tui.login import unwelcome
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import FEW, MANY, Arg, PeerLost, RespConnection, encode, name_of_command, open_stream

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


def answer_of(source: Endpoint, reply: object, asked: str) -> Answer:
    """What this source answered; a wrong kind is a SourceError."""
    return Answer(reply, asked, f"source {source.label}", SourceError)


async def open_source(source: Endpoint, what: str, *, receive_buffer: int | None = None) -> RespConnection:
    """A connection that has passed AUTH. `what` names it in errors. Raises SourceLost or SourceError."""
    host, port = source.hosts[0]
    try:
        stream = await open_stream(host, port, source.tls, receive_buffer=receive_buffer)
        connection = RespConnection(stream)
        try:
            answer = answer_of(source, await connection.authenticate(source), "AUTH")
            if answer.refusal:
                raise not_let_in(source, answer.refusal, "AUTH")
            answer.ok()
        except BaseException:
            await connection.aclose()
            raise
    except PeerLost as lost:
        raise lost.of_source(f"{source.label}: {what}") from None
    return connection


class Control:
    """The control connection of one session. Every method raises SourceLost when the connection ends."""

    def __init__(self, source: Endpoint, connection: RespConnection) -> None:
        self._source = source
        self._connection = connection

    @classmethod
    async def connect(cls, source: Endpoint) -> Control:
        return cls(source, await open_source(source, "control connection"))

    async def ask(self, *args: Arg, timeout: float | None = 30.0, most: int = FEW) -> Answer:
        try:
            reply = await self._connection.call(*args, timeout=timeout, most=most)
        except PeerLost as lost:
            raise lost.of_source(f"{self._source.label}: control connection") from None
        return answer_of(self._source, reply, name_of_command(encode(*args)))

    async def _expect_ok(self, *args: Arg, timeout: float | None = 30.0) -> None:
        answer = await self.ask(*args, timeout=timeout)
        if text := answer.refusal:
            if not_now(text):
                raise SourceLost(f"source {self._source.label} is loading its data or being taken over: {text}")
            if "syncid not found" in text:  # the master ended the session on its own (§2.3)
                raise SourceLost(f"source {self._source.label} ended the session: {text}")
        answer.ok()

    async def greet(self, client_id: str) -> Greeting:
        """PING, REPLCONF ..., in the only order that can't crash a Dragonfly (§0 rule 2)."""
        label = self._source.label
        pong = await self.ask("PING")
        if pong.refusal:
            raise not_let_in(self._source, pong.refusal, "PING")
        pong.word(b"PONG")
        df_version = await self._df_version()
        await self._expect_ok("REPLCONF", "listening-port", 0)
        answer = await self.ask("REPLCONF", "capa", "dragonfly")
        if text := answer.refusal:
            if not_now(text):
                raise SourceLost(f"source {label} is loading its data or being taken over: {text}")
            if "eplicating a replica" in text:
                # In the middle of a failover it may be the next master.
                raise SourceLost(f"source {label} is itself a replica: point --source at its master")
            raise SourceError(f"source {label} refused to be replicated: {text}")
        match answer.reply:
            case [bytes(master), bytes(session), int(flows), *more]:
                master_id, sync_id = _text(master), _text(session)
            case _:
                raise SourceError(
                    f"source {label} is not a Dragonfly (it answered `capa dragonfly` with {shown(answer.reply)})"
                )
        version = more[0] if more and isinstance(more[0], int) else 0
        if not re.fullmatch(r"[0-9A-Za-z]{1,128}", master_id) or not re.fullmatch(r"SYNC\d{1,20}", sync_id):
            raise SourceError(f"source {label} sent an unusable session id: {printable(session, 80)}")
        if not 1 <= flows <= MAX_FLOWS:
            raise SourceError(f"source {label} wants {flows} FLOWs; 1 to {MAX_FLOWS} are possible")
        await self._ok_or_refused("REPLCONF", "CLIENT-ID", client_id)
        refused = await self._ok_or_refused("REPLCONF", "CLIENT-VERSION", CLIENT_VERSION)
        if refused and version >= 2:
            raise SourceError(f"source {label} refused CLIENT-VERSION: {refused}")
        return Greeting(master_id, sync_id, flows, version, df_version, parse_release(df_version))

    async def _ok_or_refused(self, *args: Arg) -> str:
        """ "" for OK, else the error: a release may be too old for this."""
        answer = await self.ask(*args)
        if not answer.refusal:
            answer.ok()
        return answer.refusal

    async def _df_version(self) -> str:
        info = await self.ask("INFO", "SERVER", most=MANY)
        found = None if info.refusal else re.search(rb"dragonfly_version:\s*(\S+)", info.text())
        return printable(found[1], 40) if found else ""

    async def key_counts(self) -> dict[int, int] | None:
        """Database → keys in it, from INFO KEYSPACE; None when it does not say."""
        info = await self.ask("INFO", "KEYSPACE", most=MANY)
        if info.refusal:
            return None
        found = re.findall(rb"db(\d{1,9}):keys=(\d{1,18})", info.text())
        return {int(db): int(keys) for db, keys in found if int(keys)}

    async def key_count(self) -> int | None:
        """Keys over all databases; None when it does not say."""
        counts = await self.key_counts()
        return None if counts is None else sum(counts.values())

    async def databases(self) -> tuple[int, ...]:
        """Numbers of the databases that hold keys."""
        return tuple(await self.key_counts() or ())

    async def answers(self, patience: float) -> None:
        """Whether it still does. Raises SourceLost."""
        pong = await self.ask("PING", timeout=patience)
        if not pong.refusal:
            pong.word(b"PONG")

    async def sync(self, sync_id: str) -> None:
        await self._expect_ok("DFLY", "SYNC", sync_id, timeout=120.0)

    async def start_stable(self, sync_id: str) -> None:
        """Only after opcode 200 on every FLOW (or PARTIAL on every FLOW): the caller's barrier sees to that."""
        await self._expect_ok("DFLY", "STARTSTABLE", sync_id, timeout=120.0)

    async def offsets(self, flows: int) -> list[int] | str:
        """Next LSN of each FLOW; a refusal is returned as its text."""
        answer = await self.ask("DFLY", "REPLICAOFFSET")
        return answer.refusal or answer.numbers(flows)

    async def aclose(self) -> None:
        await self._connection.aclose()


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace")
