"""Routing to a Redis Cluster: a batch becomes one part per master, and nothing is lost or doubled while slots move.

Commands that must not be applied twice travel in a transaction with a guard: a key in their own slot that says what
of this FLOW the slot has applied (design, "Exactly once"). A guard's mark orders everything this run has sent: the
number of the sending, then the command's place in its batch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import count, groupby
from typing import TypeVar

import anyio

from df2redis_tui.errors import TargetError, TargetLost
from df2redis_tui.pipeline.backoff import Backoff
from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Block
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import RespConnection, encode, is_error
from df2redis_tui.target.connection import Address, error_text, name_of, open_target
from df2redis_tui.target.direct import Direct
from df2redis_tui.target.lane import Lane
from df2redis_tui.target.part import EXEC, EXTRA, MULTI, Part
from df2redis_tui.target.pending import Fate, Overtaken, Pending, decode_command
from df2redis_tui.target.refusals import count_of, digest
from df2redis_tui.target.replies import Verdict, verdict
from df2redis_tui.target.router import EXEC_WIRE, MULTI_WIRE, Ledger
from df2redis_tui.target.topology import AddressMap, Topology, ask_any, check_healthy
from df2redis_tui.translate.keys import keys_of, slot_of

T = TypeVar("T")

MARK_BITS = 32  # places in a batch
TRANSACTION_MOST = 64  # commands: a server runs a transaction without pause
ON_ITS_WAY = ("ASK", "TRYAGAIN")


class ClusterRouter:
    """One per target, used by the writers of all FLOWs. `learn` before anything else."""

    cluster = True

    def __init__(self, endpoint: Endpoint, reach: AddressMap) -> None:
        self._endpoint = endpoint
        self._reach = reach
        self._topology = Topology((), {}, ())
        self._views: dict[int, Topology] = {}
        self._refreshing = anyio.Lock()
        self.direct = Direct(lambda: self._topology, self._refresh_calmly, reach, self.open)

    @property
    def topology(self) -> Topology:
        return self._topology

    @property
    def nodes(self) -> list[str]:
        return list(self._topology.nodes)

    async def learn(self) -> Address:
        """The first look: raises TargetError when this is no healthy cluster. Returns the seed that answered."""
        asked, topology = await ask_any(self._endpoint, self._endpoint.hosts, self._reach)
        await check_healthy(self._endpoint, asked, topology)
        self._topology = topology
        return asked

    async def refresh(self) -> None:
        before = self._topology
        async with self._refreshing:
            if self._topology is not before:
                return
            known = list(before.addresses.values())
            # Another one than last time first: nodes learn of a change one after the other.
            known = known[1:] + known[:1]
            candidates = [*known, *(a for a in self._endpoint.hosts if a not in known)]
            _, found = await ask_any(self._endpoint, candidates, self._reach)
            if found.nodes:
                names = [name_of(a) for a in known if name_of(a) in found.addresses]
                self._topology = _reordered(found, names)

    async def _refresh_calmly(self) -> None:
        try:
            await self.refresh()
        except TargetLost:
            return

    async def connect(self, node: str) -> RespConnection:
        address = self._topology.addresses.get(node)
        if address is None:
            raise TargetLost(f"target {node} no longer owns slots")
        return await self.open(address)

    async def open(self, address: Address) -> RespConnection:
        return await open_target(self._endpoint, address)

    # Sending

    def parts(self, batch: Batch, blocks: list[Block], lanes: dict[str, Lane], ledger: Ledger | None) -> list[Part]:
        view = self._view(batch.flow, lanes)
        if ledger is not None:
            ledger.posted(batch.next_lsn)
        if ledger is not None and any(block.once is not None for block in blocks):
            return _guarded_parts(view, batch, blocks, ledger)
        index = view.index
        columns: list[list[bytes]] = [[] for _ in range(len(view.nodes) + 1)]
        for block in blocks:
            for command, slot in zip(block.commands, _slots(block), strict=True):
                columns[index[slot]].append(command)
        return [
            Part(batch, node, commands, b"".join(commands), len(commands))
            for node, commands in zip(view.nodes, columns, strict=False)
            if commands
        ]

    def _view(self, flow: int, lanes: dict[str, Lane]) -> Topology:
        """A FLOW changes over to a newer topology only with nothing in flight: otherwise a command could overtake, on
        the slot's new node, one that the old node is about to refuse."""
        view = self._views.get(flow)
        newest = self._topology
        if view is newest:
            return view
        busy = any(lane.waiting and not lane.lost for lane in lanes.values())
        if view is None or not busy or not lanes.keys() >= {*view.nodes}:
            view = self._views[flow] = newest
        return view

    # Repair

    async def missing(self, ledger: Ledger) -> int:
        return 0

    async def repaired(self, ledger: Ledger) -> None:
        """Questions go over connections that are kept."""

    async def settle_unknown(self, batch: Batch, todo: list[Pending], ledger: Ledger) -> list[Overtaken]:
        """Asks only the guards that were sent behind an unknown command: the others can't know of it."""
        places = _places(batch.blocks, (p.command for p in todo))
        marks = [batch.seq << MARK_BITS | place for place in places]
        slots = {
            p.slot
            for p, mark in zip(todo, marks, strict=True)
            if p.slot is not None and p.fate is Fate.UNKNOWN and ledger.last_mark(p.slot) >= mark
        }
        if not slots:
            return []
        found = await self._guards(ledger, sorted(slots))
        applied = {slot: ledger.guarded(reply) for slot, reply in found.items()}
        first = min((p.lsn for p in todo if p.lsn and p.fate is Fate.UNKNOWN), default=0)
        certain = ledger.undisturbed(first, await self.refusals())
        doubts: list[Overtaken] = []
        for p, mark in zip(todo, marks, strict=True):
            if p.fate is Fate.UNKNOWN and p.slot is not None and mark <= applied.get(p.slot, -1):
                p.fate = Fate.APPLIED
                if not certain and not p.tolerant:
                    doubts.extend(Overtaken(p.db, key) for key in p.names())
        return doubts

    async def refusals(self) -> str:
        """How often the masters have refused anything for the time being, in short. Raises TargetLost."""
        counts: dict[str, str] = {}
        for node, address in self._topology.addresses.items():
            replies = await self.direct.at(address, [encode("INFO", "SERVER"), encode("INFO", "ERRORSTATS")])
            counts[node] = count_of(*replies)
        return digest(counts)

    async def _guards(self, ledger: Ledger, slots: list[int]) -> dict[int, object]:
        """The guards of these slots as their owners have them now."""
        topology = self._topology
        found: dict[int, object] = {}
        for at, group in groupby(sorted(slots, key=lambda slot: topology.index[slot]), lambda s: topology.index[s]):
            wanted = list(group)
            replies: list[object] = []
            if at < len(topology.nodes):
                address = topology.addresses[topology.nodes[at]]
                replies = await self.direct.at(address, [ledger.guard_read(slot) for slot in wanted])
            for i, slot in enumerate(wanted):
                reply = replies[i] if replies else None
                if not replies or is_error(reply):
                    reply = (await self.direct.to_slot(slot, [ledger.guard_read(slot)]))[0]
                if is_error(reply):
                    raise TargetError(f"target refused to read a guard: {error_text(reply)}")
                found[slot] = reply
        return found

    async def one_by_one(self, batch: Batch, todo: list[Pending], ledger: Ledger | None) -> list[Pending]:
        """Returns the commands of other slots, still to be sent, and those refused for good with their new error.

        All commands of a slot that is on its way go this way: a later one could otherwise overtake an earlier one.
        """
        moving = {p.slot for p in todo if p.fate is Fate.FAILED and p.error.startswith(ON_ITS_WAY)}
        if not moving:
            return todo
        refused: list[Pending] = []
        rest = [p for p in todo if p.slot not in moving]
        of_slots = [
            (p, place) for p, place in zip(todo, _places(batch.blocks, (p.command for p in todo)), strict=True)
            if p.slot in moving
        ]  # fmt: skip
        for _, group in groupby(enumerate(of_slots), _by_record):
            record = [member for _, member in group]
            pending = [p for p, _ in record]
            slot = pending[0].slot
            assert slot is not None
            if ledger is not None and any(p.once for p in pending):
                # Later commands of the slot may have been applied already, on keys that were not under way.
                held = ledger.applied_lsn((await self._at_last(slot, [ledger.guard_read(slot)]))[0])
                lsn = 0 if pending[-1].tolerant else max(held, pending[-1].lsn or 0)
                mark = batch.seq << MARK_BITS | record[-1][1]
                guard = ledger.guard(slot, lsn, mark)
                wires = [MULTI_WIRE, *(p.command for p in pending), guard, EXEC_WIRE]
                replies = await self._exactly_once(slot, wires, ledger, mark)
                answers = _answers(replies, len(pending))
            else:
                answers = [(await self._at_last(slot, [p.command]))[0] for p in pending]
            for p, answer in zip(pending, answers, strict=True):
                if is_error(answer):
                    p.fate, p.error = Fate.FAILED, str(answer)
                    refused.append(p)
        return refused + rest

    async def _exactly_once(self, slot: int, wires: list[bytes], ledger: Ledger, mark: int) -> list[object]:
        """Replies of the transaction; [] when it was applied and the replies were lost."""
        while True:
            try:
                return await self.direct.to_slot(slot, wires)
            except TargetLost:
                guard = (await self._at_last(slot, [ledger.guard_read(slot)]))[0]
                if ledger.guarded(guard) >= mark:
                    return []

    async def _at_last(self, slot: int, wires: list[bytes]) -> list[object]:
        """For what may be sent again: until it was answered."""
        while True:
            try:
                return await self.direct.to_slot(slot, wires)
            except TargetLost:
                await anyio.sleep(0.1)
                await self._refresh_calmly()

    # Resume

    async def applied_lsns(self, ledger: Ledger, slots: Iterable[int]) -> dict[int, int]:
        """What the guards of these slots say of this FLOW: slot → LSN, 0 where there is no guard."""
        found = await self._patiently(lambda: self._guards(ledger, sorted(slots)))
        return {slot: ledger.applied_lsn(reply) for slot, reply in found.items()}

    async def refusals_at_last(self) -> str:
        """`refusals`, whatever time it takes."""
        return await self._patiently(self.refusals)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        backoff = Backoff(0.1, 2.0)
        while True:
            try:
                return await ask()
            except TargetLost:
                await anyio.sleep(backoff.next())
                await self._refresh_calmly()

    async def aclose(self) -> None:
        await self.direct.aclose()


