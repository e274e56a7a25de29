"""Replication commands with the strictness of a real master (protocol page §1.2, §2), and INFO, ROLE, CLIENT PAUSE."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING, Final

from df2redis_tui.demo.flow_stream import FlowStream
from df2redis_tui.demo.front import OK, SYNTAX, Client, array, bulk, error, integer, simple
from df2redis_tui.demo.session import Session, State

if TYPE_CHECKING:
    from df2redis_tui.demo.source import LookAlike

log = logging.getLogger(__name__)

_NOT_INTEGER: Final = error("ERR value is not an integer or out of range")
_INVALID_STATE: Final = error("ERR invalid state")


def _integer(text: bytes) -> int | None:
    return int(text) if re.fullmatch(rb"-?\d{1,19}", text) else None


class Replication:
    """Answers for one look-alike. A reply of None means: let the backend answer; b"" means no reply at all."""

    def __init__(self, source: LookAlike) -> None:
        self._source = source
        self.sessions_begun = 0
        self.full_syncs = 0
        self.failover_partials = 0  # FLOWs that were granted the journal of the former master
        self.early_startstable = 0  # STARTSTABLE that found the snapshot running: an outage on a real master

    async def answer(self, client: Client, name: bytes, args: list[bytes]) -> bytes | None:
        """One command that is not simply passed on."""
        match name:
            case b"AUTH":
                return self._auth(client, args)
            case b"HELLO":
                return self._hello(client, args)
            case b"REPLCONF":
                return self._replconf(client, args)
            case b"DFLY":
                return await self._dfly(client, args)
            case b"INFO":
                return await self._info(client, args)
            case b"ROLE":
                return self._role()
            case b"CLIENT":
                return await self._pause(args)
            case b"ACL":
                return self._acl(args)
            case b"CLUSTER":
                return self._cluster(args)
        return error(f"ERR unknown command `{name.decode('ascii', 'replace')}`")

    # --- connection

    def _auth(self, client: Client, args: list[bytes]) -> bytes:
        if len(args) not in (2, 3):
            return error("ERR wrong number of arguments for 'auth' command")
        if self._source.password is None:
            return OK if len(args) == 3 else error("ERR AUTH <password> called without any password configured")
        user_fits = len(args) == 2 or args[1] == b"default"
        client.authenticated = user_fits and secrets.compare_digest(args[-1], self._source.password.encode())
        if client.authenticated:
            return OK
        return error("WRONGPASS invalid username-password pair or user is disabled.")

    def _hello(self, client: Client, args: list[bytes]) -> bytes | None:
        options = [option.upper() for option in args]
        if b"AUTH" in options[2:]:
            at = options.index(b"AUTH", 2)
            refusal = self._auth(client, [b"AUTH", *args[at + 1 : at + 3]])
            if refusal != OK:
                return refusal
            del args[at : at + 3]
        if not client.authenticated:
            return error("NOAUTH Authentication required.")
        return None

    # --- REPLCONF

    def _replconf(self, client: Client, args: list[bytes]) -> bytes:
        options = args[1:]
        if not options or len(options) % 2:
            return SYNTAX
        if client.flow is not None:
            return self._ack(client, options)
        for option, value in zip(options[::2], options[1::2], strict=True):
            match option.upper():
                case b"CAPA":
                    if value == b"dragonfly" and len(options) == 2:
                        return self._new_session(client)
                case b"LISTENING-PORT":
                    port = _integer(value)
                    if port is None:
                        return _NOT_INTEGER
                    client.listening_port = port
                case b"IP-ADDRESS" if self._source.release.since(21):
                    client.announced_ip = value.decode("ascii", "replace")
                case b"CLIENT-ID":
                    if client.session is not None:
                        client.session.client_id = value.decode("ascii", "replace")
                case b"CLIENT-VERSION":
                    version = _integer(value)
                    if version is None:
                        return _NOT_INTEGER
                    if client.session is None:
                        self._source.crash("REPLCONF CLIENT-VERSION before capa dragonfly")
                        return b""
                    client.session.client_version = version
                case b"ACK":
                    return b""
                case _:
                    return SYNTAX
        return OK

    def _ack(self, client: Client, options: list[bytes]) -> bytes:
        lsn = _integer(options[1])
        if options[0].upper() != b"ACK" or lsn is None or client.flow is None:
            self._source.stray_replies += 1
            return OK if lsn is not None else SYNTAX
        client.flow.acked = lsn
        self._source.acknowledged.set()
        return b""

    def _new_session(self, client: Client) -> bytes:
        source = self._source
        if source.is_replica and source.release.since(24):
            return error("ERR Replicating a replica is unsupported")
        if client.session is not None:
            source.journal.cancel(client.session, "a new one was asked for")
        self.sessions_begun += 1
        ip = client.announced_ip or str((client.writer.get_extra_info("peername") or ("?",))[0])
        client.session = Session(f"SYNC{self.sessions_begun}", len(source.journal.shards), (ip, client.listening_port))
        source.journal.sessions[client.session.sync_id] = client.session
        reply = [simple(source.master_id), simple(client.session.sync_id), integer(len(source.journal.shards))]
        if source.release.capa_version is not None:
            reply.append(integer(source.release.capa_version))
        if source.release.since(40):
            reply.append(simple(source.master_id))
        return array(reply)

    # --- DFLY

    async def _dfly(self, client: Client, args: list[bytes]) -> bytes:
        sub = args[1].upper() if len(args) > 1 else b""
        if sub == b"FLOW":
            return self._flow(client, args)
        if sub == b"REPLICAOFFSET" and len(args) == 2:
            return await self._replica_offset()
        if sub in (b"SYNC", b"STARTSTABLE") and len(args) == 3:
            session = self._find(args[2])
            if isinstance(session, bytes):
                return session
            return await (self._sync(session) if sub == b"SYNC" else self._start_stable(session))
        if sub == b"TAKEOVER" and len(args) in (4, 5) and self._source.release.since(5):
            return await self._take_over(args)
        return SYNTAX

    def _find(self, sync_id: bytes) -> Session | bytes:
        if not re.fullmatch(rb"SYNC\d+", sync_id):
            return error("ERR bad sync id")
        return self._source.journal.sessions.get(sync_id.decode()) or error("ERR syncid not found")

    def _flow(self, client: Client, args: list[bytes]) -> bytes:
        source = self._source
        forms = (5, 6, 7) if source.release.since(30) else (5, 6) if source.release.partial != "unknown" else (5,)
        if len(args) not in forms:
            return SYNTAX
        index = _integer(args[4])
        if args[2].decode("ascii", "replace") != source.master_id:
            return error("ERR bad master id")
        session = self._find(args[3])
        if isinstance(session, bytes):
            return session
        if index is None or not 0 <= index < len(session.flows):
            return _NOT_INTEGER
        if session.state is not State.PREPARATION or session.flows[index] is not None or client.flow is not None:
            return _INVALID_STATE
        resume_at: int | None = None
        if len(args) == 6:
            resume_at = _integer(args[5])
            if resume_at is None:
                return _NOT_INTEGER
        if len(args) == 7 and args[5].decode("ascii", "replace") == (source.former_master_id or None):
            vector = [_integer(lsn) for lsn in args[6].split(b"-")]
            if len(vector) != len(session.flows):
                return SYNTAX
            resume_at = vector[index]
            if resume_at is None:
                return _NOT_INTEGER
        shard = source.journal.shards[index]
        partial = source.release.partial in ("raw", "legacy") and not source.refuse_partial
        granted = resume_at is not None and partial and source.journal.enabled and shard.holds(resume_at)
        source.journal.enabled = True
        self.failover_partials += granted and len(args) == 7
        token = secrets.token_hex(20).encode()
        flow = FlowStream(
            shard,
            client.transport,
            token=token,
            release=source.release,
            resume_at=resume_at if granted else None,
            chunk_limit=source.chunk_limit,
            compress=source.compress,
            sends_lsn=source.release.sends_lsn(session.client_version),
            on_dirty=source.journal.mark_dirty,
        )
        client.transport.set_write_buffer_limits(high=1 << 30)
        session.flows[index] = flow
        client.flow, client.flow_session = flow, session
        return array([simple("PARTIAL" if granted else "FULL"), simple(token.decode())])

    async def _sync(self, session: Session) -> bytes:
        if session.state is not State.PREPARATION or not session.complete:
            return _INVALID_STATE
        raw = self._source.release.partial == "raw"
        granted = [flow for flow in session.connected_flows if flow.resume_at is not None]
        if granted and self._source.release.since(40):
            return _INVALID_STATE
        if granted and raw:
            self._source.crash("DFLY SYNC with a FLOW that was granted PARTIAL")
            return b""
        if len(granted) < len(session.flows):
            self.full_syncs += 1
        await self._source.journal.begin_full_sync(session, self._source.snapshot_pace)
        return OK if session.sync_id in self._source.journal.sessions else error("ERR syncid not found")

    async def _start_stable(self, session: Session) -> bytes:
        source = self._source
        allowed = (State.FULL_SYNC, State.PREPARATION) if source.release.since(35) else (State.FULL_SYNC,)
        if session.state not in allowed or not session.complete:
            return _INVALID_STATE
        if session.state is State.PREPARATION and any(f.resume_at is None for f in session.connected_flows):
            source.crash("DFLY STARTSTABLE before a full sync")
            return b""
        if session.state is State.FULL_SYNC and not session.static_done.is_set():
            self.early_startstable += 1
            log.warning("DFLY STARTSTABLE while the snapshot runs: writers wait for its end")
            source.global_lock(True)
            try:
                ended = [asyncio.ensure_future(event.wait()) for event in (session.static_done, session.ended)]
                await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
                for waiter in ended:
                    waiter.cancel()
            finally:
                source.global_lock(False)
        return OK if await source.journal.begin_stable_sync(session) else error("ERR syncid not found")

    async def _replica_offset(self) -> bytes:
        source = self._source
        await source.journal.catch_up(await source.backend_offset())
        return array([integer(s.next_lsn if source.journal.enabled else 0) for s in source.journal.shards])

    async def _take_over(self, args: list[bytes]) -> bytes:
        source = self._source
        seconds = _integer(args[2])
        if seconds is None or seconds < 0:
            return _NOT_INTEGER
        if len(args) == 5 and args[3].upper() != b"SAVE":
            return SYNTAX
        session = self._find(args[-1])
        if isinstance(session, bytes):
            return session
        if session.state is not State.STABLE_SYNC:
            return _INVALID_STATE
        source.taken_over = True
        try:
            async with asyncio.timeout(seconds):
                await source.journal.catch_up(await source.backend_offset())
                await source.journal.ping_all()
                while session.lag() > 0:
                    if session.ended.is_set():
                        raise TimeoutError
                    source.acknowledged.clear()
                    await source.acknowledged.wait()
        except TimeoutError:
            source.taken_over = False
            return error("ERR Takeover failed!")
        asyncio.get_running_loop().call_later(0.2, source.shut_down, "taken over")
        return OK

    # --- INFO, ROLE, CLIENT PAUSE

    def _replicas(self) -> list[tuple[str, int, str, int]]:
        names = {State.STABLE_SYNC: "online" if self._source.release.since(18) else "stable_sync"}
        return [
            (*session.address, names.get(session.state, session.state.value), session.lag())
            for session in self._source.journal.sessions.values()
        ]

    def _role(self) -> bytes:
        replicas = [
            array([bulk(ip.encode()), bulk(b"%d" % port), bulk(state.encode())])
            for ip, port, state, _ in self._replicas()
        ]
        return array([bulk(b"master"), array(replicas)])

    def _replication_section(self) -> str:
        replicas = self._replicas()
        lines = ["# Replication", "role:master", f"connected_slaves:{len(replicas)}"]
        lines += [
            f"slave{k}:ip={ip},port={port},state={state},lag={lag}" for k, (ip, port, state, lag) in enumerate(replicas)
        ]
        lines.append(f"master_replid:{self._source.master_id}")
        return "\r\n".join(lines) + "\r\n"

    def _acl(self, args: list[bytes]) -> bytes | None:
        if len(args) != 2 or args[1].upper() != b"LIST":
            return None
        if self._source.hides_users:
            return error("NOPERM default has no ACL permissions")
        users = ["user default on nopass ~* &* +@all $all", *self._source.users]
        return array([simple(user) for user in users])

    def _cluster(self, args: list[bytes]) -> bytes:
        source = self._source
        if not source.emulates_cluster:
            return error("ERR Cluster is disabled. Enabled via passing --cluster_mode=emulated|yes")
        if len(args) != 2 or args[1].upper() != b"SLOTS":
            return SYNTAX
        nodes = [(source.host, source.port, source.master_id)]
        if not source.managed_service_info:
            nodes += [(*session.address, "") for session in source.journal.sessions.values()]
        listed = [array([bulk(ip.encode()), integer(port), bulk(node.encode())]) for ip, port, node in nodes]
        return array([array([integer(0), integer(16383), *listed])])

    async def _info(self, client: Client, args: list[bytes]) -> bytes:
        text = await self._source.ask_backend(*args)
        if not isinstance(text, bytes):
            return error(str(text))
        sections = re.split(r"\r\n(?=# )", text.decode("utf-8", "replace"))
        shown = []
        for section in sections:
            if section.startswith("# Replication"):
                section = self._replication_section()
            elif section.startswith("# Server"):
                version = f"# Server\r\ndragonfly_version:{self._source.release.text}"
                section = section.replace("# Server", version, 1)
                section = re.sub(r"tcp_port:\d+", f"tcp_port:{self._source.port}", section)
            shown.append(section)
        return bulk("\r\n".join(shown).encode())

    async def _pause(self, args: list[bytes]) -> bytes:
        source = self._source
        if args[1].upper() == b"UNPAUSE":
            if not source.release.since(28):
                return SYNTAX
            source.paused_until = 0.0
            await source.ask_backend(b"CLIENT", b"UNPAUSE")
            return OK
        milliseconds = _integer(args[2]) if len(args) in (3, 4) else None
        mode = args[3].upper() if len(args) == 4 else b"ALL"
        if milliseconds is None or milliseconds < 0 or mode not in (b"ALL", b"WRITE"):
            return _NOT_INTEGER if milliseconds is None else SYNTAX
        if mode == b"ALL":
            source.paused_until = time.monotonic() + milliseconds / 1000
        await source.ask_backend(b"CLIENT", b"PAUSE", args[2], b"WRITE")
        await source.journal.catch_up(await source.backend_offset())
        return OK
