"""Which node a command goes to, and how the commands of a batch are put on the wire for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Block
from df2redis_tui.streams import PeerLost, RespConnection, encode
from df2redis_tui.target.lane import Lane
from df2redis_tui.target.part import EXEC, EXTRA, MULTI, SELECT, Part
from df2redis_tui.target.pending import Fate, Overtaken, Pending

MULTI_WIRE = encode("MULTI")
EXEC_WIRE = encode("EXEC")


class Ledger(Protocol):
    """Remembers on the target what was applied, so that a lost connection leaves no doubt (one per FLOW)."""

    def checkpoint(self, batch: Batch) -> list[bytes]:
        """The commands that record this batch as applied; none when that is not due."""
        ...

    def confirmed(self, batch: Batch) -> None:
        """Standalone: this batch, and its checkpoint with it, was applied as it was sent."""
        ...

    def posted(self, next_lsn: int) -> None:
        """Everything of this FLOW below `next_lsn` has been sent."""
        ...

    @property
    def counting(self) -> bytes:
        """Standalone: the command that counts a transaction as run, in the transaction."""
        ...

    async def missing(self, connection: RespConnection) -> int:
        """Standalone: how many of the transactions sent have not run; those to come count from there."""
        ...

    async def applied_seq(self, connection: RespConnection) -> int:
        """The newest sending (`Batch.seq`) of this run that the target has recorded (0 = none)."""
        ...

    def guard(self, slot: int, lsn: int, mark: int) -> bytes:
        """Cluster: the command that records what this slot has applied: all up to `lsn` (0 = it has none, in a full
        sync), and of this run's sendings all up to `mark`, which grows with every sending and within it."""
        ...

    def ran_early(self, slot: int | None, lsn: int) -> None:
        """Cluster: the record at `lsn` is applied in this slot, and earlier ones that failed follow: their guards must
        not forget it."""
        ...

    def last_mark(self, slot: int) -> int:
        """Cluster: the mark of the newest guard sent to this slot, -1 = none in this run."""
        ...

    def guard_read(self, slot: int) -> bytes:
        """Cluster: the command that reads this slot's guard."""
        ...

    def is_guard(self, value: bytes) -> bool:
        """Cluster: whether this has the form of a guard."""
        ...

    def guarded(self, reply: object) -> int:
        """Cluster: the mark a guard holds, -1 when it is not of this run."""
        ...

    def applied_lsn(self, reply: object) -> int:
        """Cluster: the LSN a guard holds, 0 when it says nothing of this source's journal."""
        ...

    def undisturbed(self, lsn: int, refusals: str) -> bool:
        """Cluster: whether no server has refused anything for the time being since the record at `lsn` was sent:
        `refusals` is their count now. If not, a guard may speak of a command that overtook another."""
        ...


class Router(Protocol):
    """One per target. `nodes` are names (host:port) of the masters."""

    cluster: bool

    @property
    def nodes(self) -> list[str]: ...

    async def connect(self, node: str) -> RespConnection:
        """A connection for a lane. Raises TargetLost or TargetError."""
        ...

    async def refresh(self) -> None:
        """Learn the topology anew. Raises TargetLost when no server can be asked."""
        ...

    def parts(self, batch: Batch, blocks: list[Block], lanes: dict[str, Lane], ledger: Ledger | None) -> list[Part]:
        """Encode `blocks` (all or what is left of the batch) for the nodes concerned."""
        ...

    async def settle_unknown(self, batch: Batch, todo: list[Pending], ledger: Ledger) -> list[Overtaken]:
        """Ask the target which commands of unknown fate it has applied. Returns the keys for which it can't tell."""
        ...

    async def missing(self, ledger: Ledger) -> int:
        """How many transactions did not run (none on a cluster, where the guards tell). Nothing may be in flight."""
        ...

    async def repaired(self, ledger: Ledger) -> None:
        """No more questions for now: close what was opened to ask them."""
        ...

    async def one_by_one(self, batch: Batch, todo: list[Pending], ledger: Ledger | None) -> list[Pending]:
        """Send those commands whose slot is on its way between nodes one at a time; returns the others."""
        ...


