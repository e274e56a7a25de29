"""The writer of one FLOW: lanes to the target's nodes, batches in flight, and repair without loss or reordering.

Theory of operation. To every node there is one ordered connection, a lane. `dispatch` encodes a batch into one part for
each node concerned and posts them; a lane writes its parts in order without waiting for replies, and matches the
replies in order. A batch is complete when the last reply of its last part is there. Confirmations leave in order, from
the head of what is in flight: a batch that is complete waits for those in front of it.

*Trouble* is any of these: a lane ended (closed, broken, or no byte for `REPLY_TIMEOUT`, 120 s, while replies are due);
a command, a SELECT or a checkpoint got an error; a part had no lane to go to; no node takes a command's slot. From then
on `ready` lets no new batch through, and only the repair confirms what is in flight; until then that stays, with its
blocks. Writers of other FLOWs go on: nothing of theirs depends on it.

*Repair* is one task's work, step by step:

1. Wait until the lanes that live have no replies due. So each command in flight has one fate of three: applied; failed,
   with the target's error; or unknown, because its lane ended first. In a transaction all depends on EXEC's answer:
   until that has come, its commands are unknown, and if it did not run, all of them failed.
2. Connect what is missing, with pauses of 0.1 to 5 s, for as long as it takes (unless reconnecting is off); on a
   cluster the topology is learnt anew in between. A new connection is prepared first: with exactly-once, the lease is
   checked and the target ends the FLOW's older connections on that node (if the user may do that; a warning says if
   not). Behind that nothing arrives late that an old one still had in its buffers, so what the target says from here on
   is final.
3. Ask the target about the unknown ones, of all batches before anything is sent again: a newer checkpoint would hide
   what an older one says. What it has recorded is applied (by checkpoint or guard: see `replication.checkpoint`); the
   rest is not, or may be applied twice without harm. Without a ledger (`--no-exactly-once`) nobody can be asked, and
   all of it is sent again.
4. On one server, compare the number of transactions that ran with those that were sent. If more are missing than were
   answered with a refusal or are still unknown, the target has lost what it had confirmed, and the run ends with
   DataLost. (That it still has what was confirmed before, each new connection is asked in step 2: `replication.marks`.)
5. Put right what ran in front of an earlier command of its key that failed (`mark_overtaken`): a command that replaces
   the key makes the earlier one void; one that may be repeated is due again, behind it; where it must not be applied
   twice, or the earlier one may have emptied what it filled again, the key is in doubt and is read again from the
   source. A command that was refused for good because of a missing earlier one is due again too.
6. Batch by batch, in order, send what is due until nothing is: each sending has a new number (`Batch.seq`), its replies
   are waited for and looked at in the same way, and a lane that ends meanwhile sends it back through steps 2, 3 and 5.
   If the target refused for now (OOM, BUSY, LOADING, CLUSTERDOWN ...), and before every sending but the first, there is
   a pause of 20 ms to 2 s; after any error the topology is learnt anew. Commands of a slot that moves (ASK, TRYAGAIN)
   are sent one record at a time, all of the slot, so that none overtakes another. Then the batch is confirmed, and the
   next one's turn comes.
7. Let batches through again.

A batch that is sent again in front of one that ran already writes no checkpoint that goes back behind it: it takes over
that one's position (`_carry_positions`).

*What ends it otherwise.* A command that is refused for good is the FLOW's matter (`WriterEvents.refused`): its key is
read again from the source where that helps, else the policy decides; `skip` notes it and goes on, `stop` raises
NotCopied. These raise TargetError: at once, NOAUTH, NOPERM and a database that does not exist, a request that the
target can't even read (larger than its proto-max-bulk-len), and an answer that is not RESP or of another kind than the
command's (`target.answers`: nobody knows then what was applied); after `STUCK_PATIENCE`, 60 s, OOM, READONLY and other
states that an operator has to end. The connections to a single server that answers as a replica, or loads, are given
up: its name may stand for another one by now.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from df2redis_tui.errors import DataLost, TargetError, TargetLost, printable
from df2redis_tui.pipeline.backoff import Backoff
from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Block
from df2redis_tui.pipeline.signal import Signal
from df2redis_tui.streams import PeerLost, RespConnection
from df2redis_tui.target.answers import name_of_command
from df2redis_tui.target.lane import Lane
from df2redis_tui.target.part import Part
from df2redis_tui.target.patience import Patience
from df2redis_tui.target.pending import Fate, Overtaken, Pending, commands_of, mark_overtaken, review, to_blocks
from df2redis_tui.target.replies import DEMOTED, Verdict, code_of, verdict
from df2redis_tui.target.router import Ledger, Router


class WriterEvents(Protocol):
    """What a writer tells its FLOW; all sync and quick."""

    def sending(self, blocks: list[Block]) -> None:
        """These go to the target now, and with them a checkpoint (which names what the FLOW has in doubt)."""

    def confirmed(self, batch: Batch) -> None:
        """Every command of the batch, and of all before it, is applied."""

    def refused(self, pending: Pending, batch: Batch) -> None:
        """The target will never take this command. Raises NotCopied under the policy `stop`."""

    def found_nothing(self, pending: Pending) -> None:
        """The target had no such key when this was to change its expiry."""

    def doubt(self, overtaken: Overtaken) -> None:
        """This key needs a re-read from the source."""

    def retrying(self, batch: Batch, commands: int, reason: str) -> None: ...

    def redirected(self, commands: int) -> None: ...

    def lane_changed(self, node: str, state: str) -> None:
        """A lane's state: "connected", or why it isn't."""


class Writer:
    """Batches go out in order through `dispatch` (after `ready`); confirmations come in order through `events`.

    Trouble of any kind stops dispatching; what is in flight is settled; what was not applied is sent again, batch by
    batch, in order; then dispatching goes on. `run` raises TargetError, NotCopied, or TargetLost (if not reconnecting).
    """

    def __init__(
        self,
        flow: int,
        router: Router,
        ledger: Ledger | None,
        events: WriterEvents,
        *,
        reconnect: bool = True,
        prepare: Callable[[int, RespConnection], Awaitable[None]] | None = None,
    ) -> None:
        self.flow = flow
        self.lanes: dict[str, Lane] = {}
        self.status = "connecting to the target"  # why nothing is sent, "" while all is well
        self._router = router
        self._ledger = ledger
        self._events = events
        self._may_reconnect = reconnect
        self._prepare = prepare  # sees each new connection before anything is sent on it
        self._in_flight: deque[tuple[Batch, list[Part]]] = deque()
        self._trouble = Signal()
        self._progress = Signal()
        self._settled = Signal()
        self._well = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._patience = Patience()
        self._seq = 0
        self._bytes_before = 0  # written to nodes that are gone

    async def run(self) -> None:
        """Connect, then repair whenever needed, until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                await self._connect_lanes()
                self._all_well()
                while True:
                    await self._trouble.wait()
                    if not self._well.is_set():
                        await self._repair()
                        self._all_well()
            finally:
                tasks.cancel_scope.cancel()

    def stop(self) -> None:
        """End `run`; lanes are closed."""
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    async def ready(self) -> None:
        """Wait until batches may be dispatched."""
        while not self._well.is_set():
            await self._well.wait()

    def dispatch(self, batch: Batch) -> None:
        """Send; `ready` must have returned in the same step of the loop."""
        batch.sent_at = time.monotonic()
        self._events.sending(batch.blocks)
        self._in_flight.append((batch, self._post(batch, batch.blocks)))
        self._advance()

    async def settle(self) -> None:
        """Wait until everything dispatched is confirmed."""
        while self._in_flight:
            await self._settled.wait()

    def node_depths(self) -> dict[str, int]:
        """Parts waiting for replies, by node."""
        return {node: len(lane.waiting) for node, lane in self.lanes.items()}

    def oldest_arrival(self) -> float:
        """Monotonic time at which the oldest unconfirmed command was read, 0 when there is none."""
        for batch, _ in list(self._in_flight)[:1]:
            for block in batch.blocks:
                return block.arrived
        return 0.0

    def oldest_sent(self) -> float:
        """Monotonic time at which the oldest unconfirmed batch was sent, 0 when there is none."""
        return self._in_flight[0][0].sent_at if self._in_flight else 0.0

    def commands_in_flight(self) -> int:
        """Sent and not confirmed."""
        return sum(batch.commands for batch, _ in self._in_flight)

    def bytes_out(self) -> int:
        """Written to the target, over all connections."""
        return self._bytes_before + sum(lane.bytes_out for lane in self.lanes.values())

    def blocks_in_flight(self) -> list[Block]:
        """What was sent and is not confirmed, in order."""
        return [block for batch, _ in self._in_flight for block in batch.blocks]

    def _post(self, batch: Batch, blocks: list[Block]) -> list[Part]:
        self._seq += 1
        batch.seq = self._seq
        parts = self._router.parts(batch, blocks, self.lanes, self._ledger)
        batch.nodes = max(batch.nodes, len(parts))
        batch.waiting_parts = len(parts)
        if sum(len(part.commands) for part in parts) != sum(len(block.commands) for block in blocks):
            self._troubled()  # no node takes some of them
        for part in parts:
            lane = self.lanes.get(part.node)
            if lane is None or lane.lost:
                part.lost = True
                self._troubled()
            else:
                lane.post(part)
        return parts

    def _on_part(self, part: Part) -> None:
        part.batch.waiting_parts -= 1
        if part.failures or part.extra_error:
            self._troubled()
        if not self._well.is_set():
            self._progress.set()
        elif not part.batch.waiting_parts:
            self._advance()

    def _advance(self) -> None:
        """Confirm the batches at the head that are complete."""
        while self._in_flight and self._well.is_set():
            batch, parts = self._in_flight[0]
            if batch.waiting_parts:
                break
            self._in_flight.popleft()
            self._look_at(batch, parts)
            if self._ledger is not None:
                self._ledger.confirmed(batch)
            self._events.confirmed(batch)
        if not self._in_flight:
            self._settled.set()

    def _look_at(self, batch: Batch, parts: list[Part]) -> None:
        found_nothing = {id(part.commands[index]) for part in parts for index in part.no_key}
        if found_nothing:
            for pending in commands_of(batch.blocks):
                if id(pending.command) in found_nothing:
                    self._events.found_nothing(pending)

    def _troubled(self) -> None:
        if self._well.is_set():
            self._well = anyio.Event()
        self._trouble.set()

    def _all_well(self) -> None:
        self.status = ""
        self._patience.renew()
        self._well.set()
        self._advance()

    async def _run_lane(self, lane: Lane) -> None:
        await lane.run()
        if lane.fatal is not None:
            raise lane.fatal
        if lane.unreadable:
            raise TargetError(
                f"target {lane.node}: {lane.unreadable}; a value is larger than its proto-max-bulk-len: raise that, or "
                "allow CONFIG GET, so that it is known and such keys are left out (--on-error skip)"
            )
        if self.lanes.get(lane.node) is lane:
            self._events.lane_changed(lane.node, lane.lost)
            self._troubled()
            self._progress.set()

    async def _connect_lanes(self) -> None:
        """A live lane to every node; keeps trying. Lanes to nodes that are gone are closed."""
        backoff = Backoff(0.1, 5.0)
        while True:
            try:
                for node in self._router.nodes:
                    lane = self.lanes.get(node)
                    if lane is not None and not lane.lost:
                        continue
                    connection = await self._open(node)
                    lane = self.lanes[node] = Lane(node, connection, self._on_part, lane)
                    assert self._tasks is not None
                    self._tasks.start_soon(self._run_lane, lane)
                    self._events.lane_changed(node, "connected")
                for node in set(self.lanes) - set(self._router.nodes):
                    gone = self.lanes.pop(node)
                    self._bytes_before += gone.bytes_out
                    self._events.lane_changed(node, "closed")  # however it ended: it is not missed
                    await gone.aclose()
                return
            except TargetLost as lost:
                if not self._may_reconnect:
                    raise
                self._patience.renew()
                delay = backoff.next()
                self.status = f"reconnecting to the target in {delay:.1f} s (attempt {backoff.attempt}: {lost})"
                await anyio.sleep(delay)
                await self._refresh()

    async def _open(self, node: str) -> RespConnection:
        connection = await self._router.connect(node)
        try:
            if self._prepare is not None:
                await self._prepare(self.flow, connection)
        except PeerLost as lost:
            await connection.aclose()
            raise lost.of_target(node) from None
        except BaseException:
            await connection.aclose()
            raise
        return connection

    async def _refresh(self) -> None:
        try:
            await self._router.refresh()
        except TargetLost as lost:
            self.status = f"{lost}"

    async def _quiesce(self) -> None:
        """Wait until no live lane has replies due."""
        while any(lane.waiting for lane in self.lanes.values() if not lane.lost):
            await self._progress.wait()

    async def _repair(self) -> None:
        try:
            await self._apply_what_was_not()
        finally:
            if self._ledger is not None:
                with anyio.CancelScope(shield=True):
                    await self._router.repaired(self._ledger)

    async def _apply_what_was_not(self) -> None:
        await self._quiesce()
        work = [(batch, review(batch.blocks, parts)) for batch, parts in self._in_flight]
        out_of_order = any(_is_due_again(p) for _, fates in work for p in fates)
        for batch, _ in work:
            batch.out_of_order |= out_of_order
        await self._connect_lanes()
        # The fate of all must be known before anything is sent again: a newer checkpoint would hide it.
        for batch, fates in work:
            await self._settle_unknown(batch, [p for p in fates if p.fate is not Fate.APPLIED])
        did_not_run = sum(
            any(part.aborted and part.commands for part in parts) or any(p.fate is Fate.UNKNOWN for p in fates)
            for (_, parts), (_, fates) in zip(self._in_flight, work, strict=True)
        )
        if await self._missing() > did_not_run:
            raise DataLost(
                f"the target does not have all of what it confirmed of FLOW {self.flow}, or left out a batch in front "
                "of others"
            )
        self._put_in_order([p for _, fates in work for p in fates])
        due = [(batch, [p for p in fates if p.fate is not Fate.APPLIED]) for batch, fates in work]
        self._carry_positions(due)
        for batch, todo in due:
            await self._complete(batch, todo)
            if todo:
                self._patience.renew()  # it takes writes
            self._look_at(*self._in_flight.popleft())
            self._events.confirmed(batch)
            self.status = ""
        self._trouble.clear()

    def _put_in_order(self, fates: list[Pending]) -> None:
        """See to what ran in front of an earlier command that failed."""
        self._in_doubt(mark_overtaken(fates))
        late: set[int | None] = set()
        for pending in fates:
            if pending.fate is not Fate.APPLIED:
                late.add(pending.slot)
            elif self._ledger is not None and pending.slot in late and pending.lsn:
                self._ledger.ran_early(pending.slot, pending.lsn)

    def _in_doubt(self, doubts: list[Overtaken]) -> None:
        for overtaken in dict.fromkeys(doubts):
            self._events.doubt(overtaken)

    @staticmethod
    def _carry_positions(due: list[tuple[Batch, list[Pending]]]) -> None:
        """What is sent again in front of batches that ran already must not take the checkpoint back behind them."""
        last: Batch | None = None
        for batch, todo in due:
            if todo:
                last = batch
            elif last is not None:
                last.position = max(last.position, batch.position)

    async def _complete(self, batch: Batch, todo: list[Pending]) -> None:
        """Send what is due of one batch until all of it is applied or refused for good."""
        backoff = Backoff(0.02, 2.0)
        while todo := self._due(batch, todo):
            await self._wait_out(batch, todo, backoff)
            await self._missing()
            todo = await self._send_again(batch, todo)
            batch.out_of_order |= any(map(_is_due_again, todo))
            if any(lane.lost for lane in self.lanes.values()):
                await self._connect_lanes()
            await self._settle_unknown(batch, todo)
            self._put_in_order(todo)
            todo = [p for p in todo if p.fate is not Fate.APPLIED]
        batch.waiting_parts = 0

    async def _missing(self) -> int:
        """How many transactions did not run; the next ones count on from those that did."""
        while self._ledger is not None:
            try:
                return await self._router.missing(self._ledger)
            except TargetLost:
                await self._connect_lanes()
                await anyio.sleep(0.1)
        return 0

    async def _settle_unknown(self, batch: Batch, todo: list[Pending]) -> None:
        """Mark what the target has recorded as applied."""
        while self._ledger is not None and any(p.fate is Fate.UNKNOWN for p in todo):
            try:
                self._in_doubt(await self._router.settle_unknown(batch, todo, self._ledger))
                return
            except TargetLost:
                await self._connect_lanes()
                await anyio.sleep(0.1)

    def _due(self, batch: Batch, todo: list[Pending]) -> list[Pending]:
        """Without what the target refused for good (the policy decides)."""
        due: list[Pending] = []
        for pending in todo:
            meaning = verdict(pending.error) if pending.fate is Fate.FAILED else Verdict.RETRY
            if meaning is Verdict.FATAL:
                name = printable(name_of_command(pending.command), 40)
                raise TargetError(f"target refused {name}: {printable(pending.error.encode())}")
            if meaning is Verdict.REFUSED:
                self._events.refused(pending, batch)
            else:
                due.append(pending)
        return due

    async def _wait_out(self, batch: Batch, todo: list[Pending], backoff: Backoff) -> None:
        """Say what happened, wait, and learn the topology anew where that may help."""
        errors = [p.error for p in todo if p.fate is Fate.FAILED]
        # A transaction's commands share the fate of the one for which nothing of it ran.
        first = next((error for error in errors if code_of(error) != "EXECABORT"), errors[0] if errors else "")
        reason = printable(first.encode()) if errors else "connection lost, sent again"
        meanings = {verdict(error) for error in errors}
        self._events.retrying(batch, len(todo), reason)
        batch.retries += 1
        batch.result = f"retried {len(todo)}: {reason}"
        if meanings & {Verdict.MOVED, Verdict.ASK}:
            self._events.redirected(sum(verdict(e) in (Verdict.MOVED, Verdict.ASK) for e in errors))
        if errors:
            self._patience.refused(code_of(first), reason, self._router.nodes)
        if backoff.attempt or Verdict.RETRY in meanings:
            delay = backoff.next()
            self.status = f"the target refuses for now ({reason}), again in {delay:.1f} s"
            await anyio.sleep(delay)
        else:
            backoff.attempt += 1
        if errors:
            await self._refresh()
        if self._may_reconnect and not self._router.cluster and any(code_of(error) in DEMOTED for error in errors):
            await self._leave_lanes()
        # They may have been lost in the meantime, and what is sent into nothing only makes the next pause longer.
        await self._connect_lanes()

    async def _leave_lanes(self) -> None:
        """Give up every connection; the next ones are made to what the name stands for then."""
        for lane in self.lanes.values():
            await lane.aclose()

    async def _send_again(self, batch: Batch, todo: list[Pending]) -> list[Pending]:
        """Returns their fates, but for those that were sent one by one and applied."""
        self._seq += 1
        batch.seq = self._seq
        self._events.sending(to_blocks(todo))
        todo = await self._router.one_by_one(batch, todo, self._ledger)
        answered = [p for p in todo if p.fate is Fate.FAILED and verdict(p.error) in (Verdict.REFUSED, Verdict.FATAL)]
        todo = todo[len(answered) :]
        if not todo:
            return answered
        blocks = to_blocks(todo)
        parts = self._post(batch, blocks)
        await self._quiesce()
        self._look_at(batch, parts)
        return answered + review(blocks, parts)


def _is_due_again(pending: Pending) -> bool:
    """Whether later commands may have run in front of this one."""
    refused = pending.fate is Fate.FAILED and verdict(pending.error) in (Verdict.REFUSED, Verdict.FATAL)
    return pending.fate is not Fate.APPLIED and not refused