def _reordered(topology: Topology, first: list[str]) -> Topology:
    """The same with these addresses first, for the next refresh to begin elsewhere."""
    names = [*first, *(name for name in topology.addresses if name not in first)]
    return Topology(topology.nodes, {name: topology.addresses[name] for name in names}, topology.index)


def _slots(block: Block) -> list[int]:
    if block.slots is not None:
        return block.slots
    keys = [keys_of(decode_command(command)) for command in block.commands]
    return [slot_of(k[0] if k else b"") for k in keys]


def _places(blocks: list[Block], commands: Iterable[bytes]) -> list[int]:
    """Where these commands (objects of the blocks, in order) stand in the batch."""
    everything = enumerate(command for block in blocks for command in block.commands)
    return [next(place for place, other in everything if other is command) for command in commands]


def _by_record(numbered: tuple[int, tuple[Pending, int]]) -> tuple[object, ...]:
    """Equal for neighbours that one source record became, and different for everything else."""
    number, (pending, _) = numbered
    if not pending.lsn and not pending.tolerant:
        return (number,)
    return (pending.slot, pending.lsn, pending.tolerant)


def _answers(replies: list[object], commands: int) -> list[object]:
    """Each command's own answer out of a transaction's replies."""
    if not replies:
        return [None] * commands
    results = replies[-1]
    if isinstance(results, list):
        return results[:commands]
    queued = replies[1 : 1 + commands]
    # What was fit to be queued was not executed, since its neighbours were not: all of it is refused together.
    cause = next((r for r in queued if is_error(r) and verdict(str(r)) is not Verdict.RETRY), results)
    return [reply if is_error(reply) else cause for reply in queued]


