"""A Redis Cluster as the target: the same offers as `StandaloneTarget`, over all masters."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from df2redis_tui.errors import ConfigError, TargetError, TargetLost
from df2redis_tui.pipeline.block import Global
from df2redis_tui.replication.checkpoint import JobKeys
from df2redis_tui.replication.cluster_ledger import tags
from df2redis_tui.replication.fence import connection_name, fence
from df2redis_tui.replication.target_keys import KeyChoice, removed_one_by_one, slot_ranges, walk
from df2redis_tui.replication.target_side import Check, NodeFacts, facts_of
from df2redis_tui.settings import Settings
from df2redis_tui.streams import Arg, PeerLost, RespConnection, encode, is_error
from df2redis_tui.target.answers import check_each, check_transaction
from df2redis_tui.target.cluster_router import ClusterRouter
from df2redis_tui.target.connection import answer_of, name_of, parse_info
from df2redis_tui.target.direct import why_not_yet
from df2redis_tui.target.pending import decode_command
from df2redis_tui.target.topology import AddressMap
from df2redis_tui.translate.capabilities import Capabilities, lowest, unsupported
from df2redis_tui.translate.keys import SLOTS, keys_of, number, slot_of

log = logging.getLogger(__name__)

FLUSHES_MOST = 20  # in a row, where others than this job write to the cluster
EACH_KEY_BY_ITSELF = frozenset({b"DEL", b"UNLINK", b"EXISTS"})  # their replies add up


class ClusterTarget:
    """The cluster. `connect` first; every method raises TargetLost or TargetError."""

    periodic_checkpoints = True  # nothing travels with the batches: `write_checkpoints` is to be called now and then

    def __init__(self, settings: Settings) -> None:
        if "{" in settings.checkpoint_prefix + settings.job:
            raise ConfigError("a job's name and the checkpoint prefix can't hold `{` when the target is a cluster")
        self._settings = settings
        self.name = f"cluster {settings.target.label}"
        self.router = ClusterRouter(settings.target, AddressMap(settings.cluster_map))
        self.facts: tuple[NodeFacts, ...] = ()
        self.existing_keys = 0
        self._caps: Capabilities | None = None
        self._check: Check | None = None

    @property
    def caps(self) -> Capabilities:
        assert self._caps is not None
        return self._caps

    async def connect(self) -> None:
        """Find every master; refuse what can't be written to."""
        seed = await self.router.learn()
        found: list[tuple[NodeFacts, Capabilities]] = []
        for node in self.router.nodes:
            try:
                connection = await self.router.connect(node)
                try:
                    facts, caps = await facts_of(connection, node)
                finally:
                    await connection.aclose()
            except (TargetLost, PeerLost) as lost:
                raise TargetLost(
                    f"target cluster: node {node}, which {name_of(seed)} names, can't be used "
                    f"({str(lost).removeprefix(f'target {node}: ')}); if it is reached by another address, "
                    f"say --cluster-map {node}=host:port"
                ) from None
            problem = unsupported(caps)
            if problem:
                raise TargetError(f"target {node}: {problem}")
            found.append((facts, caps))
        self.facts = tuple(facts for facts, _ in found)
        self.existing_keys = sum(facts.keys for facts in self.facts)
        self._caps = lowest([caps for _, caps in found])

    # Commands by key

    async def take_over(self, keys: JobKeys) -> str:
        """The lease is ours: end the control connections of an earlier run. Returns why that can't be done, else ""."""
        name = connection_name(keys, "control")
        problems: list[str] = []

        async def end_older(connection: RespConnection) -> None:
            if problem := await fence(connection, name):
                problems.append(problem)
            if self._check is not None:
                await self._check(connection)

        await self.router.direct.prepare_with(end_older)
        for address in self.router.topology.addresses.values():
            await self.router.direct.at(address, [encode("PING")])
        return problems[0] if problems else ""

    def check_with(self, check: Check | None) -> None:
        """What sees each control connection that is opened anew, before it is used. It may raise PeerLost."""
        self._check = check

    def mark_keys(self, keys: JobKeys) -> list[bytes]:
        """Those of the marks that say how much was confirmed: one in a slot of every master."""
        index = self.router.topology.index
        first = {node: index.index(number) for number, node in enumerate(self.router.topology.nodes) if number in index}
        return [keys.mark(tags()[slot]) for slot in first.values()]

    async def write_mark(self, key: bytes, value: bytes) -> object:
        """Only where it does not have to be waited for."""
        node = self.router.topology.owner(slot_of(key))
        if node is None:
            return None
        return (await self.router.direct.at(self.router.topology.addresses[node], [encode("SET", key, value)]))[0]

    def holder(self, key: bytes) -> str:
        """Who has this key, in words."""
        return f"target {self.node_of(key) or self.name}"

    def node_of(self, key: bytes) -> str | None:
        return self.router.topology.owner(slot_of(key))

    async def call(self, *args: Arg) -> object:
        """One command to the node that owns its keys. Of DEL, UNLINK and EXISTS, each key goes to its own node."""
        words = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
        if words[0].upper() in EACH_KEY_BY_ITSELF and len(words) > 2:
            replies = await self.pipeline([encode(words[0], key) for key in words[1:]])
            refused = next((reply for reply in replies if is_error(reply)), None)
            name = words[0].decode()
            return refused or sum(answer_of(self.name, reply, name).number() for reply in replies)
        return (await self.pipeline([encode(*words)]))[0]

    async def pipeline(self, commands: list[bytes]) -> list[object]:
        """Commands one after the other, each where its key is; MULTI to EXEC is one unit. Errors are returned."""
        replies: list[object] = []
        unit: list[bytes] = []
        for wire in commands:
            unit.append(wire)
            name = decode_command(unit[0])[0].upper()
            if name == b"MULTI" and decode_command(wire)[0].upper() != b"EXEC":
                continue
            slots = [slot for w in unit if (slot := _slot_of_command(w)) is not None]
            replies += await self._to_slot(slots[0] if slots else 0, unit)
            unit = []
        return replies

    async def _to_slot(self, slot: int, wires: list[bytes]) -> list[object]:
        try:
            return await self.router.direct.to_slot(slot, wires)
        except TargetLost:
            return await self.router.direct.to_slot(slot, wires)

    async def write_checkpoints(self, records: Iterable[bytes]) -> None:
        """Write each FLOW's record, made by `ledger.record(lsn)` of what is confirmed. All are keys of one slot."""
        own = list(records)
        if own:
            replies = await self.pipeline([encode("MULTI"), *own, encode("EXEC")])
            check_transaction(self.name, "a checkpoint", own, replies)

    # Databases

    async def check_databases(self, databases: set[int]) -> None:
        """The translation maps everything to 0."""

    async def databases(self) -> list[int]:
        return [0]

    async def all_databases(self) -> list[int]:
        return [0]

    async def call_in(self, db: int, *args: Arg) -> object:
        return await self.call(*args)

    def check_source(self, databases: Iterable[int]) -> None:
        """TargetError when the source uses databases that a cluster does not have and --db-policy is fail."""
        above = sorted(set(databases) - {0})
        if above and self._settings.db_policy == "fail":
            several = f"databases {', '.join(map(str, above[:8]))}" if len(above) > 1 else f"database {above[0]}"
            raise TargetError(
                f"the source has keys in {several} and a cluster has only database 0: choose --db-policy skip or "
                "merge-into-0; nothing was written"
            )

    # Everything

    async def run_global(
        self, item: Global, kept: Iterable[bytes], records: Iterable[bytes], spared: KeyChoice | None
    ) -> None:
        """FLUSHALL, FLUSHDB or DFLYCLUSTER FLUSHSLOTS on every master, then the checkpoint `records` of all FLOWs.

        Until those are written, in one transaction, the job's keys are what `kept` writes: that everything in front of
        the command is applied. A run that begins between the two finds the command still to be executed.
        """
        name = item.args[0].upper()
        before = list(kept)
        await self.write_checkpoints(before)
        if name != b"FLUSHDB" or self._flushes(item.db):
            wanted = removed_one_by_one(item, spared)
            if wanted is None:
                await self._flush(before)
            else:
                await self._remove_keys(wanted, self._owners(item) if name == b"DFLYCLUSTER" else self.router.nodes)
        await self.write_checkpoints(records)

    def _owners(self, item: Global) -> list[str]:
        """The masters of the slots that DFLYCLUSTER FLUSHSLOTS names."""
        slots = (s for a, b in slot_ranges(item.args) for s in range(a, min(b, SLOTS - 1) + 1))
        return [node for node in {self.router.topology.owner(s) for s in slots} if node]

    def _flushes(self, db: int) -> bool:
        """Whether FLUSHDB of this source's database empties the cluster."""
        return db == 0 and self._settings.db_policy != "merge-into-0"

    def can_not_run(self, item: Global) -> str:
        """Why only a full sync does here what this command does on the source; "" when `run_global` can."""
        if item.args[0].upper() != b"FLUSHDB" or self._settings.db_policy != "merge-into-0":
            return ""
        return f"FLUSHDB of db {item.db} on the source, whose keys --db-policy merge-into-0 mixed with those of others"

    async def _holder(self, key: bytes) -> str:
        """The master that has the job's own keys, of which this is one. TargetLost while they are on their way: those
        that have arrived at another master would go with everything else there."""
        slot = slot_of(key)
        node = self.router.topology.owner(slot)
        if node is None:
            raise TargetLost(f"target {self.name}: nobody serves slot {slot}, which has the job's own keys")
        asked = [encode("CLUSTER", "NODES"), encode("EXISTS", key)]
        replies = await self.router.direct.at(self.router.topology.addresses[node], asked)
        nodes = answer_of(node, replies[0], "CLUSTER NODES").text()
        if b"[%d->-" % slot in nodes or replies[1] != 1:
            raise TargetLost(f"target {self.name}: slot {slot}, which has the job's own keys, is on its way")
        return node

    async def _flush(self, kept: list[bytes]) -> None:
        """FLUSHDB on every master, of database 0: others that a cluster of Valkey 9 may have are not the job's.

        The master that holds the job's own keys gets them back in the same transaction.
        """
        for _ in range(FLUSHES_MOST):
            await self.router.refresh()
            topology = self.router.topology
            own = await self._holder(keys_of(decode_command(kept[0]))[0]) if kept else None
            held = 0
            for node in topology.nodes:
                flush, address = [encode("FLUSHDB")], topology.addresses[node]
                if node == own:
                    flush += kept
                    wires = [encode("MULTI"), *flush, encode("EXEC")]
                    replies = await self.router.direct.at(address, wires, timeout=600.0)
                    check_transaction(node, "FLUSHDB", flush, replies)
                else:
                    replies = await self.router.direct.at(address, flush, timeout=600.0)
                    check_each(node, "FLUSHDB", flush, replies)
            for node in topology.nodes:
                reply = (await self.router.direct.at(topology.addresses[node], [encode("DBSIZE")]))[0]
                held += answer_of(node, reply, "DBSIZE").number() - (len(kept) if node == own else 0)
            if held <= 0:
                return
            # With slots on their way a key can go from a master whose turn is still to come to one that had it.
        log.warning("A flush left keys", extra={"fields": {"target": self.name, "keys": held}})

    async def scan(self, db: int, on_page: Callable[[RespConnection, list[bytes]], Awaitable[None]]) -> None:
        """Every key, page by page, node after node."""
        await self._scan(self.router.nodes, on_page)

    async def _scan(self, nodes: list[str], on_page: Callable[[RespConnection, list[bytes]], Awaitable[None]]) -> None:
        for node in nodes:
            connection = await self.router.connect(node)
            try:
                await walk(connection, node, on_page)
            except PeerLost as lost:  # of what `on_page` asks
                raise lost.of_target(node) from None
            finally:
                await connection.aclose()

    async def _remove_keys(self, wanted: KeyChoice, nodes: list[str]) -> None:
        prefix = f"{self._settings.checkpoint_prefix}:".encode()

        async def remove(connection: RespConnection, keys: list[bytes]) -> None:
            gone = [encode("UNLINK", k) for k in keys if not k.startswith(prefix) and wanted(0, k)]
            for wire, reply in zip(gone, await connection.pipeline(gone, timeout=60.0) if gone else [], strict=True):
                if why_not_yet([reply]):
                    reply = (await self.pipeline([wire]))[0]
                check_each(self.name, "UNLINK", [wire], [reply])

        await self._scan(nodes, remove)

    # What is shown

    async def refresh_facts(self) -> None:
        """Ask every master for its memory and role again; a new master is asked what it is."""
        known = {facts.name: facts for facts in self.facts}
        fresh: list[NodeFacts] = []
        for node in self.router.nodes:
            old = known.get(node)
            try:
                if old is None:
                    connection = await self.router.connect(node)
                    try:
                        fresh.append((await facts_of(connection, node))[0])
                    finally:
                        await connection.aclose()
                    continue
                address = self.router.topology.addresses[node]
                reply = (await self.router.direct.at(address, [encode("INFO")]))[0]
                info = parse_info(answer_of(node, reply, "INFO").text())
            except (TargetError, PeerLost):
                if old is not None:
                    fresh.append(replace(old, used_memory=None))
                continue
            fields = ("used_memory", "maxmemory", "evicted_keys")
            memory, most, evicted = (number(info.get(field, "").encode()) for field in fields)
            role = info.get("role", old.role)
            fresh.append(replace(old, role=role, used_memory=memory, max_memory=most, evicted=evicted))
        self.facts = tuple(fresh)

    def slots_of(self, node: str) -> int | None:
        return self.router.topology.slots_of(node)

    async def aclose(self) -> None:
        await self.router.aclose()


def _slot_of_command(wire: bytes) -> int | None:
    """The slot of a command's first key, None when it has none."""
    args = decode_command(wire)
    if args and args[0].upper() in (b"EVAL", b"EVALSHA", b"EVAL_RO", b"EVALSHA_RO"):
        count = number(args[2]) if len(args) > 3 else None
        return slot_of(args[3]) if count else None
    keys = keys_of(args) if args else ()
    return slot_of(keys[0]) if keys else None
