"""A replication session as the master keeps it: its FLOWs, its state, its full sync (protocol page §2.3, §3.9)."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final

import hiredis

from df2redis_tui.demo.flow_stream import FlowStream, Mode
from df2redis_tui.demo.mirror import Mirror
from df2redis_tui.demo.shards import shard_of
from df2redis_tui.demo.valkey_dump import from_dump

Key = tuple[int, bytes]

_PAGE: Final = b"100"  # keys that SCAN gives at a time


class State(Enum):
    """§2.3. Anything goes to CANCELLED on an error or a closed socket."""

    PREPARATION = "preparation"
    FULL_SYNC = "full_sync"
    STABLE_SYNC = "online"
    CANCELLED = "cancelled"


class Session:
    """What a control connection's `REPLCONF capa dragonfly` created."""

    def __init__(self, sync_id: str, shards: int, address: tuple[str, int]) -> None:
        self.sync_id = sync_id
        self.address = address
        self.client_version = 0
        self.client_id = ""
        self.state = State.PREPARATION
        self.flows: list[FlowStream | None] = [None] * shards
        self.static_done = asyncio.Event()
        self.ended = asyncio.Event()
        self.reason = ""
        self.task: asyncio.Task[None] | None = None
        self.traversing = False
        self._visited: set[Key] = set()
        self._omitted: set[Key] = set()

    @property
    def connected_flows(self) -> list[FlowStream]:
        return [flow for flow in self.flows if flow is not None]

    @property
    def complete(self) -> bool:
        """Whether every shard has its FLOW."""
        return all(flow is not None for flow in self.flows)

    def lag(self) -> int:
        """Largest distance of a FLOW's ACK from its shard's next LSN."""
        return max((flow.shard.next_lsn - flow.acked for flow in self.connected_flows), default=0)

    def wants_base(self, key: Key) -> bool:
        """Whether the traversal has still to send the value of `key`."""
        if not self.traversing or key in self._visited:
            return False
        flow = self.flows[shard_of(key[1], len(self.flows))]
        return flow is not None and flow.resume_at is None

    def visit(self, mirror: Mirror, key: Key, listpacks: bool) -> None:
        """Send `key` with the value it has at this position of the pipeline; once per session."""
        self._visited.add(key)
        db, name = key
        flow = self.flows[shard_of(name, len(self.flows))]

        def put(replies: list[object]) -> None:
            payload, expire_ms = replies
            if (
                flow is not None
                and isinstance(payload, bytes)
                and isinstance(expire_ms, int)
                and flow.mode is Mode.FULL
            ):
                type_code, value = from_dump(payload, listpacks=listpacks)
                flow.put_entry(db, name, max(0, expire_ms), type_code, value)

        mirror.select(db)
        mirror.request([(b"DUMP", name), (b"PEXPIRETIME", name)], put)

    def leave_out(self, key: Key) -> None:
        """An omitted write of `key`: its later value must be sent even when SCAN does not meet a key that new."""
        self._omitted.add(key)

    async def traverse(self, mirror: Mirror, databases: int, listpacks: bool, room: asyncio.Event, pace: float) -> None:
        """Send every key that no write has visited yet, then opcode 200 everywhere. `pace`: seconds between pages."""
        if any(flow.resume_at is None for flow in self.connected_flows):
            for db in range(databases):
                await self._traverse_db(mirror, db, listpacks, room, pace)
            for key in [key for key in self._omitted if self.wants_base(key)]:
                self.visit(mirror, key, listpacks)

        # From here on a write needs no base value: what exists has been asked for, what comes is journalled whole.
        self.traversing = False

        def finish(_: list[object]) -> None:
            self._visited.clear()
            self._omitted.clear()
            for flow in self.connected_flows:
                if flow.mode is Mode.FULL:
                    flow.finish_static()
            self.static_done.set()

        mirror.request([(b"PING",)], finish)
        mirror.flush()

    async def _traverse_db(self, mirror: Mirror, db: int, listpacks: bool, room: asyncio.Event, pace: float) -> None:
        cursor = b"0"
        while True:
            (reply,) = await mirror.ask((b"SCAN", cursor, b"COUNT", _PAGE), db=db)
            if isinstance(reply, hiredis.ReplyError) or not isinstance(reply, list):
                raise RuntimeError(f"SCAN on the mirror failed: {reply}")
            cursor, names = reply
            for name in names:
                if self.wants_base((db, name)):
                    self.visit(mirror, (db, name), listpacks)
            await mirror.room()
            await room.wait()
            if pace:
                await asyncio.sleep(pace)
            if cursor == b"0":
                return

    def cancel(self, reason: str) -> None:
        """End the session: sockets of FLOWs that transmit are closed, the control connection stays."""
        if self.state is State.CANCELLED:
            return
        self.state = State.CANCELLED
        self.reason = reason
        self.traversing = False
        if self.task is not None:
            self.task.cancel()
        for flow in self.connected_flows:
            flow.end()
        self.ended.set()