class _Column:
    """What one part is made of: commands, and the transactions around those that carry a guard."""

    __slots__ = ("_inside", "_ledger", "_lsn", "_place", "_sending", "_slot", "commands", "layout", "wires")

    def __init__(self, batch: Batch, ledger: Ledger) -> None:
        self.commands: list[bytes] = []
        self.wires: list[bytes] = []
        self.layout: list[int] = []
        self._sending = batch.seq << MARK_BITS
        self._ledger = ledger
        self._slot = -1  # of the open transaction
        self._inside = 0
        self._lsn = 0
        self._place = 0

    def add(self, commands: list[bytes], slot: int, lsn: int, last_place: int, guarded: bool) -> None:
        """Commands of one record; `last_place` is the last one's place in the batch."""
        if self._slot >= 0 and (self._slot != slot or self._inside >= TRANSACTION_MOST):
            self.close()
        if guarded and self._slot < 0:
            self._slot = slot
            self._inside = 0
            self._lsn = 0
            self.wires.append(MULTI_WIRE)
            self.layout.append(MULTI)
        if self._slot >= 0:
            self._inside += len(commands)
            self._lsn = max(self._lsn, lsn)
            self._place = last_place
        first = len(self.commands)
        self.commands += commands
        self.wires += commands
        self.layout += range(first, first + len(commands))

    def add_plain(self, command: bytes, slot: int, lsn: int, place: int) -> None:
        """The same for the usual record: one command, no guard."""
        if self._slot >= 0:
            self.add([command], slot, lsn, place, False)
            return
        self.layout.append(len(self.commands))
        self.commands.append(command)
        self.wires.append(command)

    def close(self) -> None:
        """End the open transaction."""
        if self._slot < 0:
            return
        self.wires += (self._ledger.guard(self._slot, self._lsn, self._sending | self._place), EXEC_WIRE)
        self.layout += (EXTRA, EXEC)
        self._slot = -1


