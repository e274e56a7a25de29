"""A FLOW connection: one shard's stream (protocol page §2)."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from anyio.abc import ByteStream

from df2redis_tui.dragonfly.control import Greeting, answer_of, not_now, open_source
from df2redis_tui.errors import SourceError, SourceLost
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import READ_SIZE, Arg, PeerLost, encode

RECEIVE_BUFFER = 10 * 1024**2  # buys time before the source's writers block (§6)


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a partial sync begins: the next LSN wanted of every FLOW, counted in the journal of `master_id`.

    That may be a former master which the source has replaced (the failover form of DFLY FLOW, §5.4).
    """

    master_id: str
    positions: tuple[int, ...]

    def is_failover(self, greeting: Greeting) -> bool:
        return self.master_id != greeting.master_id

    def arguments(self, greeting: Greeting, flow: int) -> list[Arg]:
        """What DFLY FLOW is given behind the FLOW's number."""
        if self.is_failover(greeting):
            return [self.master_id, "-".join(map(str, self.positions))]
        return [self.positions[flow]]


class FlowConnection:
    """Bytes in, ACKs out. Nothing else may be sent on it (§2.1)."""

    def __init__(self, flow: int, stream: ByteStream, partial: bool, token: bytes, label: str, read: bytes) -> None:
        self.flow = flow
        self.partial = partial
        self.token = token
        self._stream = stream
        self._label = label
        self._read = read  # came together with the reply, belongs to the stream
        self._send_lock = anyio.Lock()

    @classmethod
    async def open(cls, source: Endpoint, greeting: Greeting, flow: int, resume: Resume | None) -> FlowConnection:
        """Connect, AUTH, DFLY FLOW, read FULL or PARTIAL. `resume` asks for a partial sync."""
        connection = await open_source(source, f"FLOW {flow}", receive_buffer=RECEIVE_BUFFER)
        try:
            args: list[Arg] = ["DFLY", "FLOW", greeting.master_id, greeting.sync_id, flow]
            if resume is not None:
                args += resume.arguments(greeting, flow)
            try:
                reply, read = await connection.call_then_stream(*args)
            except PeerLost as lost:
                raise lost.of_source(f"{source.label}: FLOW {flow}") from None
            answer = answer_of(source, reply, f"DFLY FLOW of FLOW {flow}")
            if text := answer.refusal:
                if "syncid not found" in text or "bad master id" in text or not_now(text):
                    raise SourceLost(f"source {source.label}: FLOW {flow}: session ended: {text}")
                if resume is None or not resume.is_failover(greeting) or "syntax error" not in text:
                    raise SourceError(f"source {source.label} refused FLOW {flow}: {text}")
                reply = [b"FULL", bytes(40)]  # it does not understand these positions (§5.4)
            match reply:
                case [b"FULL" | b"PARTIAL" as kind, bytes(token)] if len(token) == 40:
                    partial = kind == b"PARTIAL"
                case _:
                    raise answer.is_not("FULL or PARTIAL with 40 digits")
        except BaseException:
            await connection.aclose()
            raise
        return cls(flow, connection.stream, partial, token, source.label, read)

    async def receive(self) -> bytes:
        """The next bytes. Raises SourceLost at the end."""
        if self._read:
            read, self._read = self._read, b""
            return read
        try:
            return await self._stream.receive(READ_SIZE)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise SourceLost(f"source {self._label}: FLOW {self.flow}: the source closed the connection") from None

    async def acknowledge(self, lsn: int) -> None:
        """REPLCONF ACK: everything below `lsn` is applied. There is no reply."""
        async with self._send_lock:
            try:
                await self._stream.send(encode("REPLCONF", "ACK", lsn))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                raise SourceLost(f"source {self._label}: FLOW {self.flow}: can't acknowledge") from None

    async def aclose(self) -> None:
        await anyio.aclose_forcefully(self._stream)
