"""The target as a whole: what it is, what it holds, global commands, and the control connection to it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

import anyio

from df2redis_tui.errors import TargetError, TargetLost, printable
from df2redis_tui.pipeline.block import Global
from df2redis_tui.replication.checkpoint import JobKeys
from df2redis_tui.replication.fence import connection_name, fence
from df2redis_tui.replication.target_keys import KeyChoice, removed_one_by_one, walk
from df2redis_tui.settings import Settings
from df2redis_tui.streams import Arg, PeerBroken, PeerLost, RespConnection, encode, is_error
from df2redis_tui.target.answers import check_each, check_transaction
from df2redis_tui.target.connection import Address, answer_of, ask, name_of, open_target, parse_info
from df2redis_tui.target.replies import DEMOTED, Verdict, code_of, verdict
from df2redis_tui.target.router import Router, StandaloneRouter
from df2redis_tui.translate.capabilities import (
    BULK_LIMIT,
    JSON_WRITES,
    Capabilities,
    capabilities_of,
    unsupported,
)
from df2redis_tui.translate.data_commands import judged

Check = Callable[[RespConnection], Awaitable[None]]
_JSON_MODULES = frozenset({"rejson", "rejson2", "json", "valkey-json"})


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What INFO said of one node."""

    name: str
    product: str
    version: str
    role: str
    used_memory: int | None
    max_memory: int | None
    modules: tuple[str, ...]
    keys: int
    evicts: str = ""  # the policy by which it drops keys when it is full
    evicted: int | None = None  # how many it has dropped so since it was started


async def facts_of(connection: RespConnection, name: str, first_db: int = 0) -> tuple[NodeFacts, Capabilities]:
    """INFO, MODULE LIST and COMMAND of one node. Databases below `first_db`, and those above 0 of a cluster, are
    not ours to count. Raises TargetError, TargetLost."""
    info = parse_info((await ask(connection, name, "INFO")).text())
    if not info.get("redis_version"):
        raise TargetError(f"target {name} does not say what it is (INFO has no redis_version)")
    if info.get("loading") == "1":
        raise TargetLost(f"target {name} is loading its data")
    modules = await _modules(connection, name)
    cluster = info.get("cluster_enabled") == "1"
    known = capabilities_of(info, await _json_commands(connection, name, modules), cluster)
    commands = judged((await ask(connection, name, "COMMAND")).reply)
    caps = replace(known, bulk_limit=await _bulk_limit(connection, name), commands=commands)
    numbered = ((int(k[2:]), v) for k, v in info.items() if re.fullmatch(r"db\d{1,9}", k))
    ours = (v for db, v in numbered if (db == 0 if cluster else db >= first_db))
    keys = sum(int(n) for v in ours for n in re.findall(r"keys=(\d{1,18})", v))
    facts = NodeFacts(
        name,
        caps.product,
        ".".join(map(str, caps.version)),
        info.get("role", "master"),
        _number(info.get("used_memory")),
        _number(info.get("maxmemory")),
        tuple(modules),
        keys,
        _eviction(info),
        _number(info.get("evicted_keys")),
    )
    return facts, caps


async def _modules(connection: RespConnection, name: str) -> list[str]:
    """Their names; none where the user may not ask."""
    answer = await ask(connection, name, "MODULE", "LIST")
    found: list[str] = []
    for module in [] if answer.refusal else answer.array():
        match module:
            case [b"name", bytes(called), *_]:
                found.append(printable(called, 40))
            case _:
                raise answer.is_not("an array of modules with their names")
    return found


async def _json_commands(connection: RespConnection, name: str, modules: list[str]) -> tuple[bytes, ...]:
    """Those of JSON_WRITES that the node has. Where its user may not ask for them, a JSON module stands for all."""
    answer = await ask(connection, name, "COMMAND", "INFO", *JSON_WRITES)
    if answer.refusal:
        return JSON_WRITES if any(module.lower() in _JSON_MODULES for module in modules) else ()
    known = answer.array_of(len(JSON_WRITES))
    if not all(command is None or isinstance(command, list) for command in known):
        raise answer.is_not("an array of arrays")
    return tuple(write for write, command in zip(JSON_WRITES, known, strict=True) if command)


async def _bulk_limit(connection: RespConnection, name: str) -> int:
    """proto-max-bulk-len; its default where the user may not ask."""
    answer = await ask(connection, name, "CONFIG", "GET", "proto-max-bulk-len")
    match None if answer.refusal else answer.array():
        case None | []:
            return BULK_LIMIT
        case [bytes(), bytes(value)] if value.isdigit() and len(value) < 20:
            return int(value)
    raise answer.is_not("the setting and its number")


def _eviction(info: dict[str, str]) -> str:
    policy = info.get("maxmemory_policy", "noeviction")
    return policy if policy != "noeviction" and _number(info.get("maxmemory")) else ""


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and len(text) < 20 else None


