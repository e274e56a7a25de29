"""Snapshot records of one FLOW → blocks of commands. Values replace what the target holds (protocol page §0 rule 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from df2redis_tui.dragonfly.records import (
    HASH_TTL,
    KIND,
    SnapshotRecord,
    Strings,
    Value,
    ValueEnd,
    ValuePart,
    ValueStart,
)
from df2redis_tui.errors import NotCopied
from df2redis_tui.pipeline.block import Block
from df2redis_tui.translate.big_values import BigValue
from df2redis_tui.translate.capabilities import Capabilities
from df2redis_tui.translate.databases import Databases, DbPolicy
from df2redis_tui.translate.expiry import DeferredExpiry
from df2redis_tui.translate.keys import slot_of, slots_of
from df2redis_tui.translate.old_keys import OldKeys
from df2redis_tui.translate.own_keys import NONE, WHY, OwnKeys
from df2redis_tui.translate.ownership import Ownership
from df2redis_tui.translate.refusals import Refusal, RefusalPort
from df2redis_tui.translate.resp import COMMAND_OVERHEAD, SET_FORMAT, command, set_command
from df2redis_tui.translate.values import MemberTtl, Unrepresentable, ValueWriter

BLOCK_BYTES: Final = 512 * 1024
LOST_PENDING: Final = "{} pending entries of deleted stream ids can't be created on the target"


class SnapshotTranslator:
    """One per FLOW.

    `open_keys` holds the (db, key) whose big value has begun and not ended: such a value takes effect at its last
    part, so journal records that touch the key until then are dropped. `skip(db, key)` says which keys are left alone.
    """

    def __init__(
        self,
        caps: Capabilities,
        refusals: RefusalPort,
        *,
        flow: int,
        route: bool,
        member_ttl: MemberTtl,
        expiry: DeferredExpiry,
        skip: Callable[[int, bytes], bool] | None = None,
        payload_limit: int = 64 * 1024,
        db_policy: DbPolicy = "fail",
        ownership: Ownership | None = None,
        old: OldKeys | None = None,
        own: OwnKeys = NONE,
    ) -> None:
        self.open_keys: set[tuple[int, bytes]] = set()
        self._refusals = refusals
        self._refused_before = refusals.any_refused  # each key comes once in a full sync
        self._flow = flow
        self._route = route
        self._expiry = expiry
        self._skip = skip
        self._payload_limit = payload_limit
        self._ownership = ownership
        self._old = old
        self._own = own
        self._writer = ValueWriter(caps, member_ttl)
        self._databases = Databases(caps.cluster, db_policy, refusals, flow)
        self._maps_databases = caps.cluster
        self._values: dict[int, BigValue | None] = {}
        self._blocks: list[Block] = []
        self._block = Block(0, [])
        self._once: set[int] = set()  # of the open block: commands that a second application would falsify
        self._now_ms = 0
        self._grace_ms = 0
        self._arrived = 0.0

    def translate(
        self, records: Iterable[SnapshotRecord], now_ms: int, grace_ms: int, arrived: float
    ) -> Iterator[Block]:
        """Blocks for these records, all of which are Strings, Value, ValueStart, ValuePart or ValueEnd.

        `now_ms` unix ms, `grace_ms` how long a key whose time is near is held (see `DeferredExpiry`), `arrived` the
        monotonic time of the read. Raises DecodeError on a malformed value, and NotCopied under the policy `stop`,
        behind the last block, which removes a key that is half-written.
        """
        self._now_ms, self._grace_ms, self._arrived = now_ms, grace_ms, arrived
        self._blocks = []
        self._block = self._new_block(0)
        try:
            for record in records:
                if isinstance(record, ValuePart):
                    for _ in self._part(record):
                        yield from self._ready()
                else:
                    self._record(record)
                    if self._blocks:
                        yield from self._ready()
        except NotCopied:
            self._close_block()
            yield from self._ready()
            raise
        self._close_block()
        yield from self._ready()

    def _ready(self) -> list[Block]:
        blocks, self._blocks = self._blocks, []
        return blocks

    def _record(self, record: SnapshotRecord) -> None:
        if isinstance(record, Strings):
            self._strings(record)
        elif isinstance(record, Value):
            self._value(record)
        elif isinstance(record, ValueStart):
            self._start(record)
        elif isinstance(record, ValueEnd):
            self._end(record)
        else:
            raise TypeError(f"{type(record).__name__} is not for the snapshot translator")

    # Strings, the hot path

    def _strings(self, run: Strings) -> None:
        db, items = run
        if self._own.among([item[0] for item in items]):
            items = [item for item in items if not self._is_own(db, item[0], "string")]
        if not items:
            return
        if self._refused_before:
            for item in items:
                self._refusals.copied(db, item[0])
        if self._ownership is not None:
            for item in items[: self._ownership.wanted]:
                self._ownership.observe(item[0], self._flow)
        if self._skip is not None or (db and self._maps_databases):
            kept: list[tuple[bytes, bytes, int]] = []
            for item in items:
                mapped = self._mapped(db, item[0], "string")
                if mapped is not None:
                    kept.append(item)
                    target = mapped
            if not kept:
                return
            db, items = target, kept
        if self._old is not None:
            for item in items:
                self._old.replaced(db, item[0])
        commands = self._set_commands(db, items)
        slots = slots_of([item[0] for item in items]) if self._route else None
        size = sum(map(len, commands)) + COMMAND_OVERHEAD * len(commands)
        if self._block.size + size <= BLOCK_BYTES * 3 // 2:
            self._append_run(db, commands, slots, size)
            return
        begin = size = 0
        for at, encoded in enumerate(commands):
            size += len(encoded) + COMMAND_OVERHEAD
            if size >= BLOCK_BYTES:
                self._append_run(db, commands[begin : at + 1], slots[begin : at + 1] if slots else None, size)
                begin, size = at + 1, 0
        if begin < len(commands):
            self._append_run(db, commands[begin:], slots[begin:] if slots else None, size)

    def _set_commands(self, db: int, items: list[tuple[bytes, bytes, int]]) -> list[bytes]:
        expiry = self._expiry
        if not expiry.count:
            try:
                # Most runs have no expiry at all: one comprehension, which the first item with one ends.
                return [SET_FORMAT % (len(k), k, len(v), v) for k, v, e in items if not e or _expires()]
            except _Expires:
                pass
        now_ms, grace_ms = self._now_ms, self._grace_ms
        commands: list[bytes] = []
        for key, value, expire_ms in items:
            if expire_ms:
                commands.append(set_command(key, value, expiry.effective(db, key, expire_ms, now_ms, grace_ms)))
            else:
                if expiry.count:
                    expiry.cancel(db, key)
                commands.append(SET_FORMAT % (len(key), key, len(value), value))
        return commands

    def _append_run(self, db: int, commands: list[bytes], slots: list[int] | None, size: int) -> None:
        block = self._block_for(db)
        block.commands += commands
        if slots is not None and block.slots is not None:
            block.slots += slots
        block.size += size
        block.entries += len(commands)
        block.kinds["string"] = block.kinds.get("string", 0) + len(commands)
        if block.size >= BLOCK_BYTES:
            self._close_block()

    # Whole values

    def _value(self, value: Value) -> None:
        source_db, key, expire_ms, rdb_type, raw = value
        kind = KIND.get(rdb_type) or f"type {rdb_type}"
        db = source_db
        special = self._skip is not None or (source_db and self._maps_databases)
        if special or self._own.holds(source_db, key):
            mapped = self._mapped(source_db, key, kind)
            if mapped is None:
                return
            db = mapped
        if self._ownership is not None and self._ownership.wanted > 1:
            self._ownership.observe(key, self._flow)
        if expire_ms:
            expire_ms = self._expiry.effective(db, key, expire_ms, self._now_ms, self._grace_ms)
        elif self._expiry.count:
            self._expiry.cancel(db, key)
        try:
            commands = self._writer.commands(key, rdb_type, raw, expire_ms)
        except Unrepresentable as why:
            self._leave_out(source_db, key, why, raw)
            return
        if rdb_type == HASH_TTL:
            self._expiry.fields_expire(db, key)
        if self._refusals.any_refused:
            self._refusals.copied(source_db, key)
        if self._old is not None:
            self._old.replaced(db, key)
        block = self._block_for(db)
        block.commands += commands
        if block.slots is not None:
            block.slots += [slot_of(key)] * len(commands)
        for encoded in commands:
            block.size += len(encoded) + COMMAND_OVERHEAD
        block.entries += 1
        block.kinds[kind] = block.kinds.get(kind, 0) + 1

    # Big values

    def _start(self, record: ValueStart) -> None:
        big = BigValue(record, self._writer)
        db = self._mapped(record.db, record.key, big.kind)
        if db is None:
            self._values[record.id] = None
            return
        self._values[record.id] = big
        try:
            self._append(db, big.key, big.start())
        except Unrepresentable as why:
            self._give_up(big, why)
            return
        if self._old is not None:
            self._old.replaced(db, record.key)
        self.open_keys.add((record.db, record.key))
        self._expiry.cancel(db, record.key)

    def _part(self, record: ValuePart) -> Iterator[None]:
        """One part can be many commands: yields where blocks of them are ready."""
        big = self._values.get(record.id)
        if big is None or big.refused:
            return
        db = self._target_db(big.db)
        try:
            for encoded in big.part(record.elements):
                self._append(db, big.key, (encoded,), once=not big.converges)
                if self._blocks:
                    yield
        except Unrepresentable as why:
            self._give_up(big, why)

    def _end(self, record: ValueEnd) -> None:
        big = self._values.pop(record.id, None)
        if big is None or big.refused:
            return
        db = self._target_db(big.db)
        if big.expire_ms:
            big.expire_ms = self._expiry.effective(db, big.key, big.expire_ms, self._now_ms, self._grace_ms)
        self._append(db, big.key, big.end())
        self._count(db, big.kind)
        self._refusals.copied(big.db, big.key)
        self.open_keys.discard((big.db, big.key))
        if big.lost:
            reason = LOST_PENDING.format(big.lost)
            self._refusals.refuse(Refusal(big.db, big.key, big.kind, reason, self._flow, on_target="incomplete"))

    def _give_up(self, big: BigValue, why: Unrepresentable) -> None:
        big.refused = True
        self.open_keys.discard((big.db, big.key))
        if big.started:
            # Half a value goes in any case, also where the policy ends the run.
            self._append(self._target_db(big.db), big.key, [command(b"DEL", big.key)])
            why.reason += "; found in the middle of the value, so what was written of the key was removed again"
        self._leave_out(big.db, big.key, why, b"", removed=big.started)

    def _leave_out(self, db: int, key: bytes, why: Unrepresentable, raw: bytes, *, removed: bool = False) -> None:
        """Report a key that can't be copied, and take away what the target has of it: an older value."""
        raw = raw[: self._payload_limit]
        self._refusals.refuse(Refusal(db, key, why.kind, why.reason, self._flow, None, raw, "removed"))
        target = self._target_db(db)
        self._expiry.cancel(target, key)
        if self._old is not None:
            self._old.replaced(target, key)
        if not removed:
            self._append(target, key, [command(b"DEL", key)])

    # Blocks

    def _mapped(self, db: int, key: bytes, kind: str) -> int | None:
        """The target's database, None when the key is left out."""
        if self._is_own(db, key, kind):
            return None
        if self._skip is not None and self._skip(db, key):
            return None
        return self._databases.target_of(db, key, kind) if db and self._maps_databases else db

    def _is_own(self, db: int, key: bytes, kind: str) -> bool:
        """Whether the key would be one of the job's own on the target; it is reported then."""
        own = self._own.holds(db, key)
        if own:
            self._refusals.refuse(Refusal(db, key, kind, WHY, self._flow))
        return own

    def _target_db(self, db: int) -> int:
        return 0 if self._maps_databases else db

    def _append(self, db: int, key: bytes, commands: Iterable[bytes], *, once: bool = False) -> None:
        for encoded in commands:
            block = self._block_for(db)
            if once:
                self._once.add(len(block.commands))
            block.commands.append(encoded)
            if block.slots is not None:
                block.slots.append(slot_of(key))
            block.size += len(encoded) + COMMAND_OVERHEAD

    def _count(self, db: int, kind: str) -> None:
        block = self._block if self._block.db == db else self._block_for(db)
        block.entries += 1
        block.kinds[kind] = block.kinds.get(kind, 0) + 1

    def _block_for(self, db: int) -> Block:
        block = self._block
        if block.db != db or block.size >= BLOCK_BYTES:
            self._close_block()
            block = self._block = self._new_block(db)
        return block

    def _new_block(self, db: int) -> Block:
        return Block(db, [], slots=[] if self._route else None, arrived=self._arrived)

    def _close_block(self) -> None:
        block = self._block
        if self._once:
            block.once = [i in self._once for i in range(len(block.commands))]
            self._once.clear()
        if block.commands or block.entries:
            self._blocks.append(block)
        self._block = self._new_block(block.db)


class _Expires(Exception):
    """An item of a run of strings has an expiry."""


def _expires() -> bool:
    raise _Expires
