"""One session with a replica: its FLOWs, the order of the handshake (protocol page §1 and §2), what is sent."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

from tests.support.player.resp import encode
from tests.support.player.script import Behaviour, Script


class Connection:
    """One connection of a replica, and what it has become so far."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.authenticated = False
        self.session: PlayedSession | None = None
        self.flow: int | None = None
        self.db = 0
        self.queued: list[list[bytes]] | None = None  # of a MULTI


class PlayedSession:
    """What `REPLCONF capa dragonfly` created, until its first connection closes.

    `wrong(what, error)` notes a violation and gives the error reply. `released` lets a stable part go that is held.
    `stable_started` and `played` are set on the way.
    """

    def __init__(
        self,
        script: Script,
        sync_id: str,
        behaviour: Behaviour,
        *,
        wrong: Callable[[str, str], bytes],
        released: asyncio.Event,
        stable_started: threading.Event,
        played: threading.Event,
    ) -> None:
        self.script = script
        self.sync_id = sync_id
        self.state = "PREPARATION"
        self.flows: dict[int, Connection] = {}
        self.partial: set[int] = set()
        self.start = asyncio.Event()
        self.stable_ready = [asyncio.Event() for _ in script.flows]
        self.sent = [0] * len(script.flows)
        self.finished = [False] * len(script.flows)
        self.senders: list[asyncio.Task[None]] = []
        self._behaviour = behaviour
        self._wrong = wrong
        self._released = released
        self._stable_started = stable_started
        self._played = played

    def open_flow(self, connection: Connection, words: list[str]) -> bytes | None:
        if connection.session is not None:
            return self._wrong("DFLY FLOW on the control connection", "ERR invalid state")
        if len(words) not in (5, 6):
            return self._wrong(f"arguments of {words}", "ERR syntax error")
        if words[2] != self.script.master_id:
            return self._wrong("DFLY FLOW with another master id", "ERR bad master id")
        if words[3] != self.sync_id:
            return self._wrong("DFLY FLOW with another sync id", "ERR syncid not found")
        if not words[4].isdigit() or int(words[4]) >= len(self.script.flows):
            return self._wrong(f"FLOW {words[4]} does not exist", "ERR value is not an integer or out of range")
        flow = int(words[4])
        if flow in self.flows:
            return self._wrong(f"FLOW {flow} opened twice", "ERR invalid state")
        if self.state != "PREPARATION":
            return self._wrong(f"FLOW {flow} opened in state {self.state}", "ERR invalid state")
        if len(words) == 6 and self.script.release < (1, 11):
            return self._wrong("DFLY FLOW with an LSN to a server before 1.11", "ERR syntax error")
        script = self.script.flows[flow]
        granted = "FULL"
        if script.resumes_from is not None:
            if len(words) != 6 or words[5] != str(script.resumes_from):
                return f"-ERR this recording of FLOW {flow} resumes from {script.resumes_from} only\r\n".encode()
            granted = "PARTIAL"
            self.partial.add(flow)
        self.flows[flow] = connection
        connection.flow, connection.session = flow, self
        connection.writer.write(encode([granted, script.token]))
        if granted == "PARTIAL":
            self.senders.append(asyncio.create_task(self._send(flow, connection)))
        return None

    def sync(self, connection: Connection, words: list[str]) -> bytes:
        if connection.session is not self:
            return self._wrong("DFLY SYNC not on the control connection", "ERR invalid state")
        if words[2:] != [self.sync_id]:
            return self._wrong(f"DFLY SYNC {words[2:]}", "ERR syncid not found")
        if self.state != "PREPARATION" or len(self.flows) != len(self.script.flows) or self.partial:
            return self._wrong(f"DFLY SYNC in {self.state} with {len(self.flows)} FLOWs", "ERR invalid state")
        self.state = "FULL_SYNC"
        for flow, of_flow in self.flows.items():
            self.senders.append(asyncio.create_task(self._send(flow, of_flow)))
        return b"+OK\r\n"

    async def start_stable(self, connection: Connection, words: list[str]) -> bytes:
        if connection.session is not self:
            return self._wrong("DFLY STARTSTABLE not on the control connection", "ERR invalid state")
        if words[2:] != [self.sync_id]:
            return self._wrong(f"DFLY STARTSTABLE {words[2:]}", "ERR syncid not found")
        scripts = self.script.flows
        resumed = len(self.partial) == len(scripts)
        if self.state != "FULL_SYNC" and not resumed:
            return self._wrong(f"STARTSTABLE in state {self.state} crashes a real server", "ERR invalid state")
        early = [f for f, s in enumerate(scripts) if self.sent[f] < s.full_sync_end]
        if early:
            return self._wrong(
                f"STARTSTABLE before opcode 200 of FLOWs {early} freezes a real server", "ERR invalid state"
            )
        await asyncio.sleep(self._behaviour.startstable_delay)
        self.start.set()
        self._stable_started.set()
        for ready in self.stable_ready:
            await ready.wait()
        self.state = "STABLE_SYNC"
        return b"+OK\r\n"

    def end(self) -> None:
        """A real server ends the whole session when one of its sockets closes."""
        if self.state == "CANCELLED":
            return
        self.state = "CANCELLED"
        for sender in self.senders:
            sender.cancel()
        for other in self.flows.values():
            other.writer.close()

    async def _send(self, flow: int, connection: Connection) -> None:
        script, behaviour = self.script.flows[flow], self._behaviour
        with contextlib.suppress(OSError):
            for piece in script.snapshot():
                await self._write(flow, connection, piece)
            await self.start.wait()
            remaining = script.stable_from
            for piece in script.stable() if script.stable else ():
                view = memoryview(piece)
                if remaining > 0:
                    await self._write(flow, connection, view[:remaining])
                    remaining, view = remaining - min(remaining, len(view)), view[remaining:]
                if remaining == 0:
                    self.stable_ready[flow].set()
                    if behaviour.hold_stable:
                        await self._released.wait()
                await self._write(flow, connection, view)
            self.stable_ready[flow].set()
            if script.live is not None:
                async for live in script.live():
                    await self._write(flow, connection, live)
            self.finished[flow] = True
            if all(self.finished):
                self._played.set()
                if behaviour.close_at_end:
                    for other in self.flows.values():
                        other.writer.close()

    async def _write(self, flow: int, connection: Connection, data: bytes | memoryview) -> None:
        behaviour = self._behaviour
        view = memoryview(data)
        limit = behaviour.cut_after.get(flow)
        for offset in range(0, len(view), behaviour.piece):
            piece = view[offset : offset + behaviour.piece]
            if limit is not None and self.sent[flow] + len(piece) > limit:
                connection.writer.write(piece[: limit - self.sent[flow]])
                connection.writer.close()
                raise ConnectionAbortedError("cut on purpose")
            connection.writer.write(piece)
            self.sent[flow] += len(piece)
            await connection.writer.drain()
            if behaviour.delay:
                await asyncio.sleep(behaviour.delay)
