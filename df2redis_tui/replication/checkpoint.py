"""Checkpoints: what of a FLOW was applied, written on the target together with the data.

Theory of operation: how a journal command is applied exactly once, on a server and on a cluster, through lost
connections, `kill -9` and restarts. Snapshot values replace what is there and may be sent twice; INCR, APPEND or LPUSH
may not. So the target itself remembers what it has applied, and nothing else is believed.

*Positions.* A FLOW's LSN says what the source is to send next; a block moves it once it is confirmed. The job's keys on
the target begin with `prefix:job:`; the checkpoint of a FLOW is JSON for people:

    master, flows, flow   whose journal it counts, and how many FLOWs that has
    lsn                   next LSN wanted; 0 while the full sync runs
    run, seq              the newest sending that it came with: for this run, after a lost connection
    batches               on one server: how many transactions of the FLOW had run, this one included
    refusals              on a cluster: what the masters had refused by then

A set beside it (`rereads`) names keys which have to be read from the source again, and still have to when the run dies.

*One server.* A batch of the journal is one transaction: MULTI, the commands, SET of the checkpoint, changes of the set,
INCR of the FLOW's count (`batches:N`), EXEC. Data and position are true together or not at all.

- After a lost connection a batch is applied if the checkpoint is of this run and names its sending or a later one:
  sendings are numbered, and run in the order of their numbers.
- A transaction may be refused (OOM, BUSY) while the next one, sent right behind it, runs and takes the checkpoint on.
  So each counts when it runs, and the checkpoint says how many there have to be. Within a run the refused one is sent
  again at once, and counted from what has run. If the run dies in between, count and checkpoint differ, and the next
  run does not resume: only a full sync is exact.
- Values of the full sync go without a transaction. A command in it that must not be applied twice takes a checkpoint
  with LSN 0 along, for the lost connection only.

*A cluster* has no transaction over slots, so the two questions are answered apart (`cluster_ledger`).

- Commands that converge when they are repeated in order (SET, HSET, DEL ...) are sent plain. The others are sent in a
  transaction with a guard, a key in their own slot: `master:lsn:run:mark`. Commands of the slot that follow directly go
  into the same transaction, up to 64. The mark orders all that this run has sent: the sending's number, then the place
  in the batch.
- After a lost connection an unknown command is applied if its slot's guard has its mark or a later one; otherwise it is
  sent again, plain ones too.
- Checkpoints of all FLOWs are written about twice a second, in one transaction (their keys share a slot), and say what
  is confirmed. After a crash the source sends again what is behind them. Each record that is not above the LSN of its
  slot's guard is taken out before it is sent (`before_dispatch`); plain ones without a guard are repeated. Until that
  is caught up, a reader may see an older state of a key.
- A command that was refused for the time being may have been overtaken by a later one, whose guard then hides it. The
  masters count their refusals (INFO errorstats). If that count is the one from before the sending, the guard is right;
  if not, the keys concerned are read again from the source.

*Who may write.* The lease, a key that lasts 15 s and is renewed every 4 s, refuses a second run of the job; one whose
process died on the same machine is replaced at once. It is checked before a new connection writes and before a command
for all shards runs; a run that finds another's ends. The fence: every writing connection has its FLOW's name, and
before a new one is used the target ends the older ones of this name. What a dead process or a broken connection still
had in its buffers can't run behind the checkpoint that is read next. A resume reads the checkpoints only when every
FLOW's writer has such connections.

*When a resume is possible.* Every FLOW has a checkpoint with an LSN, of this master (its id changes with each process)
and this number of FLOWs, with its count right; no run of the job has stopped at what it could not copy; and the source
still has the records. Where a checkpoint is missing there is a full sync; for any other reason `--on-lost-backlog`
decides between that and the end. Within a run, a source that one of its replicas took over from can be followed too
(§5.4). Before a full sync the checkpoints, counts and sets are removed, so that one which does not end leaves nothing
to resume from; the first ones follow behind the last value.

*Commands for all shards* run when all FLOWs have confirmed what is in front. One server takes the flush, the
checkpoints behind it and what else the job keeps in one transaction (unless keys of before the job have to stay: then
the others are removed one by one, and the checkpoints follow). A cluster is flushed master by master between two writes
of all checkpoints, in front of the command and behind it: a crash in between repeats it, and nothing behind it was
applied yet.

Not covered: writes that the target confirmed and lost (a failover, a power cut). On one server, the count shows it to a
run that sends something again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from df2redis_tui.dragonfly.control import MAX_FLOWS
from df2redis_tui.errors import TargetError, printable
from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.replication.json_record import read_record, whole
from df2redis_tui.replication.known_checkpoint import Known, KnownCheckpoint
from df2redis_tui.streams import RespConnection, encode
from df2redis_tui.target.answers import values_of


@dataclass(frozen=True, slots=True)
class JobKeys:
    """Names of the keys which a job keeps on its target: `prefix:job:...`.

    On a cluster all of them but the guards share a slot, so that they can be written in one transaction.
    """

    prefix: str
    job: str
    one_slot: bool = False

    @property
    def start(self) -> bytes:
        """What all of them begin with."""
        return f"{self.prefix}:{self.job}:".encode()

    @property
    def flows(self) -> bytes:
        """What the checkpoints of all FLOWs begin with."""
        return self._tagged + b"flow:"

    def flow(self, flow: int) -> bytes:
        return self.flows + b"%d" % flow

    def batches(self, flow: int) -> bytes:
        """On a standalone target: how many transactions of this FLOW have run."""
        return self._tagged + b"batches:%d" % flow

    def rereads(self, flow: int) -> bytes:
        """The keys of this FLOW that have to be read from the source again."""
        return self._tagged + b"rereads:%d" % flow

    def of_flows(self, flows: int) -> list[bytes]:
        """What is kept of so many FLOWs."""
        return [key for flow in range(flows) for key in (self.flow(flow), self.batches(flow), self.rereads(flow))]

    @property
    def lease(self) -> bytes:
        return self._tagged + b"lease"

    @property
    def job_record(self) -> bytes:
        return self._tagged + b"job"

    def mark(self, tag: bytes | None = None) -> bytes:
        """What tells a target that still has what it confirmed from one that does not; on a cluster one in a slot of
        every master, whose hash tag is `tag`."""
        return self.start + b"mark" if tag is None else self.start + b"mark:{%b}" % tag

    @property
    def jobs(self) -> bytes:
        """Of all jobs with this prefix: their names."""
        return f"{self.prefix}:jobs".encode()

    @property
    def _tagged(self) -> bytes:
        return self.start + b"{job}:" if self.one_slot else self.start


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One FLOW's record on the target."""

    master_id: str
    flows: int
    flow: int
    lsn: int  # next LSN wanted; 0 while the full sync runs
    run: str
    seq: int
    refusals: str = ""  # on a cluster: how often its servers had refused anything, before what is behind `lsn` was sent
    batches: int = -1  # on one server: how many transactions had to have run with this one; -1 = not said

    @classmethod
    def parse(cls, raw: object) -> Checkpoint | None:
        """None when there is none, or it is not ours to read."""
        if not isinstance(raw, bytes):
            return None
        try:
            found = read_record(raw)
            made = cls(
                str(found["master"]),
                whole(found["flows"], 1),
                whole(found["flow"]),
                whole(found["lsn"]),
                str(found["run"]),
                whole(found["seq"]),
                str(found.get("refusals", "")),
                whole(found.get("batches", -1), -1),
            )
        except (ValueError, KeyError):
            return None
        return made if made.flow < made.flows <= MAX_FLOWS else None


