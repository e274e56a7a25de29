"""Journal entries of one FLOW → blocks of commands, global commands, re-reads, in stream order (protocol page §4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from df2redis_tui.dragonfly.records import OP_COMMAND, OP_EXEC, OP_EXPIRED, OP_MULTI, OP_PING, Entry
from df2redis_tui.errors import NotCopied
from df2redis_tui.pipeline.block import Item
from df2redis_tui.translate.capabilities import Capabilities
from df2redis_tui.translate.databases import DbPolicy
from df2redis_tui.translate.expiry import DeferredExpiry
from df2redis_tui.translate.keys import keys_of, slot_of
from df2redis_tui.translate.ownership import Ownership
from df2redis_tui.translate.refusals import RefusalPort
from df2redis_tui.translate.resp import COMMAND_OVERHEAD, SET_FORMAT, encode
from df2redis_tui.translate.rewriter import Args, PendingPort, Rewriter
from df2redis_tui.translate.rewrites import keyspace, members, modules, stores, streams, strings
from df2redis_tui.translate.values import MemberTtl

BLOCK_BYTES: Final = 512 * 1024
BLOCK_COMMANDS: Final = 4096

# Single-key commands that go out as they came. The value says whether a second application changes the result.
VERBATIM: Final[Mapping[bytes, bool]] = {
    **dict.fromkeys(
        (b"HSET", b"HMSET", b"HDEL", b"SADD", b"SREM", b"ZREM", b"SETBIT", b"SETRANGE", b"PFADD", b"XDEL", b"XACK"),
        False,
    ),
    **dict.fromkeys(
        (
            b"SETNX", b"APPEND", b"BITFIELD", b"INCR", b"INCRBY", b"DECR", b"DECRBY", b"LPUSH", b"RPUSH", b"LPUSHX",
            b"RPUSHX", b"LPOP", b"RPOP", b"LSET", b"LREM", b"LTRIM", b"LINSERT", b"SPOP", b"HSETNX", b"HINCRBY",
            b"ZINCRBY", b"ZREMRANGEBYRANK", b"ZREMRANGEBYSCORE", b"ZREMRANGEBYLEX", b"ZPOPMIN", b"ZPOPMAX",
        ),
        True,
    ),
}  # fmt: skip

# Journalled without an effect on data, or of no meaning for a target (§4.4, §4.7).
IGNORED: Final = frozenset({
    b"PING", b"EXEC", b"MULTI", b"SHRINK", b"SCRIPT", b"FUNCTION", b"STICK", b"PFCOUNT", b"ZINTER", b"ZUNION", b"ZDIFF",
    b"SINTER", b"SUNION", b"SDIFF", b"SORT_RO", b"GEORADIUS_RO", b"GEORADIUSBYMEMBER_RO", b"TOUCH", b"GET", b"MGET",
    b"PUBLISH", b"SPUBLISH", b"SELECT",
})  # fmt: skip
_COMMANDS: Final = (OP_COMMAND, OP_MULTI, OP_EXPIRED)
GLOBAL: Final = frozenset({b"FLUSHALL", b"FLUSHDB", b"DFLYCLUSTER"})

Rewrite = Callable[[Rewriter, Args], None]
_OF_ONE: Final[Mapping[bytes, Rewrite]] = {
    **strings.TABLE, **keyspace.TABLE, **members.TABLE, **stores.TABLE, **streams.TABLE
}  # fmt: skip
_OF_MANY: Final[Mapping[bytes, Rewrite]] = {
    **strings.TABLE_OF_MANY, **keyspace.TABLE_OF_MANY, **stores.TABLE_OF_MANY, **streams.TABLE_OF_MANY,
    **modules.TABLE_OF_MANY,
}  # fmt: skip
# These leave nothing of what a refused key was (§4.8), so they are applied to one.
_RECREATING: Final = frozenset({b"SET", b"SETEX", b"PSETEX", b"GETSET", b"GETDEL", b"RESTORE"})
_SANE_NAME: Final = re.compile(rb"[A-Z][A-Z0-9._|-]{0,63}")


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
        old_stream_ids: bool = False,
    ) -> None:
        self._refused = refusals.refused
        self._to = Rewriter(
            caps, refusals, flow=flow, route=route, member_ttl=member_ttl, expiry=expiry, ownership=ownership,
            open_keys=open_keys, db_policy=db_policy, skip=skip, old_stream_ids=old_stream_ids,
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
    ) -> Iterator[Item]:
        """Items for these entries; `first_lsn` is the LSN of the first that counts.

        `counted` False for the journal inside a full sync: blocks then are tolerant and move no position. A Reread must
        be taken up before the next item is asked for, since `pending` decides about the records behind it. NotCopied is
        raised (policy `stop`) after the block of what came before.
        """
        to = self._to
        to.counted, to.now_ms, to.grace_ms, to.arrived = counted, now_ms, grace_ms, arrived
        to.pending = pending
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
        refused, expiry, route, pending = self._refused, to.expiry, to.route, to.pending
        maps_databases, skip, open_keys = to.caps.cluster, to.skip, to.open_keys
        block = to.block
        for op, db, txid, args in entries:
            if op in _COMMANDS:
                name = args[0]
                once = VERBATIM.get(name)
                is_set = name == b"SET" and len(args) == 3
                if (
                    (once is not None or is_set)
                    and block.db == db
                    and not open_keys
                    and skip is None
                    and len(args) > 1
                    and (pending is None or not pending.active)
                    and not refused(db, args[1])
                    and not (db and maps_databases)
                    and not (is_set and args[2].startswith(strings.DENSE_HLL))
                ):
                    # The commonest records, as they came.
                    if is_set:
                        _, key, value = args
                        encoded = SET_FORMAT % (len(key), key, len(value), value)
                        if expiry.count:
                            expiry.cancel(db, key)
                        once = False
                    else:
                        encoded = encode(args)
                    block.commands.append(encoded)
                    block.lsns.append(lsn)  # type: ignore[union-attr]
                    block.once.append(once)  # type: ignore[union-attr, arg-type]
                    if once:
                        to.any_once = True
                    if route:
                        block.slots.append(slot_of(args[1]))  # type: ignore[union-attr]
                    block.size += len(encoded) + COMMAND_OVERHEAD
                else:
                    to.lsn, to.db, to.txid = lsn, db, txid
                    self._record(args)
                    block = to.block
            elif op == OP_PING:
                block.ack_now = True
            elif op != OP_EXEC:
                continue  # LSN, SELECT and FIN do not count
            lsn += 1
            block.entries += 1
            if block.size >= BLOCK_BYTES or len(block.commands) >= BLOCK_COMMANDS or to.ready:
                if block.size >= BLOCK_BYTES or len(block.commands) >= BLOCK_COMMANDS:
                    to.cut(lsn)
                ready, to.ready = to.ready, []
                yield from ready
                block = to.block
        to.cut(lsn)
        ready, to.ready = to.ready, []
        yield from ready

    def _record(self, args: Args) -> None:
        to = self._to
        name = args[0].upper()
        if name in IGNORED or name.startswith(b"FT."):
            return
        if name in GLOBAL:
            self._global(name, args)
            return
        keys = keys_of(args)
        first = keys[0] if keys else b""
        target_db = to.databases.target_of(to.db, first, name.decode("ascii", "replace"), to.lsn)
        if target_db is None and name != b"MOVE":
            return
        to.target_db = target_db or 0
        rewrite = _OF_MANY.get(name)
        if rewrite is not None and len(args) > 1:
            rewrite(to, args)
            return
        if not keys:
            if _SANE_NAME.fullmatch(name):
                to.emit(b"", args, True)
            else:
                to.refuse(b"", "unknown", "a journal record has an unreadable command name")
            return
        if any(map(to.blocked, keys)):
            if len(keys) > 1:
                to.reread(keys, f"{name.decode('ascii', 'replace')} touches a key that waits for its value")
            return
        if name not in _RECREATING and any(map(to.is_refused, keys)):
            return
        self._single(name, args, keys)

    def _single(self, name: bytes, args: Args, keys: Args) -> None:
        to = self._to
        rewrite = _OF_ONE.get(name)
        once = VERBATIM.get(name)
        if rewrite is not None:
            rewrite(to, args)
        elif once is not None:
            to.emit(keys[0], args, once)
        elif name.startswith(b"JSON."):
            modules.json(to, args)
        elif name.startswith(modules.SKETCH_FAMILIES):
            modules.sketch(to, args)
        elif not _SANE_NAME.fullmatch(name):
            to.refuse(keys[0], "unknown", "a journal record has an unreadable command name")
        elif len(keys) == 1 or to.together(keys, name):
            # A later Dragonfly may journal commands unknown today; the target's answer then decides.
            to.emit(keys[0], args, True)

    def _global(self, name: bytes, args: Args) -> None:
        to = self._to
        if name == b"DFLYCLUSTER" and (len(args) < 2 or args[1].upper() != b"FLUSHSLOTS"):
            return
        if name == b"FLUSHDB":
            to.expiry.clear(to.db)
        elif name == b"FLUSHALL":
            to.expiry.clear()
        to.everywhere(args)
