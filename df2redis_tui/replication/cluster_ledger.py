"""What a Redis Cluster remembers of a FLOW: a guard in every slot that got a command which must not be applied twice.

A guard's key is `prefix:job:guard:<flow>:{tag}`, its value `master id:LSN:run:mark`. The LSN is for a later run:
records of this source up to it are applied in the slot. Run and mark are for this run: they tell what a lost connection
has executed. A full sync writes LSN 0. FLOW checkpoints are written apart, once what is in front of them is confirmed.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable
from functools import cache

from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Block
from df2redis_tui.replication.checkpoint import Checkpoint, FlowLedger, JobKeys
from df2redis_tui.target.cluster_router import ClusterRouter
from df2redis_tui.target.pending import Overtaken, decode_command
from df2redis_tui.target.refusals import Baseline
from df2redis_tui.translate.keys import SLOTS, keys_of


@cache
def tags() -> tuple[bytes, ...]:
    """For every slot a short hash tag that hashes to it."""
    found: dict[int, bytes] = {}
    number = 0
    while len(found) < SLOTS:
        tag = b"%x" % number
        found.setdefault(crc_hqx(tag, 0) & (SLOTS - 1), tag)
        number += 1
    return tuple(found[slot] for slot in range(SLOTS))


class ClusterLedger(FlowLedger):
    """The ledger of one FLOW. `before_dispatch` must be awaited for every batch while `resuming`."""

    exact = False  # what may be repeated is

    def __init__(self, keys: JobKeys, flow: int, flows: int, run: str) -> None:
        super().__init__(keys, flow, flows, run)
        self.resuming = False
        self._guard_start = keys.start + b"guard:%d:{" % flow
        self._guard_arguments: list[bytes | None] = [None] * SLOTS
        self._tags = tags()
        self._master = b""
        self._mark_run = run.encode("ascii")
        self._began = False
        self._marks: dict[int, int] = {}
        self._lsns: dict[int, int] = {}  # slot → LSN its newest guard was given
        self._early: dict[int, int] = {}  # slot → newest LSN that was applied in front of earlier ones
        self._loaded: dict[int, int] = {}  # slot → LSN of the guard that a former run left
        self._looked = False
        self._doubtful = False
        self.baseline = Baseline()
        self._refusals_before = ""  # of the run that is resumed

    def begin(self, master_id: str, lsn: int) -> None:
        super().begin(master_id, lsn)
        self._master = master_id.encode("ascii", "replace")
        if not lsn:
            self._lsns.clear()
            self._early.clear()
            self.baseline.clear()
        # Within one run everything sent is settled before the next session: only what a former run left is unknown.
        self.resuming = bool(lsn) and (self.resuming or not self._began)
        self._began = True

    def resume(self, checkpoint: Checkpoint) -> None:
        self._refusals_before = checkpoint.refusals

    def checkpoint(self, batch: Batch) -> list[bytes]:
        return []

    def posted(self, next_lsn: int) -> None:
        self.baseline.posted(next_lsn)

    def undisturbed(self, lsn: int, refusals: str) -> bool:
        return bool(refusals) and refusals == self.baseline.at(lsn)

    def _more(self, lsn: int) -> bytes:
        self.baseline.confirmed(lsn)
        # What is in doubt since the former run is known to be read again only once that run's records are behind us.
        refusals = self._refusals_before if self.resuming else self.baseline.at(lsn)
        return b',"refusals":"%b"' % refusals.encode()

    def kept(self) -> list[bytes]:
        return self.all_named()

    def guard(self, slot: int, lsn: int, mark: int) -> bytes:
        # What has no LSN of its own (a value read again) stands behind the record before it.
        lsn = max(lsn, self._early.get(slot, 0)) if lsn else self._lsns.get(slot, 0)
        self._lsns[slot] = lsn
        self._marks[slot] = mark
        value = b"%b:%d:%b:%d" % (self._master, lsn, self._mark_run, mark)
        return b"*3\r\n$3\r\nSET\r\n%b$%d\r\n%b\r\n" % (self._guard_argument(slot), len(value), value)

    def ran_early(self, slot: int | None, lsn: int) -> None:
        if slot is not None:
            self._early[slot] = max(lsn, self._early.get(slot, 0))

    def last_mark(self, slot: int) -> int:
        return self._marks.get(slot, -1)

    def guard_read(self, slot: int) -> bytes:
        return b"*2\r\n$3\r\nGET\r\n%b" % self._guard_argument(slot)

    def is_guard(self, value: bytes) -> bool:
        return _fields(value)[3] >= 0

    def guarded(self, reply: object) -> int:
        _, _, run, mark = _fields(reply)
        return mark if run == self._run else -1

    def applied_lsn(self, reply: object) -> int:
        master_id, lsn, _, _ = _fields(reply)
        return lsn if master_id == self.master_id else 0

    def skips(self, slot: int, lsn: int) -> bool:
        """A former run has applied this record in this slot."""
        return lsn <= self._loaded.get(slot, 0)

    async def before_dispatch(self, batch: Batch, router: ClusterRouter, until: int) -> list[Overtaken]:
        """Take out of the batch what a former run has applied already; it can't have got any records from `until` on
        (0 = not known). Raises TargetError.

        Returns the keys of what was taken out where it is not certain: something was refused meanwhile, and a guard
        may speak of a command that overtook it.
        """
        if not self._looked:
            self._looked = True
            refusals = await router.refusals_at_last()
            self._doubtful = not refusals or refusals != self._refusals_before
            self.baseline.read(refusals)
        wanted = {slot for block in batch.blocks for slot in block.slots or ()} if until else range(SLOTS)
        found = await self._load(wanted, router)
        if until and found >= until:
            until = 0  # the source is not where it says
            await self._load(range(SLOTS), router)
        doubts = [doubt for block in batch.blocks for doubt in self._leave_out(block)]
        batch.commands = sum(len(block.commands) for block in batch.blocks)
        if batch.next_lsn > (until - 1 if until else max(self._loaded.values())):
            self.resuming = False
            self._loaded.clear()
        return doubts

    async def _load(self, slots: Iterable[int], router: ClusterRouter) -> int:
        """Read those guards that are not known yet; the newest LSN of all known ones."""
        if unread := [slot for slot in slots if slot not in self._loaded]:
            found = await router.applied_lsns(self, unread)
            self._loaded.update(found)
            self._lsns.update((slot, lsn) for slot, lsn in found.items() if lsn)
        return max(self._loaded.values(), default=0)

    def _leave_out(self, block: Block) -> list[Overtaken]:
        """Returns the keys of what is left out, where that is asked for."""
        lsns, slots = block.lsns, block.slots
        if lsns is None or slots is None or block.tolerant:
            return []
        keep = [i for i, lsn in enumerate(lsns) if not self.skips(slots[i], lsn)]
        if len(keep) == len(lsns):
            return []
        out = set(range(len(lsns))).difference(keep) if self._doubtful else ()
        doubts = [Overtaken(block.db, key) for i in sorted(out) for key in keys_of(decode_command(block.commands[i]))]
        block.commands = [block.commands[i] for i in keep]
        block.slots = [slots[i] for i in keep]
        block.lsns = [lsns[i] for i in keep]
        if block.once is not None:
            block.once = [block.once[i] for i in keep]
        return doubts

    def _guard_argument(self, slot: int) -> bytes:
        """The key of a slot's guard as a RESP bulk string."""
        known = self._guard_arguments[slot]
        if known is None:
            key = self._guard_start + self._tags[slot] + b"}"
            known = self._guard_arguments[slot] = b"$%d\r\n%b\r\n" % (len(key), key)
        return known


def _fields(reply: object) -> tuple[str, int, str, int]:
    words = reply.decode("ascii", "replace").split(":") if isinstance(reply, bytes) else []
    if len(words) != 4 or not all(words[i].isdigit() and len(words[i]) < 30 for i in (1, 3)):
        return "", 0, "", -1
    return words[0], int(words[1]), words[2], int(words[3])
