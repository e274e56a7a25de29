"""A small model replica: joins a source with the program's decoders and applies everything to a real server in order.

It is slow and simple on purpose: one connection to the target, each FLOW's records applied in stream order.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Any

import anycrc
import hiredis
import redis.asyncio

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.journal import JournalDecoder
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder

_crc64 = anycrc.Model("CRC64-REDIS")


class Wire:
    """A raw connection: one command, one reply; what follows a FLOW's reply stays in `rest`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.rest = b""

    @classmethod
    async def open(cls, port: int) -> Wire:
        return cls(*(await asyncio.open_connection("127.0.0.1", port)))

    async def ask(self, *args: object) -> Any:
        """The reply; strings decoded, an error as "-text"."""
        self.send(*args)
        parser = hiredis.Reader(encoding="utf-8")
        while (reply := parser.gets()) is False:
            data = await self.reader.read(1)
            if not data:
                raise ConnectionError("closed")
            parser.feed(data)
        return f"-{reply}" if isinstance(reply, hiredis.ReplyError) else reply

    def send(self, *args: object) -> None:
        self.writer.write(hiredis.pack_command(tuple(a if isinstance(a, bytes) else str(a).encode() for a in args)))

    async def closed(self) -> bool:
        """Whether the other side closes the connection (what it still sends is dropped)."""
        try:
            async with asyncio.timeout(5):
                while await self.reader.read(1 << 16):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        self.writer.close()


