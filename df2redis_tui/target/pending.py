"""Commands of a batch that still have to be applied, and the rules for sending them again in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

import hiredis

from df2redis_tui.pipeline.block import Block
from df2redis_tui.target.part import Part
from df2redis_tui.target.replies import Verdict, verdict
from df2redis_tui.translate.keys import keys_of


class Fate(Enum):
    """What became of a command that was sent."""

    APPLIED = auto()
    FAILED = auto()
    UNKNOWN = auto()


@dataclass(slots=True)
class Pending:
    """One command of a batch under repair; `error` is the target's text when it failed."""

    db: int
    command: bytes
    slot: int | None
    lsn: int | None
    once: bool
    tolerant: bool
    fate: Fate
    error: str
    unfit: bool = False  # it was refused before it could run: what its keys hold is not the reason

    def args(self) -> list[bytes]:
        return decode_command(self.command)

    def names(self) -> tuple[bytes, ...]:
        return keys_of(self.args())


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A command that must not be applied twice ran ahead of an earlier one on its key: only a re-read corrects it."""

    db: int
    key: bytes


def decode_command(wire: bytes) -> list[bytes]:
    """A RESP array of bulk strings → its arguments."""
    reader = hiredis.Reader()
    reader.feed(wire)
    args = reader.gets()
    return [a for a in args if isinstance(a, bytes)] if isinstance(args, list) else []


def commands_of(blocks: Iterable[Block]) -> Iterator[Pending]:
    """Every command of the blocks, in order."""
    for block in blocks:
        slots, lsns, once = block.slots, block.lsns, block.once
        for i, command in enumerate(block.commands):
            yield Pending(
                block.db,
                command,
                slots[i] if slots is not None else None,
                lsns[i] if lsns is not None else None,
                once[i] if once is not None else False,
                block.tolerant,
                Fate.UNKNOWN,
                "",
            )


def to_blocks(pending: Iterable[Pending]) -> list[Block]:
    """Pending commands as blocks again."""
    blocks: list[Block] = []
    for p in pending:
        last = blocks[-1] if blocks else None
        if last is None or last.db != p.db or last.tolerant != p.tolerant:
            last = Block(p.db, [], [] if p.slot is not None else None, [], [], tolerant=p.tolerant)
            blocks.append(last)
        last.commands.append(p.command)
        if last.slots is not None and p.slot is not None:
            last.slots.append(p.slot)
        assert last.lsns is not None
        assert last.once is not None
        last.lsns.append(p.lsn or 0)
        last.once.append(p.once)
    for block in blocks:
        if not any(block.once or ()):
            block.once = None
    return blocks


def review(blocks: list[Block], parts: list[Part]) -> list[Pending]:
    """Every command of the blocks in order with its fate: `failed` (error says why), `unknown` or `applied`."""
    # A part's commands are the batch's own objects in the batch's order: walk them side by side.
    queues = [(deque(enumerate(p.commands)), p, p.unconfirmed() if p.lost else range(0)) for p in parts]
    fates = list(commands_of(blocks))
    for pending in fates:
        for queue, part, unknown in queues:
            if queue and queue[0][1] is pending.command:
                index, _ = queue.popleft()
                if index in part.failures:
                    pending.fate, pending.error = Fate.FAILED, part.failures[index]
                    pending.unfit = index in part.unfit
                elif index in unknown:
                    pending.fate = Fate.UNKNOWN
                else:
                    pending.fate = Fate.APPLIED
                break
        else:
            pending.fate, pending.error = Fate.FAILED, "CLUSTERDOWN no connection to the slot's node"
    return fates


_REPLACING = (b"SET", b"DEL", b"UNLINK", b"RESTORE")
_ON_TOP = (b"KEEPTTL", b"NX", b"XX", b"GET")  # options with which SET builds on what was there


_MAY_EMPTY = (b"SREM", b"HDEL", b"ZREM", b"HPEXPIREAT", b"EVAL")  # what they empty is gone, and its TTL with it


def _overtaking_shows(pending: Pending, earlier: Iterable[Pending]) -> bool:
    """Whether running `pending` once more behind `earlier` leaves something else than the right order would have."""
    return pending.once or any(e.args()[0].upper() in _MAY_EMPTY for e in earlier)


def replaces(args: list[bytes]) -> bool:
    """Whether a command leaves nothing of what its keys held before."""
    name = args[0].upper() if args else b""
    if name not in _REPLACING:
        return False
    options = {arg.upper() for arg in args[3:]}
    return b"REPLACE" in options if name == b"RESTORE" else name != b"SET" or not options & set(_ON_TOP)


def mark_overtaken(fates: Iterable[Pending]) -> list[Overtaken]:
    """Commands that ran although an earlier one on the same key failed for the time being are due again, behind it.

    Where one replaced the key as a whole, the earlier ones are void instead: sending them would show old values again.
    Where they can't be applied twice, where the earlier one may have emptied a container that the later one filled
    again, or is of several keys and would carry on what it should not see, the keys are in doubt and returned; and
    with them all keys of later commands that touch such a key, or one of a command that was refused for good.
    One that was refused for good may have been so because an earlier one was missing: it too is due again, unless it
    was refused before it could run.
    """
    behind: dict[tuple[int, bytes], list[Pending]] = {}
    wrong: set[tuple[int, bytes]] = set()
    doubts: dict[Overtaken, None] = {}

    def doubt(db: int, keys: Iterable[bytes]) -> None:
        wrong.update((db, key) for key in keys)
        doubts.update((Overtaken(db, key), None) for key in keys)

    for pending in fates:
        failed = pending.fate is Fate.FAILED
        if not (failed or behind or wrong):
            continue
        db, names = pending.db, pending.names()
        if len(names) > 1 and any((db, key) in wrong for key in names):
            doubt(db, names)
        for_good = failed and verdict(pending.error) is Verdict.REFUSED
        if failed and not for_good:
            for key in names:
                behind.setdefault((db, key), []).append(pending)
            continue
        hit = [key for key in names if (db, key) in behind]
        earlier = [e for key in hit for e in behind[(db, key)]]
        if not hit or (for_good and pending.unfit):
            if for_good and not pending.tolerant:
                wrong.update((db, key) for key in names)
        elif for_good:
            _due_behind(pending, names, behind)
        elif pending.fate is Fate.APPLIED:
            for e in earlier:
                if len(e.names()) > 1:
                    doubt(db, e.names())
            if replaces(pending.args()):
                for key in hit:
                    for e in behind.pop((db, key)):
                        if len(e.names()) == 1:
                            e.fate = Fate.APPLIED
            elif _overtaking_shows(pending, earlier):
                doubt(db, names)
            else:
                _due_behind(pending, names, behind)
    return list(doubts)


def _due_behind(pending: Pending, names: Iterable[bytes], behind: dict[tuple[int, bytes], list[Pending]]) -> None:
    pending.fate, pending.error = Fate.FAILED, "TRYAGAIN an earlier command on this key was refused"
    for key in names:
        behind.setdefault((pending.db, key), []).append(pending)
