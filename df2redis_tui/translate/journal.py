"""Journal entries of one FLOW → blocks of commands, global commands, re-reads, in stream order (protocol page §4)."""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from df2redis_tui.dragonfly.records import OP_COMMAND, OP_EXEC, OP_EXPIRED, OP_LARGE, OP_MULTI, OP_PING, Entry
from df2redis_tui.errors import NotCopied
from df2redis_tui.pipeline.block import Block, Item
from df2redis_tui.translate.capabilities import JSON_WRITES, Capabilities
from df2redis_tui.translate.data_commands import (
    GLOBAL,
    IGNORED,
    IGNORED_FAMILY,
    UNKNOWN,
    UNSAID,
    VERBATIM,
    named,
)
from df2redis_tui.translate.databases import DbPolicy
from df2redis_tui.translate.expiry import DeferredExpiry
from df2redis_tui.translate.keys import SLOT_OBJECTS, keys_of, number, slot_of
from df2redis_tui.translate.large import write_large
from df2redis_tui.translate.numeric_arguments import NUMBERS
from df2redis_tui.translate.old_keys import OldKeys
from df2redis_tui.translate.own_keys import BESIDE, NONE, WHY, OwnKeys
from df2redis_tui.translate.ownership import Ownership
from df2redis_tui.translate.quirks import Quirks
from df2redis_tui.translate.refusals import RefusalPort
from df2redis_tui.translate.resp import COMMAND_OVERHEAD, encode
from df2redis_tui.translate.rewriter import Args, PendingPort, Rewriter
from df2redis_tui.translate.rewrites import keyspace, lists, members, modules, stores, streams, strings
from df2redis_tui.translate.values import MemberTtl

BLOCK_BYTES: Final = 512 * 1024
BLOCK_COMMANDS: Final = 4096

_COMMANDS: Final = (OP_COMMAND, OP_MULTI, OP_EXPIRED)

Rewrite = Callable[[Rewriter, Args], None]
_OF_ONE: Final[Mapping[bytes, Rewrite]] = {
    **strings.TABLE, **keyspace.TABLE, **lists.TABLE, **members.TABLE, **stores.TABLE, **streams.TABLE,
}  # fmt: skip
_OF_MANY: Final[Mapping[bytes, Rewrite]] = {
    **strings.TABLE_OF_MANY, **keyspace.TABLE_OF_MANY, **stores.TABLE_OF_MANY, **streams.TABLE_OF_MANY,
    **modules.TABLE_OF_MANY,
}  # fmt: skip
_KNOWN: Final = frozenset({*VERBATIM, *IGNORED, *GLOBAL, *JSON_WRITES, *_OF_ONE, *_OF_MANY})
_JSON: Final = frozenset(JSON_WRITES)
_FAMILIES: Final = (IGNORED_FAMILY, *modules.SKETCH_FAMILIES)
# These leave nothing of what a refused key was (§4.8), so they are applied to one.
_RECREATING: Final = frozenset({b"SET", b"SETEX", b"PSETEX", b"GETSET", b"GETDEL", b"RESTORE"})
NEWEST: Final = Quirks()
_DENSE_HLL: Final = strings.DENSE_HLL
_SANE_NAME: Final = re.compile(rb"[A-Z][A-Z0-9._|-]{0,63}")


UNREADABLE: Final = "a journal record has an unreadable command name"
NO_ARGUMENTS: Final = "a journal record of this command has no arguments"

# name → (once, format of the command with a key and one more argument, what puts its numbers in order)
_PLANS: Final = {
    name: (
        once,
        b"*3\r\n$%d\r\n%b\r\n" % (len(name), name) + b"$%d\r\n%b\r\n$%d\r\n%b\r\n",
        NUMBERS.get(name),
    )
    for name, once in (*VERBATIM.items(), (b"SET", False))
}
_SET_PLAN: Final = _PLANS[b"SET"]
# Behind a pop, where a push may be the other half of a move.
_PLANS_AFTER_POP: Final = {name: plan for name, plan in _PLANS.items() if name not in lists.TABLE}


def _columns(block: Block) -> tuple[list[bytes], list[int], list[bool], list[int] | None]:
    assert block.lsns is not None
    assert block.once is not None
    return block.commands, block.lsns, block.once, block.slots


def _is_pop(args: Args) -> bool:
    return len(args) == 2 and args[0].upper() in lists.POPS