Key = tuple[int, bytes]
MEMBERS_MOST = 1_000  # of a set, that one command names


class OpenKeys(Protocol):
    """What a resume has to read again (`Rereads`)."""

    fresh: list[Key]  # of what was added

    def open_keys(self) -> list[Key]: ...

    def changes(self) -> tuple[list[Key], list[Key]]:
        """What was added and what went since the last call."""
        ...


def members_of(keys: Sequence[Key]) -> list[bytes]:
    """Keys as they stand in the set on the target."""
    return [b"%d:%b" % key for key in keys]


def key_of(member: bytes) -> Key | None:
    """The key that `members_of` made this of, None when it did not."""
    db, found, key = member.partition(b":")
    return (int(db), key) if found and db.isdigit() and len(db) < 10 else None


class FlowLedger:
    """The checkpoint writer of one FLOW on a standalone target (the `Ledger` port of the router).

    `rereads` gives the keys that a resume has to read again.

    A transaction may be refused (OOM, BUSY) while the next one, sent right behind it, runs and takes the checkpoint
    further. So each of them counts on the target, and the checkpoint says how many there have to be.
    """

    exact = True  # nothing that was applied is ever sent again

    def __init__(self, keys: JobKeys, flow: int, flows: int, run: str) -> None:
        self.flow = flow
        self.master_id = ""
        self.flows = flows
        self.key = keys.flow(flow)
        self.rereads: OpenKeys | None = None
        self._rereads_key = keys.rereads(flow)
        self._named = False  # the set on the target holds what `rereads` has told of
        self._run = run
        self._lsn = 0
        self._seq = 0
        self._batches_key = keys.batches(flow)
        self._batches = 0  # transactions sent that have run or will run
        self._counts = True
        self._counted_anew = 0  # times
        self.known = KnownCheckpoint()
        self.counting = encode("INCR", self._batches_key)  # goes with every transaction

    def begin(self, master_id: str, lsn: int) -> None:
        """A session begins; 0 = with a full sync, which can't be resumed."""
        self.master_id = master_id
        self._lsn = lsn
        self._named = False
        if not lsn:
            self._batches = 0
            self.known.removed(self._seq)

    def resume(self, checkpoint: Checkpoint) -> None:
        """The next session begins where this checkpoint of an earlier run stands."""
        self.known.moved_to(checkpoint.lsn)
        self._batches = max(0, checkpoint.batches)

    def checkpoint(self, batch: Batch) -> list[bytes]:
        if batch.position < 0:
            self._lsn = max(self._lsn, batch.next_lsn)
            batch.position = self._lsn
        if not batch.position and not batch.once:
            return []  # snapshot values replace: sending them twice does no harm
        self._seq = batch.seq
        self._batches += batch.commands > 0
        record = self.record(batch.position)
        return [record, *self.named()] if batch.position else [record]

    def named(self) -> list[bytes]:
        """The commands that bring the set of the keys to be read again up to date. They are to be sent with a
        checkpoint; if that may have failed, `name_all` has to be called."""
        if self.rereads is None:
            return []
        added, removed = self.rereads.changes()
        if not self._named:
            self._named = True
            return self.all_named()
        return [*self._each(b"SADD", added), *self._each(b"SREM", removed)]

    def name_now(self) -> list[bytes]:
        """Commands that name what was added since, to be sent at once beside the batches: those in flight do not name
        it, and nobody knows when the next one comes, which names it again."""
        if self.rereads is None or not self.rereads.fresh:
            return []
        fresh = list(self.rereads.fresh)
        self.rereads.fresh.clear()
        return self._each(b"SADD", fresh)

    def name_all(self) -> None:
        """What the set on the target holds is not known."""
        self._named = False

    def all_named(self) -> list[bytes]:
        """The commands that write that set anew."""
        keys = self.rereads.open_keys() if self.rereads is not None else []
        return [encode("DEL", self._rereads_key), *self._each(b"SADD", keys)]

    def _each(self, name: bytes, keys: Sequence[Key]) -> list[bytes]:
        return [
            encode(name, self._rereads_key, *members_of(keys[at : at + MEMBERS_MOST]))
            for at in range(0, len(keys), MEMBERS_MOST)
        ]

    def record(self, lsn: int) -> bytes:
        """The command that writes the checkpoint."""
        more = self._more(lsn)
        value = b'{"master":"%b","flows":%d,"flow":%d,"lsn":%d,"run":"%b","seq":%d,"at":%d%b}' % (
            self.master_id.encode(),
            self.flows,
            self.flow,
            lsn,
            self._run.encode(),
            self._seq,
            time.time_ns() // 1_000_000,
            more,
        )
        return encode("SET", self.key, value)

    def _more(self, lsn: int) -> bytes:
        """Further JSON members of a record."""
        return b',"batches":%d' % self._batches

    def kept(self) -> list[bytes]:
        """What has to be written again, beside the record, when everything on the target goes."""
        return [encode("SET", self._batches_key, self._batches), *self.all_named()]

    def passed(self, lsn: int) -> None:
        """A global command moved the FLOW to `lsn`."""
        self._lsn = lsn
        self.known.moved_to(lsn)

    def confirmed(self, batch: Batch) -> None:
        """It was applied as it was sent, and its checkpoint, if it took one along, with it."""
        if batch.position > 0 or (batch.position == 0 and batch.once):
            self.known.stands(batch.position, batch.seq)

    def lost(self, known: Known, raw: object) -> tuple[str, str] | None:
        """What was confirmed of this FLOW and what the target has of it, where that is less. `raw`: its checkpoint."""
        found = Checkpoint.parse(raw)
        ours = found is not None and found.run == self._run
        return self.known.lost(self.flow, known, found.lsn if found else None, found.seq if found and ours else 0)

    async def applied_seq(self, connection: RespConnection) -> int:
        found = await self.read(connection)
        return found.seq if found is not None and found.run == self._run else 0

    async def missing(self, connection: RespConnection) -> int:
        """How many of the transactions sent have not run; what is sent from now on counts from there."""
        self.name_all()
        counted_anew = self._counted_anew
        ran = await self.ran(connection)
        if not self._counts or counted_anew != self._counted_anew:
            return 0  # nothing is in flight, and the answer may be older or newer than the removal of the count
        sent, self._batches = self._batches, ran
        return sent - ran

    @contextlib.contextmanager
    def counting_anew(self) -> Iterator[None]:
        """Inside, the count on the target is removed, while connections may break and be repaired."""
        self._counts = False
        self.known.removed(self._seq)
        try:
            yield
        finally:
            self._batches = 0
            self.known.removed(self._seq)
            self._counts = True
            self._counted_anew += 1

    async def ran(self, connection: RespConnection) -> int:
        """How many transactions of this FLOW the target has run. Raises PeerLost, TargetLost, TargetError."""
        what = "GET of the number of batches"
        (value,) = values_of("", what, [await connection.call("GET", self._batches_key)])
        if value is not None and not (value.isdigit() and len(value) < 19):
            raise TargetError(
                f"target: the number of batches of this job is `{printable(value, 40)}`: it did not write that"
            )
        return int(value or 0)

    async def read(self, connection: RespConnection) -> Checkpoint | None:
        """Raises PeerLost, TargetError."""
        (value,) = values_of("", "GET of the checkpoint", [await connection.call("GET", self.key)])
        return Checkpoint.parse(value)

    def posted(self, next_lsn: int) -> None:
        """A standalone target does not need to know."""

    def guard(self, slot: int, lsn: int, mark: int) -> bytes:
        raise AssertionError("a standalone target has no guards")

    def ran_early(self, slot: int | None, lsn: int) -> None:
        """Here nothing runs early: a batch is one transaction."""

    def last_mark(self, slot: int) -> int:
        return -1

    def guard_read(self, slot: int) -> bytes:
        raise AssertionError("a standalone target has no guards")

    def is_guard(self, value: bytes) -> bool:
        return False

    def guarded(self, reply: object) -> int:
        return -1

    def applied_lsn(self, reply: object) -> int:
        return 0

    def undisturbed(self, lsn: int, refusals: str) -> bool:
        return True