class StandaloneTarget:
    """One server. `connect` first; every method raises TargetLost or TargetError."""

    periodic_checkpoints = False  # they travel with the batches

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._endpoint = settings.target
        self._address: Address = settings.target.hosts[0]
        self.name = name_of(self._address)
        self.router: Router = StandaloneRouter(self.name, self._endpoint.db, self._open)
        self.facts: tuple[NodeFacts, ...] = ()
        self.existing_keys = 0
        self._caps: Capabilities | None = None
        self._control: RespConnection | None = None
        self._databases: set[int] = set()
        self._one_at_a_time = anyio.Lock()
        self._control_name = ""
        self._check: Check | None = None

    @property
    def caps(self) -> Capabilities:
        assert self._caps is not None
        return self._caps

    async def connect(self) -> None:
        """Find out what it is; refuse what can't be written to."""
        control = self._control = await self._open(self.name)
        facts, caps = await facts_of(control, self.name, self._endpoint.db)
        problem = unsupported(caps)
        if problem:
            raise TargetError(f"target {self.name}: {problem}")
        if caps.cluster:
            raise TargetError(
                f"target {self.name} is a cluster node: use redis+cluster://{self.name} to copy into the cluster"
            )
        if facts.role != "master":
            raise TargetError(f"target {self.name} is a replica: point --target at its master")
        self.facts = (facts,)
        self.existing_keys = facts.keys
        self._caps = caps

    async def _open(self, node: str) -> RespConnection:
        connection = await open_target(self._endpoint, self._address)
        if self._endpoint.db:
            try:
                (await ask(connection, node, "SELECT", self._endpoint.db)).ok()
            except BaseException:
                await connection.aclose()
                raise
        return connection

    async def call(self, *args: Arg) -> object:
        """One command on the control connection, connecting anew once when it broke."""
        return (await self.pipeline([encode(*args)]))[0]

    async def pipeline(self, commands: list[bytes], timeout: float = 60.0) -> list[object]:
        """Commands at once on the control connection. Error replies are returned."""
        async with self._one_at_a_time:
            for attempt in (1, 2):
                try:
                    if self._control is None:
                        self._control = await self._open(self.name)
                        await self._fence()
                        if self._check is not None:
                            await self._check(self._control)
                    replies = await self._control.pipeline(commands, timeout=timeout)
                    if not any(_demoted(reply) for reply in replies):
                        return replies
                    # A failover: the name may stand for another server by now.
                    await self._drop_control()
                    if attempt == 2:
                        return replies
                except PeerLost as lost:
                    await self._drop_control()
                    if attempt == 2 or isinstance(lost, PeerBroken):
                        raise lost.of_target(self.name) from None
                except BaseException:
                    # Cancelled in the middle: the answers to come belong to nobody.
                    await self._drop_control()
                    raise
        raise AssertionError

    async def take_over(self, keys: JobKeys) -> str:
        """The lease is ours: end all connections of an earlier run. Returns why that can't be done, else ""."""
        self._control_name = connection_name(keys, "control")
        async with self._one_at_a_time:
            try:
                return await self._fence(whole_job=True)
            except PeerLost as lost:
                await self._drop_control()
                raise lost.of_target(self.name) from None

    def check_with(self, check: Check | None) -> None:
        """What sees each control connection that is opened anew, before it is used. It may raise PeerLost."""
        self._check = check

    def mark_keys(self, keys: JobKeys) -> list[bytes]:
        """Those of the marks that say how much was confirmed."""
        return [keys.mark()]

    async def write_mark(self, key: bytes, value: bytes) -> object:
        return await self.call("SET", key, value)

    def holder(self, key: bytes) -> str:
        """Who has this key, in words."""
        return f"target {self.name}"

    def node_of(self, key: bytes) -> str | None:
        return self.name

    async def _fence(self, *, whole_job: bool = False) -> str:
        if not self._control_name or self._control is None:
            return ""
        return await fence(self._control, self._control_name, whole_job=whole_job)

    async def _drop_control(self) -> None:
        if self._control is not None:
            control, self._control = self._control, None
            await control.aclose()

    async def refresh_facts(self) -> None:
        """Ask again for memory and role (for the display)."""
        info = parse_info(answer_of(self.name, await self.call("INFO"), "INFO").text())
        old = self.facts[0]
        if info.get("role", "master") != "master":
            async with self._one_at_a_time:
                await self._drop_control()
        memory, most = _number(info.get("used_memory")), _number(info.get("maxmemory"))
        evicted = _number(info.get("evicted_keys"))
        role = info.get("role", old.role)
        self.facts = (replace(old, role=role, used_memory=memory, max_memory=most, evicted=evicted),)

    async def write_checkpoints(self, records: Iterable[bytes]) -> None:
        """Write each FLOW's record, made by `ledger.record(lsn)` of what is confirmed."""
        await self._record(list(records))

    def check_source(self, databases: Iterable[int]) -> None:
        """Every database of the source may have its own here; `check_databases` asks when it is needed."""

    async def check_databases(self, databases: set[int]) -> None:
        """A SELECT that fails in the middle of a batch would send its commands to the wrong database: ask before."""
        for db in sorted(databases - self._databases):
            connection = await self._open(self.name)
            try:
                answer = await ask(connection, self.name, "SELECT", db + self._endpoint.db)
            finally:
                await connection.aclose()
            if answer.refusal and verdict(str(answer.reply)) is Verdict.RETRY:
                raise TargetLost(f"target {self.name}: {answer.refusal}")
            if answer.refusal:
                raise TargetError(
                    f"target {self.name} has no database {db + self._endpoint.db} for the source's database {db} "
                    f"({answer.refusal}): raise its `databases` setting"
                )
            answer.ok()
            self._databases.add(db)

    def can_not_run(self, item: Global) -> str:
        """Why only a full sync does here what this command does on the source; "" when `run_global` can."""
        return ""

    async def run_global(
        self, item: Global, kept: Iterable[bytes], records: Iterable[bytes], spared: KeyChoice | None
    ) -> None:
        """FLUSHALL, FLUSHDB or DFLYCLUSTER FLUSHSLOTS, together with the checkpoint `records` of all FLOWs.

        `kept` writes what else the job keeps here; `spared` says which keys are not ours to remove.
        """
        name = item.args[0].upper()
        base = self._endpoint.db
        own = [*kept, *records]
        wanted = removed_one_by_one(item, spared)
        if wanted is not None:
            await self._remove_keys(item.db if name == b"FLUSHDB" else None, wanted)
            await self._record(own)
            return
        # Databases below the target's own hold nothing of the source.
        dbs = [item.db] if name == b"FLUSHDB" else await self.databases()
        flushes = [wire for db in dbs for wire in (encode("SELECT", db + base), encode("FLUSHDB"))]
        if name == b"FLUSHALL" and not base:
            flushes = [encode("FLUSHALL")]
        await self._transaction(name.decode(), [*flushes, encode("SELECT", base), *own], timeout=600.0)

    async def _record(self, records: list[bytes]) -> None:
        if records:
            await self._transaction("a checkpoint", records)

    async def _transaction(self, what: str, commands: list[bytes], timeout: float = 60.0) -> None:
        replies = await self.pipeline([encode("MULTI"), *commands, encode("EXEC")], timeout=timeout)
        check_transaction(self.name, what, commands, replies)

    async def databases(self) -> list[int]:
        """The source's numbers of those that hold anything."""
        base = self._endpoint.db
        return [db - base for db in await self.all_databases() if db >= base]

    async def all_databases(self) -> list[int]:
        """The server's own numbers, those that are not the job's among them."""
        info = parse_info(answer_of(self.name, await self.call("INFO", "KEYSPACE"), "INFO KEYSPACE").text())
        return sorted(int(k[2:]) for k in info if re.fullmatch(r"db\d{1,9}", k))

    async def call_in(self, db: int, *args: Arg) -> object:
        """One command in that database of the server, whatever the job's own is."""
        if db == self._endpoint.db:
            return await self.call(*args)
        replies = await self.pipeline([encode("SELECT", db), encode(*args), encode("SELECT", self._endpoint.db)])
        answer_of(self.name, replies[2], f"SELECT {self._endpoint.db}").ok()
        return replies[0] if is_error(replies[0]) else replies[1]

    async def scan(self, db: int, on_page: Callable[[RespConnection, list[bytes]], Awaitable[None]]) -> None:
        """Every key of one database (the source's number), page by page."""
        connection = await self._open(self.name)
        try:
            (await ask(connection, self.name, "SELECT", db + self._endpoint.db)).ok()
            await walk(connection, self.name, on_page)
        except PeerLost as lost:  # of what `on_page` asks
            raise lost.of_target(self.name) from None
        finally:
            await connection.aclose()

    async def _remove_keys(self, only: int | None, wanted: Callable[[int, bytes], bool]) -> None:
        prefix = f"{self._settings.checkpoint_prefix}:".encode()
        for db in await self.databases():
            if only is not None and db != only:
                continue

            async def remove(connection: RespConnection, keys: list[bytes], db: int = db) -> None:
                gone = [k for k in keys if not k.startswith(prefix) and wanted(db, k)]
                if gone:
                    wire, answer = encode("UNLINK", *gone), await ask(connection, self.name, "UNLINK", *gone)
                    check_each(self.name, "UNLINK", [wire], [answer.reply])

            await self.scan(db, remove)

    def slots_of(self, node: str) -> int | None:
        """Slots a node serves; None where there are none."""
        return None

    async def aclose(self) -> None:
        await self._drop_control()


def _demoted(reply: object) -> bool:
    return is_error(reply) and code_of(str(reply)) in DEMOTED