def _guarded_parts(view: Topology, batch: Batch, blocks: list[Block], ledger: Ledger) -> list[Part]:
    columns = [_Column(batch, ledger) for _ in range(len(view.nodes) + 1)]
    index = view.index
    resent = blocks is not batch.blocks
    places: Iterator[int] = iter(_places(batch.blocks, (c for b in blocks for c in b.commands))) if resent else count()
    for block in blocks:
        commands, slots, once, tolerant = block.commands, _slots(block), block.once, block.tolerant
        number = len(commands)
        lsns = block.lsns or [0] * number
        i = 0
        while i < number:
            slot, lsn = slots[i], lsns[i]
            guarded = once is not None and once[i]
            place = next(places)
            j = i + 1
            if block.lsns is not None and (lsn or tolerant):
                while j < number and lsns[j] == lsn and slots[j] == slot:
                    guarded = guarded or (once is not None and once[j])
                    place = next(places)
                    j += 1
            column = columns[index[slot]]
            if guarded or j > i + 1:
                column.add(commands[i:j], slot, 0 if tolerant else lsn, place, guarded)
            else:
                column.add_plain(commands[i], slot, 0 if tolerant else lsn, place)
            i = j
    parts = []
    for node, column in zip(view.nodes, columns, strict=False):
        column.close()
        if column.commands:
            plain = len(column.layout) == len(column.commands)
            layout = None if plain else column.layout
            parts.append(Part(batch, node, column.commands, b"".join(column.wires), len(column.layout), layout))
    return parts
