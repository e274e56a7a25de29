"""The look-alike: a Dragonfly to whoever asks, an embedded Valkey behind it.

`LookAlike` runs in the caller's event loop; `python -m df2redis_tui.demo.source` is the same as a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Final

import hiredis

from df2redis_tui.demo.backend_stream import BackendStream
from df2redis_tui.demo.embedded import EmbeddedValkey
from df2redis_tui.demo.flow_stream import FlowStream
from df2redis_tui.demo.front import Client, error
from df2redis_tui.demo.journal import Journal
from df2redis_tui.demo.mirror import IMPORT_OPTIONS, Mirror
from df2redis_tui.demo.release import Release
from df2redis_tui.demo.replication import Replication
from df2redis_tui.demo.resp import pack
from df2redis_tui.demo.session import Session
from df2redis_tui.errors import Df2RedisError

log = logging.getLogger(__name__)

_BACKEND_OPTIONS: Final = (
    "--repl-diskless-sync-delay",
    "0",
    "--repl-timeout",
    "86400",
    "--repl-ping-replica-period",
    "1",
    "--set-max-listpack-entries",  # and no set as a listpack: its type 20 means JSON (§3.4)
    "0",
    "--rdbcompression",
    "no",
)
_DENSE_HLL: Final = ("--hll-sparse-max-bytes", "0")  # of releases up to 1.16
_SCRIPTS: Final = frozenset((b"EVAL", b"EVALSHA", b"FCALL"))


class LookAlike:
    """A source on 127.0.0.1. `async with LookAlike(flows=4) as source:`, then connect to `source.host`, `source.port`.

    Counters for tests: `crashes` (things that would have ended a real master), `stray_replies` (replies that a client
    provoked inside a FLOW's stream). Faults: `cut_flow`, `cut_control`, `hold_flow`, `release_flow`, `delay_flows`,
    `reading` (an Event: clear it and no client is read), `refuse_partial`, `is_replica`, `restart`,
    `fail_over`, `lose_master`.
    """

    def __init__(
        self,
        *,
        flows: int = 4,
        version: str = "df-v1.40.1",
        password: str | None = None,
        backlog: int | None = None,
        stall_timeout: float = 30.0,
        output_limit: int | None = None,
        chunk_limit: int = 64 * 1024,
        compress: bool = True,
        journal_omit: bool | None = None,
        snapshot_pace: float = 0.0,
        port: int = 0,
    ) -> None:
        self.release = Release.parse(version)
        self.host = "127.0.0.1"
        self.port = port
        self.password = password
        self.chunk_limit = chunk_limit
        self.compress = compress
        self.snapshot_pace = snapshot_pace
        self.refuse_partial = False
        self.crashes = 0
        self.stray_replies = 0
        self.master_id = secrets.token_hex(20)
        self.former_master_id = ""
        self.users: list[str] = []  # more lines of ACL LIST
        self.hides_users = False  # ACL LIST is refused
        self.emulates_cluster = False
        self.managed_service_info = False  # as the flag of this name
        self.is_replica = False  # fault switch: it may not be replicated, as before its promotion
        self.taken_over = False
        self.paused_until = 0.0
        self.reading = asyncio.Event()
        self.reading.set()
        self.acknowledged = asyncio.Event()
        self.closed = asyncio.Event()
        self.close_reason = ""
        self.write_commands: frozenset[bytes] = frozenset()
        self.replication = Replication(self)
        self.journal = Journal(
            self.release,
            flows,
            backlog=backlog or self.release.default_backlog,
            omit=self.release.since(39) if journal_omit is None else journal_omit,
            stall_timeout=stall_timeout,
            output_limit=output_limit or self.release.output_limit,
            on_cancel=self._session_cancelled,
        )
        self.backend: EmbeddedValkey
        self._mirror_server: EmbeddedValkey
        self._server: asyncio.Server
        self._stream: BackendStream
        self._clients: dict[Client, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._admin: tuple[asyncio.StreamReader, asyncio.StreamWriter]
        self._admin_lock = asyncio.Lock()
        self._locks = 0

    @property
    def port_of_backend(self) -> int:
        """The embedded server itself, for tests that look behind the front."""
        return self.backend.port

    # --- life

    async def __aenter__(self) -> LookAlike:
        hll = () if self.release.since(17) else _DENSE_HLL
        self.backend, self._mirror_server = await asyncio.gather(
            EmbeddedValkey.start(*_BACKEND_OPTIONS, *hll), EmbeddedValkey.start(*IMPORT_OPTIONS, *hll)
        )
        try:
            self._stream = await BackendStream.join(self.backend)
            self.journal.mirror = await Mirror.connect(self._mirror_server, self.journal.after_emission)
            self._admin = await asyncio.open_unix_connection(self.backend.socket_path, limit=1 << 22)
            self.write_commands = await self._find_write_commands()
            self._tasks = [
                self._supervise("journal", self.journal.run(self._stream)),
                self._supervise("acknowledging", self._stream.acknowledge()),
                self._supervise("mirror", self.journal.mirror.run()),
                self._supervise("readers", self.journal.watch_readers()),
            ]
            await self._joined()
            await self._listen()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut_down("closed")
        for task in [*self._tasks, *self._clients.values()]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._clients.values(), return_exceptions=True)
        await asyncio.gather(self.backend.stop(), self._mirror_server.stop())

    async def _joined(self) -> None:
        """Until the transfer has ended: a FLUSHALL before that kills it, and the stream with it."""
        while "state=online" not in str(await self.ask_backend(b"INFO", b"replication")):
            await asyncio.sleep(0.005)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, limit=1 << 17, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    def _supervise(self, name: str, work: object) -> asyncio.Task[None]:
        async def run() -> None:
            try:
                await work  # type: ignore[misc]
            except Exception as failure:
                if not self.closed.is_set():
                    log.error("the look-alike's %s failed: %s (%s)", name, failure, self.backend.last_line())
                    self.shut_down(f"{name} failed: {failure}")

        return asyncio.create_task(run(), name=f"look-alike {name}")

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._clients[client] = task
        with suppress(asyncio.CancelledError):
            await client.run()

    def connection_closed(self, client: Client) -> None:
        """A lost socket of a session ends the whole session (§2.3)."""
        self._clients.pop(client, None)
        for session, what in ((client.session, "the control connection"), (client.flow_session, "a FLOW")):
            if session is not None:
                self.journal.cancel(session, f"{what} closed")

    def _session_cancelled(self, session: Session, reason: str) -> None:
        for client in self._clients:
            if client.session is session:
                client.session = None
            if client.flow_session is session and client.flow is not None:
                client.flow_session = None

    def shut_down(self, reason: str) -> None:
        """As if the process ended: every socket closes, nothing listens. `__aexit__` removes the servers behind."""
        if self.closed.is_set():
            return
        self.close_reason = reason
        self.closed.set()
        if hasattr(self, "_server"):
            self._server.close()
        self._drop_clients()

    def _drop_clients(self) -> None:
        for session in list(self.journal.sessions.values()):
            self.journal.cancel(session, "the source ended")
        for client in list(self._clients):
            client.transport.abort()

    def crash(self, why: str) -> None:
        """What a real master answers with SIGSEGV."""
        self.crashes += 1
        log.error("a real master would have crashed: %s", why)
        self.shut_down(f"crashed: {why}")

    # --- faults

    def cut_flow(self, index: int) -> None:
        """Close the socket of FLOW `index` of every session."""
        for flow in self._flows(index):
            flow.transport.abort()

    def cut_control(self) -> None:
        """Close every control connection."""
        for client in list(self._clients):
            if client.session is not None:
                client.transport.abort()

    def hold_flow(self, index: int) -> None:
        """Send nothing on FLOW `index` until `release_flow`, as if its reader had stopped."""
        for flow in self._flows(index):
            flow.held = True

    def release_flow(self, index: int) -> None:
        for flow in self._flows(index):
            flow.release_held()

    def delay_flows(self, seconds: float) -> None:
        """From now on everything reaches the FLOW sockets that much later (order is kept)."""
        for index in range(len(self.journal.shards)):
            for flow in self._flows(index):
                flow.delay = seconds

    def _flows(self, index: int) -> list[FlowStream]:
        found = [session.flows[index] for session in self.journal.sessions.values()]
        return [flow for flow in found if flow is not None]

    async def restart(
        self, *, down: float = 0.0, flows: int | None = None, same_id: bool = False, empty: bool = False
    ) -> None:
        """A new process with the same data (or none) on the same port: new master id, no sessions, LSNs from 1, no
        backlog."""
        self._server.close()
        self._drop_clients()
        await self.journal.barrier()
        self.master_id = self.master_id if same_id else secrets.token_hex(20)
        self.former_master_id = ""
        self.journal.begin_anew(flows or len(self.journal.shards))
        if empty:
            await self.ask_backend(b"FLUSHALL")
        await asyncio.sleep(down)
        self.taken_over = False
        await self._listen()

    async def fail_over(self, *, timeout: float = 5.0, down: float = 0.0) -> None:
        """A replica of this server takes it over (DFLY TAKEOVER) and answers on its port from then on.

        It has the same data and goes on with the same LSNs. Its backlog began with the takeover (§2.5, §5.4).
        """
        self.taken_over = True
        # Running commands end, and nothing expires any more.
        await self.ask_backend(b"CLIENT", b"PAUSE", b"%d" % (timeout * 2000), b"WRITE")
        await self.journal.catch_up(await self.backend_offset())
        await self.journal.ping_all()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while any(session.lag() > 0 for session in self.journal.sessions.values()):
                    self.acknowledged.clear()
                    await self.acknowledged.wait()
        await self._promote(down)

    async def lose_master(self, *, down: float = 0.0) -> None:
        """The process dies, and a replica is made the master (REPLICAOF NO ONE): nobody waited for anybody."""
        await self._promote(down)

    async def _promote(self, down: float) -> None:
        self._server.close()
        self._drop_clients()
        await self.journal.barrier()
        self.former_master_id, self.master_id = self.master_id, secrets.token_hex(20)
        for shard in self.journal.shards:
            shard.backlog.clear()
        await asyncio.sleep(down)
        await self.ask_backend(b"CLIENT", b"UNPAUSE")
        self.taken_over = False
        await self._listen()

    # --- what the replication commands need

    @property
    def taken_over_error(self) -> bytes:
        if self.release.since(20):
            return error("LOADING Dragonfly is loading the dataset in memory")
        return error("ERR Can not execute during TAKEN OVER")

    @property
    def paused_all(self) -> bool:
        return self.paused_until > time.monotonic()

    async def pause_over(self) -> None:
        while (left := self.paused_until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.05))

    def global_lock(self, taken: bool) -> None:
        """Hold back every writer."""
        self.journal.locked += 1 if taken else -1
        self.journal.regulate()

    async def ask_backend(self, *args: bytes) -> object:
        """One command on a connection of the look-alike's own; errors come back as objects."""
        async with self._admin_lock:
            reader, writer = self._admin
            writer.write(pack(args))
            parser = hiredis.Reader()
            while (reply := parser.gets()) is False:
                data = await reader.read(1 << 18)
                if not data:
                    raise ConnectionError("the embedded backend is gone")
                parser.feed(data)
            return reply

    async def backend_offset(self) -> int:
        """How far the backend's replication stream goes now."""
        role = await self.ask_backend(b"ROLE")
        assert isinstance(role, list)
        return int(role[1])

    async def _find_write_commands(self) -> frozenset[bytes]:
        reply = await self.ask_backend(b"COMMAND")
        assert isinstance(reply, list)
        names = {entry[0].upper() for entry in reply if any(bytes(flag) in (b"write", b"+write") for flag in entry[2])}
        return frozenset(names | _SCRIPTS)


async def _serve(options: argparse.Namespace) -> None:
    """Run until stdin ends: whoever started this process holds the other end."""
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    async with LookAlike(
        flows=options.flows,
        version=options.version,
        password=options.password,
        backlog=options.backlog,
        snapshot_pace=options.snapshot_pace,
        port=options.port,
    ) as source:
        line = {"host": source.host, "port": source.port, "port_of_backend": source.port_of_backend}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        closing = asyncio.ensure_future(source.closed.wait())
        orphaned = asyncio.ensure_future(stdin.read())
        await asyncio.wait((closing, orphaned), return_when=asyncio.FIRST_COMPLETED)
        closing.cancel()
        orphaned.cancel()


def main(argv: list[str] | None = None) -> int:
    """`python -m df2redis_tui.demo.source`: prints its address as one JSON line, ends when stdin does."""
    parser = argparse.ArgumentParser(prog="python -m df2redis_tui.demo.source", description=__doc__)
    parser.add_argument("--flows", type=int, default=4)
    parser.add_argument("--version", default="df-v1.40.1")
    parser.add_argument("--password")
    parser.add_argument("--backlog", type=int)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--snapshot-pace", type=float, default=0.0, help="seconds between pages of the snapshot")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="look-alike: %(message)s")
    try:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(options))
    except Df2RedisError as failure:
        sys.stderr.write(f"{failure}\n")
        return failure.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