class JournalTranslator:
    """One per FLOW. `open_keys` is the snapshot translator's set of the same FLOW."""

    def __init__(
        self,
        caps: Capabilities,
        refusals: RefusalPort,
        *,
        flow: int,
        route: bool,
        member_ttl: MemberTtl,
        expiry: DeferredExpiry,
        ownership: Ownership,
        open_keys: set[tuple[int, bytes]],
        db_policy: DbPolicy = "fail",
        skip: Callable[[int, bytes], bool] | None = None,
        quirks: Quirks = NEWEST,
        base_db: int = 0,
        old: OldKeys | None = None,
        own: OwnKeys = NONE,
    ) -> None:
        self._refusals = refusals
        self._to = Rewriter(
            caps, refusals, flow=flow, route=route, member_ttl=member_ttl, expiry=expiry, ownership=ownership,
            open_keys=open_keys, db_policy=db_policy, skip=skip, quirks=quirks, base_db=base_db,
            old=old, own=own,
        )  # fmt: skip

    def translate(
        self,
        entries: Sequence[Entry],
        first_lsn: int,
        *,
        counted: bool,
        now_ms: int,
        grace_ms: int,
        arrived: float,
        pending: PendingPort | None,
        replayed_until: int = 0,
    ) -> Iterator[Item]:
        """Items for these entries; `first_lsn` is the LSN of the first that counts. Those below `replayed_until` may
        have been translated before.

        `counted` False for the journal inside a full sync: blocks then are tolerant and move no position. A Reread must
        be taken up before the next item is asked for, since `pending` decides about the records behind it. NotCopied is
        raised (policy `stop`) after the block of what came before.
        """
        to = self._to
        to.counted, to.now_ms, to.grace_ms, to.arrived = counted, now_ms, grace_ms, arrived
        to.pending, to.replayed_until = pending, replayed_until
        to.ready = []
        to.block = to.new_block(0)
        to.lsn = first_lsn
        try:
            yield from self._translate(entries, first_lsn)
        except NotCopied:
            to.cut(to.lsn)
            yield from to.ready
            raise

    def _translate(self, entries: Sequence[Entry], lsn: int) -> Iterator[Item]:
        to = self._to
        refusals, expiry, pending, old = self._refusals, to.expiry, to.pending, to.old
        refused, any_refused = refusals.refused, refusals.any_refused
        block, free, quick_db = to.block, self._is_free(), self._quick_db()
        own, own_length = to.own.start, to.own.length
        previous = to.previous
        plain, after_pop = _PLANS.get, _PLANS_AFTER_POP.get
        plan_of = after_pop if previous is None or _is_pop(previous.args) else plain
        commands, lsns, onces, slots = _columns(block)
        begin = lsn  # of the open block
        for entry in entries:
            op, db, txid, args = entry
            if op in _COMMANDS:
                plan = plan_of(args[0])
                count = len(args)
                if (
                    plan is not None
                    and count > 1
                    and free
                    and db == quick_db
                    and not (any_refused and refused(db, args[1]))
                    and args[1][:own_length] != own
                    and (pending is None or not pending.active)
                    and (old is None or not old.holds(db, args[1]))
                    and (plan is not _SET_PLAN or (count == 3 and not args[2].startswith(_DENSE_HLL)))
                ):
                    # The commonest records, as they came.
                    once, form, numbers = plan
                    if numbers is not None:
                        args = numbers(args)
                        if count == 2:
                            plan_of = after_pop
                    if count == 3:
                        _, key, value = args
                        encoded = form % (len(key), key, len(value), value)
                        if expiry.count and plan is _SET_PLAN:
                            expiry.cancel(db, key)
                    else:
                        key = args[1]
                        encoded = encode(args)
                    commands.append(encoded)
                    lsns.append(lsn)
                    onces.append(once)
                    if once:
                        to.any_once = True
                    if slots is not None:
                        slots.append(slot_of(key) if b"{" in key else SLOT_OBJECTS[crc_hqx(key, 0) & 16383])
                    block.size += len(encoded) + COMMAND_OVERHEAD
                    lsn += 1
                    previous = entry
                    if block.size < BLOCK_BYTES and len(commands) < BLOCK_COMMANDS:
                        continue
                    block.entries = lsn - begin
                else:
                    block.entries = lsn - begin
                    to.lsn, to.db, to.txid, to.previous = lsn, db, txid, previous
                    self._record(args)
                    any_refused = refusals.any_refused
                    previous = entry
                    plan_of = after_pop if count == 2 and _is_pop(args) else plain
                    if to.block is not block:
                        begin = lsn
                    lsn += 1
            elif op in (OP_PING, OP_EXEC):
                to.block.ack_now |= op == OP_PING
                lsn += 1
            elif op == OP_LARGE:
                block.entries = lsn - begin
                to.cut(lsn)
                to.lsn, to.db, to.txid, to.previous = lsn, db, txid, previous
                yield from self._large(args)
                any_refused = refusals.any_refused
                previous = None
                begin = lsn
                lsn += 1
            else:
                continue  # LSN, SELECT and FIN do not count
            to.block.entries = lsn - begin
            if to.block.size >= BLOCK_BYTES or len(to.block.commands) >= BLOCK_COMMANDS:
                to.cut(lsn)
            if to.ready:
                ready, to.ready = to.ready, []
                yield from ready
                free, any_refused = self._is_free(), refusals.any_refused
            if to.block is not block:
                block = to.block
                begin = lsn - block.entries
                commands, lsns, onces, slots = _columns(block)
            quick_db = self._quick_db()
        to.previous = previous
        to.block.entries = lsn - begin
        to.cut(lsn)
        ready, to.ready = to.ready, []
        yield from ready

    def _large(self, args: Args) -> Iterator[Item]:
        to = self._to
        ready, to.ready = to.ready, []
        yield from ready
        if not is_data(args[0].upper()):
            self._record(args)
        elif not self._takes_own(args):
            yield from write_large(to, args, self._enter, self._record)

    def _is_free(self) -> bool:
        """No key is open or left alone, so that a record may go out without a look at either."""
        return not self._to.open_keys and self._to.skip is None

    def _quick_db(self) -> int:
        """The database whose plain records fit the open block as they are; -1 when none."""
        db = self._to.block.db
        return 0 if self._to.caps.cluster else db

    def _record(self, args: Args) -> None:
        to = self._to
        to.ends_ms = 0
        name = args[0].upper()
        single = _OF_ONE.get(name)
        many = None
        if single is None and name not in VERBATIM:
            many = _OF_MANY.get(name)
            if many is None and name not in _JSON and not name.startswith(modules.SKETCH_FAMILIES):
                self._other(name, args)
                return
        if len(args) < 2:
            to.refuse_command(args, NO_ARGUMENTS)
            return
        numbers = NUMBERS.get(name)
        if numbers is not None:
            args = numbers(args)
        own = to.own
        named_so = own.among(args) if many is not None else args[1][: own.length] == own.start
        if named_so and self._takes_own(args):
            return
        if to.old is not None and not to.clears_old(args):
            return
        if many is not None:
            if self._enter(name, args[1]) or name == b"MOVE":
                many(to, args)
            return
        key = args[1]
        if not self._enter(name, key) or to.blocked(key) or (to.is_refused(key) and name not in _RECREATING):
            return
        if single is not None:
            single(to, args)
        elif (once := VERBATIM.get(name)) is not None:
            to.emit(key, args, once)
        elif name in _JSON:
            modules.json(to, args)
        else:
            modules.sketch(to, args)

    def _enter(self, name: bytes, key: bytes) -> bool:
        """Find the target's database for this record; False when the policy leaves it out."""
        to = self._to
        if to.db and to.caps.cluster:
            mapped = to.databases.target_of(to.db, key, name.decode("ascii", "replace"), to.lsn)
            to.target_db = mapped or 0
            return mapped is not None
        to.target_db = to.db
        return True

    def _other(self, name: bytes, args: Args) -> None:
        if name in GLOBAL:
            self._global(name, args)
        elif not is_data(name):
            self._foreign(name, args)

    def _foreign(self, name: bytes, args: Args) -> None:
        """A name that no known Dragonfly journals: of a later one, or no command of data at all."""
        to = self._to
        commands = to.caps.commands
        if not _SANE_NAME.fullmatch(name):
            to.refuse_command(args, UNREADABLE)
        elif (unfit := commands.get(name, UNKNOWN if commands else UNSAID)) or len(args) < 2:
            to.refuse_command(args, unfit or NO_ARGUMENTS)
            if name not in commands and len(args) > 1 and self._enter(name, args[1]):
                to.reread(args[1:2], f"{named(args)} is not known, and this may be its key")
        elif not self._takes_own(args) and (to.old is None or to.clears_old(args)):
            key = args[1]
            if self._enter(name, key) and not to.blocked(key) and not to.is_refused(key):
                to.emit(key, args, True)

    def _takes_own(self, args: Args) -> bool:
        """Whether the record would write one of the job's own keys. It is reported then, and what it does to other
        keys is read again."""
        to = self._to
        if to.own.start is None:
            return False
        keys = keys_of(args)
        taken = [key for key in keys if to.own.holds(to.db, key)]
        elsewhere = (number(args[2]) or 0) if args[0].upper() == b"MOVE" and len(args) > 2 else to.db
        if elsewhere != to.db and to.own.holds(elsewhere, args[1]):
            taken = [args[1]]
        for key in taken:
            to.refuse(key, named(args), WHY, remove=False)
        if taken and (len(keys) > 1 or elsewhere != to.db) and self._enter(args[0].upper(), keys[0]):
            keyspace.reread_in_both(to, keys, elsewhere, BESIDE)
        return bool(taken)

    def _global(self, name: bytes, args: Args) -> None:
        to = self._to
        if name == b"DFLYCLUSTER" and (len(args) < 2 or args[1].upper() != b"FLUSHSLOTS"):
            to.refuse_command(args, UNKNOWN)
            return
        if name == b"FLUSHDB":
            to.expiry.clear(to.db)
        elif name == b"FLUSHALL":
            to.expiry.clear()
        to.everywhere(args)


def is_data(name: bytes) -> bool:
    """Whether this is a command that a Dragonfly journals, whatever becomes of it."""
    return name in _KNOWN or name.startswith(_FAMILIES)
