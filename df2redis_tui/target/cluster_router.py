"""Routing to a Redis Cluster: a batch becomes one part per master, and nothing is lost or doubled while slots move.

Commands that must not be applied twice travel in a transaction with a guard: a key in their own slot that says what
of this FLOW the slot has applied (see `replication.checkpoint`). A guard's mark orders everything this run has sent:
the number of the sending, then the command's place in its batch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby
from typing import TypeVar

import anyio

from df2redis_tui.errors import TargetError, TargetLost, printable
from df2redis_tui.pipeline.backoff import Backoff
from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Block
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import RespConnection, encode, is_error
from df2redis_tui.target.answers import (
    QUEUED,
    Denied,
    WrongAnswer,
    check,
    name_of_command,
    results_of,
    transaction_refused,
    values_of,
    wrong_answer,
)
from df2redis_tui.target.connection import Address, name_of, open_target
from df2redis_tui.target.direct import Direct
from df2redis_tui.target.guarded_parts import MARK_BITS, guarded_parts, places_of, slots_of_block
from df2redis_tui.target.lane import Lane
from df2redis_tui.target.part import Part
from df2redis_tui.target.pending import Fate, Overtaken, Pending
from df2redis_tui.target.refusals import count_of, digest
from df2redis_tui.target.replies import Verdict, verdict
from df2redis_tui.target.router import EXEC_WIRE, MULTI_WIRE, Ledger
from df2redis_tui.target.topology import AddressMap, Topology, ask_any, check_healthy

T = TypeVar("T")

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
            return guarded_parts(view, batch, blocks, ledger)
        index = view.index
        columns: list[list[bytes]] = [[] for _ in range(len(view.nodes) + 1)]
        for block in blocks:
            for command, slot in zip(block.commands, slots_of_block(block), strict=True):
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
        places = places_of(batch.blocks, (p.command for p in todo))
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
                found[slot] = self._guard(ledger, reply)
        return found

    def _guard(self, ledger: Ledger, reply: object) -> bytes | None:
        """What GET of a guard answered. Raises TargetLost, TargetError: what can't be read says nothing."""
        (guard,) = values_of("cluster", "GET of a guard", [reply])
        if guard is not None and not ledger.is_guard(guard):
            raise TargetError(
                f"target cluster: a guard of this job holds `{printable(guard, 40)}`, which it did not write"
            )
        return guard

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
            (p, place) for p, place in zip(todo, places_of(batch.blocks, (p.command for p in todo)), strict=True)
            if p.slot in moving
        ]  # fmt: skip
        for _, group in groupby(enumerate(of_slots), _by_record):
            record = [member for _, member in group]
            pending = [p for p, _ in record]
            slot = pending[0].slot
            assert slot is not None
            if ledger is not None and any(p.once for p in pending):
                # Later commands of the slot may have been applied already, on keys that were not under way.
                held = ledger.applied_lsn(await self._guard_at_last(slot, ledger))
                lsn = 0 if pending[-1].tolerant else max(held, pending[-1].lsn or 0)
                mark = batch.seq << MARK_BITS | record[-1][1]
                guard = ledger.guard(slot, lsn, mark)
                wires = [MULTI_WIRE, *(p.command for p in pending), guard, EXEC_WIRE]
                replies = await self._exactly_once(slot, wires, ledger, mark)
                answers = _answers(replies, wires[1:-1])
            else:
                answers = []
                for p in pending:
                    answers += _checked([p.command], await self._at_last(slot, [p.command]))
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
                if ledger.guarded(await self._guard_at_last(slot, ledger)) >= mark:
                    return []

    async def _guard_at_last(self, slot: int, ledger: Ledger) -> bytes | None:
        return self._guard(ledger, (await self._at_last(slot, [ledger.guard_read(slot)]))[0])

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


def _by_record(numbered: tuple[int, tuple[Pending, int]]) -> tuple[object, ...]:
    """Equal for neighbours that one source record became, and different for everything else."""
    number, (pending, _) = numbered
    if not pending.lsn and not pending.tolerant:
        return (number,)
    return (pending.slot, pending.lsn, pending.tolerant)


def _answers(replies: list[object], commands: list[bytes]) -> list[object]:
    """Each command's own answer out of a transaction's replies; the last of `commands` is the guard. [] = it ran."""
    if not replies:
        return [None] * (len(commands) - 1)
    begun, *queued, ended = replies
    try:
        for what, reply in (("MULTI", begun), ("EXEC", ended)):
            if is_error(reply) and (denied := transaction_refused(what, str(reply))):
                raise denied
        for command, reply in zip(commands, queued, strict=True):
            if not is_error(reply) and reply != QUEUED:
                raise WrongAnswer(f"{printable(name_of_command(command), 40)} in a transaction", reply, "`QUEUED`")
        if not is_error(ended):
            return _checked(commands, results_of("EXEC", ended, len(commands)))[:-1]
    except (WrongAnswer, Denied) as why:
        raise wrong_answer("cluster", why) from None
    # What was fit to be queued was not executed, since its neighbours were not: all of it is refused together.
    cause = next((r for r in queued if is_error(r) and verdict(str(r)) is not Verdict.RETRY), ended)
    return [reply if is_error(reply) else cause for reply in queued[:-1]]


def _checked(commands: list[bytes], replies: list[object]) -> list[object]:
    """The replies, errors among them. Raises TargetError when one is none of what its command is answered."""
    for command, reply in zip(commands, replies, strict=True):
        try:
            if not is_error(reply):
                check(command, reply)
        except WrongAnswer as why:
            raise wrong_answer("cluster", why) from None
    return replies
