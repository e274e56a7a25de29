"""What a rewrite of a journal record works with: the target's abilities, the record, and where its commands go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from df2redis_tui.dragonfly.records import Entry
from df2redis_tui.pipeline.block import Block, Global, Item, Reread
from df2redis_tui.translate import scripts
from df2redis_tui.translate.capabilities import Capabilities
from df2redis_tui.translate.data_commands import named
from df2redis_tui.translate.databases import Databases, DbPolicy
from df2redis_tui.translate.expiry import DeferredExpiry
from df2redis_tui.translate.keys import keys_of, slot_of
from df2redis_tui.translate.old_keys import WHY, OldKeys, replaces
from df2redis_tui.translate.own_keys import OwnKeys
from df2redis_tui.translate.ownership import Ownership
from df2redis_tui.translate.quirks import Quirks
from df2redis_tui.translate.refusals import OnTarget, Refusal, RefusalPort
from df2redis_tui.translate.resp import COMMAND_OVERHEAD, encode
from df2redis_tui.translate.values import MemberTtl, ValueWriter

Args = Sequence[bytes]

SEVERAL_SLOTS = "{} over several slots"
TRUNCATED = "{} was journalled with only one shard's keys"
# A batch that took so long to be confirmed is looked through as a whole; before that only what might be late is.
LATE_MS = 50_000


class PendingPort(Protocol):
    """Keys that wait for a re-read from the source. `active` is False while there are none."""

    @property
    def active(self) -> bool: ...

    def covers(self, db: int, key: bytes, lsn: int) -> bool:
        """Whether the re-read value will contain this record's effect, so that the record is dropped."""
        ...


