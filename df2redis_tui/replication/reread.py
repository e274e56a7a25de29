"""Exact re-reads of single keys whose journal records can't be replayed (protocol page §4.6).

A = REPLICAOFFSET of the FLOW; the value; B = REPLICAOFFSET. If no record with A <= LSN < B touches the key, the value
is the key's state at every LSN in between: records below A are skipped, and the value is written when the FLOW
reaches B.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from df2redis_tui.dragonfly.control import error_text, not_now, open_source
from df2redis_tui.dragonfly.records import Value
from df2redis_tui.errors import SourceError, SourceLost, printable
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import PeerLost, RespConnection, encode, is_error

log = logging.getLogger(__name__)

LATER = 0.5  # seconds
RESTLESS = 3  # tries: the key changes too often to be read together with others
AGAIN_AFTER = 0.01  # seconds, for each try so far
MOST_TRIES = 20  # that are counted for it
FOOTER = 10  # bytes behind the value in a DUMP: version and CRC64


@dataclass(frozen=True, slots=True)
class Reading:
    """`value` None = the key does not exist; `problem` says why it could not be read."""

    a: int
    b: int
    value: Value | None
    problem: str = ""


class KeyReader:
    """Reads keys from the source on a connection of its own, opened when first needed."""

    def __init__(self, source: Endpoint, flow: int) -> None:
        self._source = source
        self._flow = flow
        self._connection: RespConnection | None = None
        self._db = 0

    async def read(self, keys: list[tuple[int, bytes]]) -> dict[tuple[int, bytes], Reading]:
        """Raises SourceLost when the source can't be reached; a refusal is a Reading with `problem`."""
        used_before = self._connection is not None
        try:
            if self._connection is None:
                self._connection = await open_source(self._source, "re-read connection")
                self._db = 0
            return await self._read(self._connection, keys)
        except PeerLost as lost:
            await self.aclose()
            if used_before:  # the source may close what was idle for long
                return await self.read(keys)
            raise SourceLost(f"source {self._source.label}: re-read connection: {lost}") from None
        except BaseException:
            # Cancelled in the middle: answers to come would be taken for those of the next question.
            await self.aclose()
            raise

    async def _read(
        self, connection: RespConnection, keys: list[tuple[int, bytes]]
    ) -> dict[tuple[int, bytes], Reading]:
        # One after the other: a Dragonfly may run pipelined commands of different shards side by side.
        before = await self._offset(connection)
        if isinstance(before, str):
            return {key: Reading(0, 0, None, before) for key in keys}
        commands: list[bytes] = []
        for db, key in keys:
            if db != self._db:
                commands.append(encode("SELECT", db))
                self._db = db
            commands += [encode("MULTI"), encode("DUMP", key), encode("PTTL", key), encode("EXEC")]
        replies = await connection.pipeline(commands)
        now_ms = time.time_ns() // 1_000_000
        after = await self._offset(connection)
        if isinstance(after, str):
            return {key: Reading(0, 0, None, after) for key in keys}
        results = [r for c, r in zip(commands, replies, strict=True) if c.startswith(b"*1\r\n$4\r\nEXEC")]
        return {
            (db, key): _reading(before, after, db, key, result, now_ms)
            for (db, key), result in zip(keys, results, strict=True)
        }

    async def read_alone(self, db: int, key: bytes) -> Reading:
        """One key, with the positions around it in the same write: in the shortest time that it may not change in.

        None of these commands is one that a Dragonfly runs beside others of a pipeline. Raises SourceLost.
        """
        commands = [encode("SELECT", db)] if db != self._db else []
        commands += [encode("DFLY", "REPLICAOFFSET"), encode("MULTI"), encode("DUMP", key), encode("PTTL", key)]
        commands += [encode("EXEC"), encode("DFLY", "REPLICAOFFSET")]
        try:
            if self._connection is None:
                return (await self.read([(db, key)]))[(db, key)]
            self._db = db
            replies = (await self._connection.pipeline(commands))[-6:]
        except PeerLost:
            await self.aclose()
            return (await self.read([(db, key)]))[(db, key)]
        except BaseException:
            await self.aclose()
            raise
        now_ms = time.time_ns() // 1_000_000
        before, after = self._position(replies[0]), self._position(replies[-1])
        if isinstance(before, str) or isinstance(after, str):
            return Reading(0, 0, None, before if isinstance(before, str) else str(after))
        return _reading(before, after, db, key, replies[4], now_ms)

    async def _offset(self, connection: RespConnection) -> int | str:
        return self._position(await connection.call("DFLY", "REPLICAOFFSET"))

    def _position(self, reply: object) -> int | str:
        if isinstance(reply, list) and self._flow < len(reply) and isinstance(reply[self._flow], int):
            return int(reply[self._flow])
        return error_text(reply)

    async def aclose(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.aclose()


def _reading(a: int, b: int, db: int, key: bytes, result: object, now_ms: int) -> Reading:
    if is_error(result):
        return Reading(a, b, None, error_text(result))
    if not isinstance(result, list) or len(result) != 2:
        return Reading(a, b, None, "unexpected answer")
    dump, pttl = result
    if is_error(dump) or is_error(pttl):
        return Reading(a, b, None, error_text(dump if is_error(dump) else pttl))
    if dump is None or pttl == -2:
        return Reading(a, b, None)
    if not isinstance(dump, bytes) or len(dump) <= FOOTER or not isinstance(pttl, int):
        return Reading(a, b, None, "unexpected DUMP")
    expire_ms = now_ms + pttl if pttl >= 0 else 0
    return Reading(a, b, Value(db, key, expire_ms, dump[0], dump[1:-FOOTER]))


@dataclass(slots=True)
class _Pending:
    reason: str
    a: int | None = None  # None: to be asked (again)
    b: int = 0
    value: Value | None = None
    tries: int = 0
    not_before: float = 0.0  # monotonic; one that changes all the time must not hold up the FLOW
    gone: bool = False  # nothing is read: it is removed from the target


class Rereads:
    """The keys of one FLOW that wait for a re-read. Implements the journal translator's `pending` port."""

    def __init__(self, flow: int, reader: KeyReader) -> None:
        self.flow = flow
        self.done = 0
        self._reader = reader
        self._pending: dict[tuple[int, bytes], _Pending] = {}
        self._written: dict[tuple[int, bytes], int] = {}  # position behind which the value went out
        self._not_before = 0.0  # monotonic: the source answers nobody until then

    @property
    def active(self) -> bool:
        return bool(self._pending)

    @property
    def count(self) -> int:
        return len(self._pending)

    @property
    def unresolved(self) -> bool:
        """Whether to `ask` now."""
        now = time.monotonic()
        return now >= self._not_before and any(p.a is None and now >= p.not_before for p in self._pending.values())

    def request(self, db: int, keys: tuple[bytes, ...], reason: str) -> None:
        """Everything received so far of these keys is superseded by the re-read to come."""
        for key in keys:
            pending = self._pending.get((db, key))
            if pending is None:
                self._pending[(db, key)] = _Pending(reason)
            elif not pending.gone:
                pending.a = None

    def remove(self, db: int, key: bytes, reason: str) -> None:
        """The key can't be copied: what the target has of it goes, behind all that was received so far."""
        self._pending[(db, key)] = _Pending(reason, a=0, gone=True)

    def covers(self, db: int, key: bytes, lsn: int) -> bool:
        """Whether a record at `lsn` must be dropped because the re-read value includes it (or will)."""
        pending = self._pending.get((db, key))
        if pending is None:
            return False
        if pending.a is not None and lsn >= pending.a and not pending.gone:
            # It may or may not be in the value that was read: read again.
            pending.a = None
        return True

    def supersedes(self, db: int, key: bytes, lsn: int) -> bool:
        """Whether a value that comes behind a command of `lsn`, which has been sent, contains its effect."""
        return (db, key) in self._pending or lsn < self._written.get((db, key), 0)

    def forget(self, db: int | None) -> None:
        """FLUSHDB, or FLUSHALL (None): nothing read before it counts."""
        for key in [k for k in self._pending if db is None or k[0] == db]:
            del self._pending[key]

    def cuts(self, first: int, end: int) -> list[int]:
        """Positions inside (first, end) at which a value becomes due."""
        return sorted({p.b for p in self._pending.values() if p.a is not None and first < p.b < end})

    def due(self, position: int) -> list[tuple[int, bytes, Value | None]]:
        """Values to be written now that the FLOW has reached `position`; they are forgotten."""
        ready = [(k, p) for k, p in self._pending.items() if p.a is not None and p.b <= position]
        for key, _ in ready:
            del self._pending[key]
            self._written[key] = position
        self.done += len(ready)
        return [(db, key, p.value) for (db, key), p in ready]

    def open_at(self, position: int) -> list[tuple[int, bytes]]:
        """Keys that a resume from `position` has to read again: a checkpoint records them."""
        if not self._pending and not self._written:
            return []
        return [*self._pending, *(key for key, written in self._written.items() if written >= position)]

    def confirmed(self, position: int) -> None:
        """The target has everything below `position`."""
        if self._written:
            self._written = {key: written for key, written in self._written.items() if written >= position}

    async def aclose(self) -> None:
        """Close the connection to the source; what is open stays known to `open_at`."""
        await self._reader.aclose()

    async def ask(self) -> list[tuple[int, bytes, str]]:
        """Read what has not been read; returns the keys that can't be: (db, key, why).

        To be called between two chunks of the journal: everything received before it has an LSN below A. Raises
        SourceLost: the keys wait for the next session then.
        """
        now = time.monotonic()
        wanted = [(key, p.tries) for key, p in self._pending.items() if p.a is None and now >= p.not_before]
        calm = [key for key, tries in wanted if tries < RESTLESS]
        restless = {key for key, tries in wanted if tries >= RESTLESS}
        failed: list[tuple[int, bytes, str]] = []
        for keys in [*(calm[at : at + 64] for at in range(0, len(calm), 64)), *([key] for key in restless)]:
            try:
                if keys[0] in restless:
                    readings = {keys[0]: await self._reader.read_alone(*keys[0])}
                else:
                    readings = await self._reader.read(keys)
            except SourceLost:
                raise
            except SourceError as error:
                readings = {key: Reading(0, 0, None, str(error)) for key in keys}
            for key, reading in readings.items():
                pending = self._pending.get(key)
                if pending is None:
                    continue
                if not_now(reading.problem):
                    # It is being taken over, and puts what matters into the FLOWs now: they have to be read on.
                    self._not_before = time.monotonic() + LATER
                elif reading.problem:
                    del self._pending[key]
                    failed.append((key[0], key[1], f"{pending.reason}; a re-read failed: {reading.problem}"))
                else:
                    pending.a, pending.b, pending.value = reading.a, reading.b, reading.value
                    pending.tries += 1
                    pending.not_before = time.monotonic() + min(pending.tries - 1, MOST_TRIES) * AGAIN_AFTER
                    if pending.tries % 100 == 0:
                        log.warning(
                            "a key changes faster than it can be re-read",
                            extra={"fields": {"flow": self.flow, "key": printable(key[1]), "tries": pending.tries}},
                        )
        return failed