def select_wire(db: int) -> bytes:
    return encode("SELECT", db)


def whole_part(
    batch: Batch, blocks: list[Block], node: str, lane: Lane, ledger: Ledger | None, base_db: int
) -> Part | None:
    """A standalone part: commands in order with SELECTs between, in one transaction with the checkpoint if any.

    A transaction begins and ends in the base database, so that one which did not run leaves the lane where it is said
    to be. None when there is nothing to send.
    """
    checkpoint = ledger.checkpoint(batch) if ledger is not None else []
    if len(blocks) == 1 and not checkpoint and blocks[0].db + base_db == lane.db and blocks[0].commands:
        commands = blocks[0].commands
        return Part(batch, node, commands, b"".join(commands), len(commands))
    commands = []
    wires: list[bytes] = []
    layout: list[int] = []

    def select(db: int) -> None:
        if db != lane.db:
            wires.append(select_wire(db))
            layout.append(SELECT)
            lane.db = db

    counts = bool(checkpoint) and any(block.commands for block in blocks)
    transaction = counts or len(checkpoint) > 1
    if checkpoint:
        select(base_db)
    if transaction:
        wires.append(MULTI_WIRE)
        layout.append(MULTI)
    for block in blocks:
        if block.commands:
            select(block.db + base_db)
            first = len(commands)
            commands.extend(block.commands)
            wires.extend(block.commands)
            layout.extend(range(first, len(commands)))
    if checkpoint:
        select(base_db)
        wires += checkpoint
        layout += [EXTRA] * len(checkpoint)
    if counts:
        assert ledger is not None
        wires.append(ledger.counting)
        layout.append(EXTRA)
    if transaction:
        wires.append(EXEC_WIRE)
        layout.append(EXEC)
    if not wires:
        return None
    plain = len(layout) == len(commands)
    return Part(batch, node, commands, b"".join(wires), len(layout), None if plain else layout)


class Connect(Protocol):
    async def __call__(self, node: str) -> RespConnection: ...


class StandaloneRouter:
    """A single server."""

    cluster = False

    def __init__(self, node: str, base_db: int, connect: Connect) -> None:
        self._node = node
        self._base_db = base_db
        self._connect = connect
        self._asking: dict[Ledger, RespConnection] = {}  # while a FLOW is repaired

    @property
    def nodes(self) -> list[str]:
        return [self._node]

    async def connect(self, node: str) -> RespConnection:
        return await self._connect(node)

    async def refresh(self) -> None:
        """There is nothing to learn: the address stays, its name is resolved anew at each connect."""

    def parts(self, batch: Batch, blocks: list[Block], lanes: dict[str, Lane], ledger: Ledger | None) -> list[Part]:
        if not any(b.commands for b in blocks) and not batch.next_lsn:
            return []
        part = whole_part(batch, blocks, self._node, lanes[self._node], ledger, self._base_db)
        return [part] if part is not None else []

    async def settle_unknown(self, batch: Batch, todo: list[Pending], ledger: Ledger) -> list[Overtaken]:
        if batch.seq <= await self._ask(ledger, ledger.applied_seq):
            for pending in todo:
                if pending.fate is Fate.UNKNOWN:
                    pending.fate = Fate.APPLIED
        return []

    async def missing(self, ledger: Ledger) -> int:
        return await self._ask(ledger, ledger.missing)

    async def _ask(self, ledger: Ledger, what: Callable[[RespConnection], Awaitable[int]]) -> int:
        connection = self._asking.get(ledger)
        if connection is None:
            connection = self._asking[ledger] = await self._connect(self._node)
        try:
            return await what(connection)
        except PeerLost as lost:
            await self.repaired(ledger)
            raise lost.of_target(self._node) from None
        except BaseException:
            await self.repaired(ledger)
            raise

    async def repaired(self, ledger: Ledger) -> None:
        if (connection := self._asking.pop(ledger, None)) is not None:
            await connection.aclose()

    async def one_by_one(self, batch: Batch, todo: list[Pending], ledger: Ledger | None) -> list[Pending]:
        return todo
