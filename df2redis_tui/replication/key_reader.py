"""Reads single keys from the source, with the FLOW's positions around them (protocol page §4.6)."""

from __future__ import annotations

import time
from dataclasses import dataclass

from df2redis_tui.dragonfly.control import answer_of, error_text, not_now, open_source
from df2redis_tui.dragonfly.records import Value
from df2redis_tui.errors import DecodeError, SourceError, SourceLost
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import DATA, PeerBroken, PeerLost, PeerSilent, RespConnection, encode, is_error
from df2redis_tui.translate.payload import check_payload

Key = tuple[int, bytes]

FOOTER = 10  # bytes behind the value in a DUMP: version and CRC64
PATIENCE = 30.0  # seconds for an answer
FAR_APART_MS = 2 * 3_600_000  # a moment in time and the time left till then
BYTES_PER_SECOND = 1024**2  # that a source is expected to deliver at least
PATIENCE_MOST = 1800.0


@dataclass(frozen=True, slots=True)
class Reading:
    """`value` None = the key does not exist; `problem` says why it could not be read."""

    a: int
    b: int
    value: Value | None
    problem: str = ""


class KeyReader:
    """Reads keys on a connection of its own, opened when first needed. Every method raises SourceLost, SourceError."""

    def __init__(self, source: Endpoint, flow: int, flows: int) -> None:
        self._source = source
        self._flow = flow
        self._flows = flows
        self._connection: RespConnection | None = None
        self._absolute = True  # it has PEXPIRETIME

    async def sizes(self, keys: list[Key]) -> list[int | None]:
        """About how many bytes the source holds for each key; None where it does not say."""
        wires = [wire for at, (_, key) in enumerate(keys) for wire in _at(keys, at, encode("MEMORY", "USAGE", key))]
        found: list[int | None] = []
        for reply in await self._ask(wires, PATIENCE):
            answer = answer_of(self._source, reply, "MEMORY USAGE")
            found.append(None if answer.refusal else 0 if reply is None else answer.number())
        return found

    async def read(self, keys: list[Key], size: int = 0, patience: float = PATIENCE) -> dict[Key, Reading]:
        """Values that are `size` bytes together. A refusal is a Reading with `problem`."""
        patience = min(PATIENCE_MOST, patience + size / BYTES_PER_SECOND)
        # One after the other: a Dragonfly may run pipelined commands of different shards side by side.
        before = self._position((await self._ask([encode("DFLY", "REPLICAOFFSET")], patience))[0])
        if isinstance(before, str):
            return {key: Reading(0, 0, None, before) for key in keys}
        wires: list[bytes] = []
        for at, (_, key) in enumerate(keys):
            wires += _at(keys, at, *self._questions(key))
        replies = await self._ask(wires, patience)
        asked = len(self._questions(b""))
        results = replies[asked - 1 :: asked]
        now_ms = time.time_ns() // 1_000_000
        if any(map(self._lacks_command, results)):
            return await self.read(keys, size, patience)
        after = self._position((await self._ask([encode("DFLY", "REPLICAOFFSET")], patience))[0])
        if isinstance(after, str):
            return {key: Reading(0, 0, None, after) for key in keys}
        return {
            (db, key): self._reading(before, after, db, key, result, now_ms)
            for (db, key), result in zip(keys, results, strict=True)
        }

    async def read_alone(self, key: Key, size: int = 0, patience: float = PATIENCE) -> Reading:
        """One key, with the positions around it in the same write: in the shortest time that it may not change in.

        None of these commands is one that a Dragonfly runs beside others of a pipeline.
        """
        db, name = key
        offset = encode("DFLY", "REPLICAOFFSET")
        wires = _at([key], 0, offset, *self._questions(name), offset)
        replies = await self._ask(wires, min(PATIENCE_MOST, patience + size / BYTES_PER_SECOND))
        now_ms = time.time_ns() // 1_000_000
        if self._lacks_command(replies[-2]):
            return await self.read_alone(key, size, patience)
        before, after = self._position(replies[0]), self._position(replies[-1])
        if isinstance(before, str) or isinstance(after, str):
            return Reading(0, 0, None, before if isinstance(before, str) else str(after))
        return self._reading(before, after, db, name, replies[-2], now_ms)

    def _questions(self, key: bytes) -> tuple[bytes, ...]:
        asked = encode("MULTI"), encode("DUMP", key), encode("PTTL", key)
        return (*asked, encode("PEXPIRETIME", key), encode("EXEC")) if self._absolute else (*asked, encode("EXEC"))

    def _lacks_command(self, result: object) -> bool:
        """Whether to ask again without what an old release does not know."""
        if not self._absolute or not is_error(result) or not str(result).startswith("EXECABORT"):
            return False
        self._absolute = False
        return True

    async def _ask(self, wires: list[bytes], patience: float) -> list[object]:
        """The replies to all but SELECT. Where that did not succeed, they are of the keys of another database."""
        replies = await self._send(wires, patience)
        for wire, reply in zip(wires, replies, strict=True):
            if _selects(wire):
                answer_of(self._source, reply, "SELECT").ok()
        return [reply for wire, reply in zip(wires, replies, strict=True) if not _selects(wire)]

    async def _send(self, wires: list[bytes], patience: float) -> list[object]:
        used_before = self._connection is not None
        try:
            if self._connection is None:
                self._connection = await open_source(self._source, "re-read connection")
            replies = await self._connection.pipeline(wires, timeout=patience, most=DATA)
        except PeerLost as lost:
            await self.aclose()
            if used_before and not isinstance(lost, (PeerSilent, PeerBroken)):
                return await self._send(wires, patience)  # the source may close what was idle for long
            raise lost.of_source(f"{self._source.label}: re-read connection") from None
        except BaseException:
            # Cancelled in the middle: answers to come would be taken for those of the next question.
            await self.aclose()
            raise
        # Says nothing of the keys; a source that a replica takes over answers so to everything.
        for text in (error_text(reply) for reply in replies if is_error(reply)):
            if not_now(text):
                await self.aclose()
                raise SourceLost(f"source {self._source.label}: re-read connection: {text}")
        return replies

    def _position(self, reply: object) -> int | str:
        answer = answer_of(self._source, reply, "DFLY REPLICAOFFSET")
        return answer.refusal or answer.numbers(self._flows)[self._flow]

    def _reading(self, a: int, b: int, db: int, key: bytes, result: object, now_ms: int) -> Reading:
        executed = answer_of(self._source, result, "EXEC")
        if why := executed.refusal:
            return Reading(a, b, None, why)
        dump, pttl, *ends = executed.array_of(len(self._questions(key)) - 2)
        for reply, asked in ((dump, "DUMP"), (pttl, "PTTL")):
            if why := answer_of(self._source, reply, asked).refusal:
                return Reading(a, b, None, why)
        left = answer_of(self._source, pttl, "PTTL").number(-2)
        payload = answer_of(self._source, dump, "DUMP").text_or_nil()
        if payload is None or left == -2:
            return Reading(a, b, None)
        if len(payload) <= FOOTER:
            raise SourceError(f"source {self._source.label} answered DUMP with {len(payload)} bytes, which is no value")
        try:
            check_payload(payload)
        except DecodeError as damage:
            return Reading(a, b, None, f"the source holds or sends it damaged: {damage.reason}")
        expire_ms = now_ms + left if left >= 0 else 0
        exact = ends[0] if ends else None
        if expire_ms and isinstance(exact, int) and abs(exact - expire_ms) < FAR_APART_MS:
            expire_ms = exact  # the answer may have been long on its way
        return Reading(a, b, Value(db, key, expire_ms, payload[0], payload[1:-FOOTER]))

    async def aclose(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.aclose()


def _at(keys: list[Key], at: int, *wires: bytes) -> list[bytes]:
    """Commands in the database of this key, when those of the key before it went in front of them."""
    db = keys[at][0]
    return list(wires) if at and keys[at - 1][0] == db else [encode("SELECT", db), *wires]


def _selects(wire: bytes) -> bool:
    return wire.startswith(b"*2\r\n$6\r\nSELECT")