class Applier:
    """Executes records on the target; SELECT as needed. `log` keeps every journal command."""

    def __init__(self, target: redis.asyncio.Redis) -> None:
        self.target = target
        self.log: list[tuple[int, int, list[bytes]]] = []
        self.blobs = 0
        self.big = 0
        self._lock = asyncio.Lock()
        self._parts: dict[tuple[int, int], tuple[r.ValueStart, list[Any]]] = {}
        self._pending: list[tuple[int, tuple[Any, ...]]] = []

    async def run(self, db: int, *args: Any) -> None:
        self._pending.append((db, args))

    async def flush(self) -> None:
        """Execute what was gathered, in order; an error of the target is one of the test."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        async with self._lock:
            pipe = self.target.pipeline(transaction=False)
            for db, args in pending:
                pipe.execute_command("SELECT", db)
                pipe.execute_command(*args)
            await pipe.execute()

    async def snapshot(self, flow: int, record: r.SnapshotRecord) -> None:
        match record:
            case r.Strings(db, items):
                for key, value, expire in items:
                    await self.run(db, "SET", key, value, *(("PXAT", expire) if expire else ()))
            case r.Value(db, key, expire, type_code, raw):
                await self.restore(db, key, expire, type_code, raw)
            case r.ValueStart():
                self.big += 1
                self._parts[(flow, record.id)] = (record, [])
            case r.ValuePart(id, elements):
                self._parts[(flow, id)][1].extend(elements)
            case r.ValueEnd(id):
                await self.rebuild(*self._parts.pop((flow, id)))
            case r.Blob(entries):
                self.blobs += 1
                for entry in entries:
                    await self.journal(flow, entry, tolerant=False)

    async def restore(self, db: int, key: bytes, expire: int, type_code: int, raw: bytes) -> None:
        if type_code == r.HASH_TTL:
            await self.run(db, "DEL", key)
            from df2redis_tui.dragonfly.rdb.lengths import Cursor

            cursor = Cursor(raw)
            fields = [(cursor.string(), cursor.string(), int(cursor.string())) for _ in range(cursor.length())]
            for name, value, seconds in fields:
                await self.run(db, "HSET", key, name, value)
                if seconds >= 0:
                    await self.run(db, "HPEXPIREAT", key, (1675209600 + seconds) * 1000, "FIELDS", 1, name)
            if expire:
                await self.run(db, "PEXPIREAT", key, expire)
            return
        body = bytes((type_code,)) + raw + struct.pack("<H", 9)
        payload = body + struct.pack("<Q", _crc64.calc(body))
        await self.run(db, "RESTORE", key, expire, payload, "REPLACE", "ABSTTL")

    async def rebuild(self, start: r.ValueStart, elements: Sequence[Any]) -> None:
        db, key = start.db, start.key
        await self.run(db, "DEL", key)
        match r.KIND[start.type]:
            case "string":
                await self.run(db, "SET", key, b"".join(elements))
            case "list":
                await self.run(db, "RPUSH", key, *elements)
            case "set":
                await self.run(db, "SADD", key, *elements)
            case "hash":
                assert start.type == r.HASH
                await self.run(db, "HSET", key, *elements)
            case "zset":
                pairs = [x for m, s in zip(elements[::2], elements[1::2], strict=True) for x in (s, m)]
                await self.run(db, "ZADD", key, *pairs)
            case "stream":
                nodes = [e for e in elements if isinstance(e, r.StreamNode)]
                meta = elements[-1]
                from df2redis_tui.demo.encode_rdb import length

                raw = length(len(nodes))
                for node in nodes:
                    raw += b"\x10" + struct.pack(">QQ", node.ms, node.seq) + length(len(node.listpack)) + node.listpack
                await self.restore(db, key, 0, start.type, raw + meta.raw)
            case other:
                raise AssertionError(other)
        if start.expire_ms:
            await self.run(db, "PEXPIREAT", key, start.expire_ms)

    async def journal(self, flow: int, entry: r.Entry, *, tolerant: bool = False) -> None:
        if entry.op not in (r.OP_COMMAND, r.OP_EXPIRED, r.OP_MULTI):
            return
        args = list(entry.args)
        self.log.append((flow, entry.db, args))
        name = args[0]
        if name in (b"FLUSHALL", b"FLUSHDB"):
            if flow == 0:
                await self.run(entry.db, *args)
            return
        if name == b"HEXPIRE" or (name == b"HSETEX" and b"FIELDS" not in args):
            key, seconds = args[1], int(args[2])
            if name == b"HSETEX":
                fields = args[3:]
                args = [name, key, b"EX", b"%d" % seconds, b"FIELDS", b"%d" % (len(fields) // 2), *fields]
        await self.run(entry.db, *args)


class Replica:
    """One session, up to the stable sync and on, until `close`."""

    def __init__(self, port: int, applier: Applier) -> None:
        self.port = port
        self.applier = applier
        self.control: Wire
        self.master_id = ""
        self.sync_id = ""
        self.flows: list[Wire] = []
        self.answers: list[str] = []
        self.next: list[int] = []
        self.lsn_errors = 0
        self.full_sync_ends: list[asyncio.Event] = []
        self.stable: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.ack = True

    async def greet(self) -> int:
        self.control = await Wire.open(self.port)
        assert await self.control.ask("PING") == "PONG"
        assert await self.control.ask("REPLCONF", "listening-port", 7999) == "OK"
        reply = await self.control.ask("REPLCONF", "capa", "dragonfly")
        self.master_id, self.sync_id, count = reply[:3]
        assert await self.control.ask("REPLCONF", "CLIENT-VERSION", 4) == "OK"
        return int(count)

    async def open_flows(self, count: int, lsns: Sequence[int] | None = None) -> list[str]:
        tokens = []
        for index in range(count):
            wire = await Wire.open(self.port)
            resume = [] if lsns is None else [lsns[index]]
            answer, token = await wire.ask("DFLY", "FLOW", self.master_id, self.sync_id, index, *resume)
            self.flows.append(wire)
            self.answers.append(answer)
            tokens.append(token)
        return tokens

    async def full_sync(self) -> None:
        """Handshake to the stable sync."""
        count = await self.greet()
        tokens = await self.open_flows(count)
        self.next = [0] * count
        self.full_sync_ends = [asyncio.Event() for _ in range(count)]
        self.stable = [asyncio.Event() for _ in range(count)]
        self.tasks = [asyncio.create_task(self._follow(i, tokens[i].encode())) for i in range(count)]
        assert await self.control.ask("DFLY", "SYNC", self.sync_id) == "OK"
        await self._all(self.full_sync_ends)
        assert await self.control.ask("DFLY", "STARTSTABLE", self.sync_id) == "OK"
        await self._all(self.stable)

    async def resume(self, master_id: str, lsns: Sequence[int]) -> None:
        """The form of ≥1.35."""
        count = await self.greet()
        assert self.master_id == master_id
        await self.open_flows(count, lsns)
        assert self.answers == ["PARTIAL"] * count
        self.next = list(lsns)
        assert await self.control.ask("DFLY", "STARTSTABLE", self.sync_id) == "OK"
        self.tasks = [asyncio.create_task(self._journal(i, b"")) for i in range(count)]

    async def _all(self, events: list[asyncio.Event]) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            done, _ = await asyncio.wait([asyncio.gather(*waits), *self.tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for wait in waits:
                wait.cancel()

    async def _follow(self, index: int, token: bytes) -> None:
        decoder = SnapshotDecoder(index, token)
        wire = self.flows[index]
        while not decoder.finished:
            data = await wire.reader.read(1 << 16)
            if not data:
                raise ConnectionError(f"flow {index} ended in the full sync")
            decoder.receive(data)
            while (block := decoder.next_block()) is not None:
                for record in block:
                    if isinstance(record, r.FullSyncEnd):
                        self.full_sync_ends[index].set()
                    elif isinstance(record, r.JournalOffset):
                        self.next[index] = record.lsn
                    else:
                        await self.applier.snapshot(index, record)
                await self.applier.flush()
        self.stable[index].set()
        await self._journal(index, decoder.leftover)

    async def _journal(self, index: int, data: bytes) -> None:
        decoder = JournalDecoder(index)
        wire = self.flows[index]
        reached = self.next[index]
        while True:
            decoder.receive(data)
            while (entries := decoder.next_block()) is not None:
                for entry in entries:
                    if entry.op == r.OP_LSN:
                        self.lsn_errors += entry.txid != reached - 1
                        continue
                    await self.applier.journal(index, entry)
                    reached += 1
                await self.applier.flush()
                self.next[index] = reached
            if self.ack:
                wire.send("REPLCONF", "ACK", self.next[index])
            data = await wire.reader.read(1 << 16)
            if not data:
                return

    async def caught_up(self, timeout: float = 60.0) -> list[int]:
        """Wait until everything the source has done is applied; the source must be at rest."""
        asking = await Wire.open(self.port)
        try:
            goal = await asking.ask("DFLY", "REPLICAOFFSET")
        finally:
            asking.close()
        async with asyncio.timeout(timeout):
            # A key that expires meanwhile moves a FLOW beyond the goal.
            while any(here < there for here, there in zip(self.next, goal, strict=True)):
                for task in self.tasks:
                    if task.done():
                        task.result()
                        raise AssertionError(f"a flow ended at {self.next}, the source is at {goal}")
                await asyncio.sleep(0.01)
        return goal

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for wire in (*self.flows, self.control):
            wire.close()