class Rewriter:
    """One per FLOW; `begin` is called per record. Commands gather in one block, which is cut between records only."""

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
        db_policy: DbPolicy,
        skip: Callable[[int, bytes], bool] | None,
        quirks: Quirks,
        base_db: int,
        old: OldKeys | None,
        own: OwnKeys,
    ) -> None:
        self.caps = caps
        self.flow = flow
        self.route = route
        self.member_ttl: MemberTtl = member_ttl
        self.expiry = expiry
        self.ownership = ownership
        self.open_keys = open_keys
        self.skip = skip
        self.quirks = quirks
        self.base_db = base_db
        self.old = old
        self.own = own
        self.writer = ValueWriter(caps, member_ttl)
        self.db_policy: DbPolicy = db_policy
        self.databases = Databases(caps.cluster, db_policy, refusals, flow)
        self._refusals = refusals
        self._recreated: set[tuple[int, bytes]] = set()
        # the translate call
        self.counted = True
        self.now_ms = 0
        self.grace_ms = 0
        self.replayed_until = 0
        self.arrived = 0.0
        self.pending: PendingPort | None = None
        # the record
        self.db = 0
        self.target_db = 0
        self.lsn = 0
        self.txid = 0
        self.previous: Entry | None = None  # the command record before this one
        self.ends_ms = 0  # unix ms: the target may end a key before this record comes to it; 0 = not so soon
        # what came out
        self.ready: list[Item] = []
        self.block = Block(0, [])
        self.any_once = False

    # Output

    def emit(self, key: bytes, args: Args, once: bool) -> None:
        """One command, routed by `key`. `once`: applying it again would change the result."""
        self.put(encode(args), key, once)

    def put(self, encoded: bytes, key: bytes, once: bool) -> None:
        """As `emit`, already encoded."""
        block = self.block
        if block.db != self.target_db:
            self.cut(self.lsn)
            block = self.block
            block.db = self.target_db
        block.commands.append(encoded)
        if block.lsns is not None:
            block.lsns.append(self.lsn)
        if block.once is not None:
            block.once.append(once)
            self.any_once |= once
        if block.slots is not None:
            block.slots.append(slot_of(key))
        block.size += len(encoded) + COMMAND_OVERHEAD
        if self.ends_ms:
            if block.too_late is None:
                block.too_late = {}
            block.too_late[self.lsn] = self.ends_ms

    def take_back(self, args: Args) -> bool:
        """Take the command of the record directly before, which was `args`, out of the open block again. False when it
        is not there any more."""
        block = self.block
        lsns, once = block.lsns, block.once
        if not lsns or once is None or lsns[-1] != self.lsn - 1 or block.db != self.target_db:
            return False
        encoded = encode(args)
        if block.commands[-1] != encoded:
            return False
        del block.commands[-1], lsns[-1], once[-1]
        if block.slots is not None:
            del block.slots[-1]
        block.size -= len(encoded) + COMMAND_OVERHEAD
        return True

    def script(self, text: bytes, keys: Args, *argv: bytes, once: bool = True) -> None:
        self.emit(keys[0], (b"EVAL", text, b"%d" % len(keys), *keys, *argv), once)

    def reread(self, keys: Iterable[bytes], reason: str) -> None:
        """The block so far does not move the FLOW past this record: only what follows the re-read does."""
        wanted = tuple(dict.fromkeys(key for key in keys if not (self.left_alone(key) or self.own.holds(self.db, key))))
        if not wanted:
            return
        for key in wanted:
            self.expiry.cancel(self.expiry_db, key)
        self.cut(self.lsn)
        self.ready.append(Reread(self.db, wanted, self.lsn, reason))

    def everywhere(self, args: Args) -> None:
        """A command of all shards."""
        self.cut(self.lsn)
        self.ready.append(Global(self.db, tuple(args), self.lsn, self.lsn + 1 if self.counted else 0, self.arrived))
        self._recreated.clear()

    def cut(self, next_lsn: int) -> None:
        """End the block; it moves the FLOW to `next_lsn`."""
        block = self.block
        if block.commands or block.entries or block.ack_now:
            if self.counted:
                block.next_lsn = next_lsn
            if not self.any_once:
                block.once = None
            if block.commands or self.counted:
                self.ready.append(block)
        self.block = self.new_block(block.db)

    def stand(self) -> None:
        """End the block without moving the FLOW: more of the same record follows.

        Its commands bear no LSN: each of them alone says nothing of the record, and its time is not a change of one.
        """
        block = self.block
        block.lsns = None
        if not self.any_once:
            block.once = None
        self.ready.append(block)
        self.block = self.new_block(block.db)

    def new_block(self, db: int) -> Block:
        self.any_once = False
        slots: list[int] | None = [] if self.route else None
        tolerant = not self.counted
        return Block(db, [], slots=slots, lsns=[], once=[], arrived=self.arrived, tolerant=tolerant)

    def refuse(self, key: bytes, kind: str, reason: str, payload: bytes = b"", *, remove: bool = True) -> None:
        """Report a key once, and take it from the target: what is there is not the source's any more. Its later records
        are dropped until something recreates it."""
        if self.is_refused(key):
            return
        self._recreated.discard((self.db, key))
        if remove:  # first: the policy `stop` ends the run here
            self.forget_expiry(key)
            self.emit(key, (b"DEL", key), False)
        on_target: OnTarget = "removed" if remove else "untouched"
        self._refusals.refuse(Refusal(self.db, key, kind, reason, self.flow, self.lsn, payload, on_target))

    def refuse_command(self, args: Args, reason: str) -> None:
        """Report a record that is none of data; each one, since no key tells them apart."""
        self._refusals.refuse(Refusal(self.db, b"", named(args), reason, self.flow, self.lsn, of_key=False))

    # What is known of keys

    def is_refused(self, key: bytes) -> bool:
        return self._refusals.refused(self.db, key) and (self.db, key) not in self._recreated

    def recreated(self, key: bytes) -> None:
        """The record replaces or removes the key, so a refusal of its former value no longer matters."""
        if self._refusals.refused(self.db, key):
            self._recreated.add((self.db, key))

    def left_alone(self, key: bytes) -> bool:
        return self.skip is not None and self.skip(self.db, key)

    def superseded(self, key: bytes) -> bool:
        """A later value of this key (open snapshot value, re-read) contains the record's effect."""
        if (self.db, key) in self.open_keys:
            return True
        return self.pending is not None and self.pending.active and self.pending.covers(self.db, key, self.lsn)

    def blocked(self, key: bytes) -> bool:
        return self.superseded(key) or self.left_alone(key)

    def together(self, keys: Args, name: bytes) -> bool:
        """Whether a command over all these keys can run as it is; otherwise they are re-read or reported here."""
        if any(map(self.blocked, keys)):
            self.reread(keys, f"{name.decode('ascii', 'replace')} touches a key that waits for its value")
            return False
        if any(map(self.is_refused, keys)):
            known = [key for key in keys if not self.is_refused(key)]
            self.reread(known, f"{name.decode('ascii', 'replace')} depends on a key that could not be copied")
            return False
        if self.route and len({slot_of(key) for key in keys}) > 1:
            self.reread(keys, SEVERAL_SLOTS.format(name.decode("ascii", "replace")))
            return False
        self.needs(*keys)
        return True

    def clears_old(self, args: Args) -> bool:
        """Take away what the target held under this record's keys before the copy. False: the keys are read again
        from the source instead, and the record is dropped."""
        old, name, db = self.old, args[0].upper(), 0 if self.caps.cluster else self.db
        if old is None or (self.db != db and self.db_policy != "merge-into-0"):
            return True
        named = keys_of(args)
        if not any(old.holds(db, key) for key in named):
            return True
        for key in named:
            old.replaced(db, key)
        if replaces(name, len(args)):
            return True
        if len(named) > 1 or not old.certain:
            self.reread(named, WHY)
            return False
        if not self.superseded(named[0]):
            self.target_db = db
            self.emit(named[0], (b"UNLINK", named[0]), True)
        return True

    def follows(self, names: Collection[bytes], key: bytes) -> Args | None:
        """The argv of the command record directly before, when it is one of these on the same key and txid."""
        before = self.previous
        if before is None or before.db != self.db or before.txid != self.txid or len(before.args) < 2:
            return None
        return before.args if before.args[1] == key and before.args[0].upper() in names else None

    def truncated(self, keys: Iterable[bytes], name: bytes) -> None:
        self.reread(keys, TRUNCATED.format(name.decode("ascii", "replace")))

    # Time

    @property
    def expiry_db(self) -> int:
        """What is remembered of expiries goes by the target's databases."""
        return 0 if self.caps.cluster else self.db

    def expire_at(self, key: bytes, expire_ms: int) -> int:
        return self.expiry.effective(self.expiry_db, key, expire_ms, self.now_ms, self.grace_ms)

    def renew_at(self, key: bytes, expire_ms: int) -> int:
        """As `expire_at`, of a key that the target has to have."""
        ends = self.expiry.effective(self.expiry_db, key, expire_ms, self.now_ms, self.grace_ms)
        before = self.expiry.ended_at()
        if before is not None and before - self.now_ms < LATE_MS:
            self.ends_ms = before
        return ends

    def needs(self, *keys: bytes) -> None:
        """The record's commands do what it did only where the target still has these keys, or never had them."""
        if self.expiry.count:
            ends_at, db = self.expiry.ends_at, self.expiry_db
            for key in keys:
                ends = ends_at(db, key)
                if ends is not None and ends - self.now_ms < LATE_MS and (not self.ends_ms or ends < self.ends_ms):
                    self.ends_ms = ends

    def forget_expiry(self, key: bytes) -> None:
        if self.expiry.count:
            self.expiry.cancel(self.expiry_db, key)


def true_expiry_command(caps: Capabilities, key: bytes, expire_ms: int) -> bytes:
    """Writes what `DeferredExpiry.due` gave: only where the key still has a TTL, since a container that was emptied
    and filled again in between has none."""
    if caps.conditional_expire:
        return encode((b"PEXPIREAT", key, b"%d" % expire_ms, b"XX"))
    return encode((b"EVAL", scripts.PEXPIREAT_XX, b"1", key, b"%d" % expire_ms))
