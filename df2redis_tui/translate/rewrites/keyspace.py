"""Removal, expiry, renaming, copies of whole keys."""

from __future__ import annotations

from typing import Final

from df2redis_tui.dragonfly import records
from df2redis_tui.errors import DecodeError
from df2redis_tui.translate.keys import keys_of, number, slot_of
from df2redis_tui.translate.old_keys import WHY
from df2redis_tui.translate.payload import FOOTER_LENGTH, check_payload
from df2redis_tui.translate.rewriter import SEVERAL_SLOTS, Args, Rewriter
from df2redis_tui.translate.rewrites.strings import absolute_ms
from df2redis_tui.translate.values import JSON_TYPES, SKETCHES, Unrepresentable

# From this footer version on a payload is Redis' own, where 20 is a set in a listpack, not Dragonfly's JSON (§3.4).
REDIS_OWN_VERSION = 10
PAST_MS, SKEW_MS = 5_000, 300  # around now: a real expiry in the past is journalled as a DEL
REENCODED = (
    frozenset({
        records.STRING, records.HASH_LISTPACK, records.ZSET_LISTPACK, records.LIST_QUICKLIST2, records.STREAM3,
        records.HASH_TTL, records.SET_TTL,
    })
    | JSON_TYPES
    | SKETCHES
)  # fmt: skip

LONGEST_MS: Final = (
    (1 << 28) - 1
) * 1000  # no key of a Dragonfly lives longer (kMaxExpireDeadlineSec, expire_period.h)


def delete(to: Rewriter, args: Args) -> None:
    """DEL, UNLINK."""
    by_slot: dict[int, list[bytes]] = {}
    for key in args[1:]:
        if to.blocked(key):
            continue
        to.recreated(key)
        to.forget_expiry(key)
        by_slot.setdefault(slot_of(key) if to.route else 0, []).append(key)
    for keys in by_slot.values():
        to.emit(keys[0], (args[0], *keys), False)


def expire(to: Rewriter, args: Args) -> None:
    """EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT, made absolute ms."""
    name, key = args[0].upper(), args[1]
    value = number(args[2]) if len(args) > 2 else None
    if value is None:
        to.truncated((key,), name)
        return
    if value <= 0:
        to.reread((key,), "a time of no expiry (GAT), or one that has passed")
        return
    expire_ms = value * (1 if name.startswith(b"P") else 1000) + (0 if name.endswith(b"AT") else to.now_ms)
    if len(args) == 3 and to.quirks.getex_expires and -to.grace_ms - PAST_MS < expire_ms - to.now_ms < SKEW_MS:
        to.reread((key,), "a GETEX may have been journalled as an expiry")
    elif len(args) == 3:
        to.emit(key, (b"PEXPIREAT", key, b"%d" % to.renew_at(key, expire_ms)), False)
    elif to.caps.conditional_expire and not to.expiry.is_held(to.expiry_db, key):
        to.forget_expiry(key)
        to.emit(key, (b"PEXPIREAT", key, b"%d" % expire_ms, *args[3:]), True)
    else:
        to.reread((key,), f"{name.decode()} has a condition that can't be checked here")


def persist(to: Rewriter, args: Args) -> None:
    """PERSIST."""
    to.needs(args[1])
    to.forget_expiry(args[1])
    to.emit(args[1], args, False)


def rename(to: Rewriter, args: Args) -> None:
    """RENAME, RENAMENX; over two slots, or of a key that was not copied, they can't run as they are."""
    name = args[0].upper()
    if len(args) != 3:
        to.truncated(args[1:], name)
        return
    source, new = args[1], args[2]
    if to.blocked(source) or to.blocked(new):
        to.reread((source, new), f"{name.decode()} touches a key that waits for its value")
    elif to.is_refused(source):
        to.recreated(source)
        to.refuse(new, name.decode(), "takes the value of a key that could not be copied")
    elif to.route and slot_of(source) != slot_of(new):
        to.recreated(source)
        to.recreated(new)
        to.reread((source, new), SEVERAL_SLOTS.format(name.decode()))
    elif to.lsn < to.replayed_until and any(
        to.expiry.true_time(to.expiry_db, key) is not None for key in (source, new)
    ):
        # What is remembered may be what this same record has left behind.
        to.reread((source, new), f"{name.decode()} comes again, of a key that ends soon")
    else:
        to.needs(source)
        to.recreated(new)
        to.expiry.rename(to.expiry_db, source, new)
        to.emit(source, args, True)


def copy(to: Rewriter, args: Args) -> None:
    """COPY."""
    if len(args) < 3:
        to.truncated(args[1:], b"COPY")
        return
    source, new = args[1], args[2]
    if any(arg.upper() == b"DB" for arg in args[3:]) or to.expiry.is_held(to.expiry_db, source):
        to.reread((new,), "COPY takes along what only the source knows")
    elif to.together((source, new), b"COPY"):
        to.recreated(new)
        to.forget_expiry(new)
        to.emit(source, args, True)


def move(to: Rewriter, args: Args) -> None:
    """Journalled also when it did nothing, because the other database had the key (§4.5)."""
    key = args[1]
    new_db = number(args[2]) if len(args) > 2 else None
    if new_db is None:
        to.truncated((key,), b"MOVE")
    elif not to.caps.cluster:
        if to.blocked(key) or (new_db, key) in to.open_keys:
            to.reread((key,), "MOVE touches a key that waits for its value")
            return
        if to.old is not None and to.old.holds(new_db, key):
            to.old.replaced(new_db, key)
            reread_in_both(to, (key,), new_db, WHY)
        elif to.base_db:
            reread_in_both(to, (key,), new_db, "MOVE, and the databases have other numbers on the target")
        elif to.expiry.is_held(to.db, key) or to.expiry.is_held(new_db, key):
            reread_in_both(to, (key,), new_db, "MOVE may have taken a TTL along, or have done nothing")
        else:
            to.expiry.cancel(to.db, key)
            to.expiry.cancel(new_db, key)
            to.emit(key, args, True)
    elif to.db_policy != "merge-into-0":
        here, there = (to.db, new_db)
        if 0 in (here, there):
            to.db = to.target_db = 0
            to.reread((key,), "MOVE between databases on a cluster")
            to.db = here


def reread_in_both(to: Rewriter, keys: Args, new_db: int, why: str) -> None:
    """Read keys again in the record's database and in another one."""
    here = to.db
    for to.db in dict.fromkeys((here, new_db)):
        to.reread(keys, why)
    to.db = here


def restore(to: Rewriter, args: Args) -> None:
    """RESTORE: TTL made absolute and cut as the source cuts it, STICK dropped, a payload the target lacks rebuilt."""
    if len(args) < 4 or len(args[3]) <= FOOTER_LENGTH or (ttl := number(args[2])) is None:
        to.truncated(args[1:2], b"RESTORE")
        return
    key, body = args[1], args[3]
    options = [arg.upper() for arg in args[4:]]
    expire_ms = 0
    if ttl:
        true_ms = absolute_ms(b"PXAT" if b"ABSTTL" in options else b"PX", args[2], to.now_ms) or ttl
        expire_ms = to.expire_at(key, min(true_ms, to.now_ms + LONGEST_MS))
    else:
        to.forget_expiry(key)
    to.recreated(key)
    try:
        check_payload(body)
        rdb_type, version = body[0], int.from_bytes(body[-FOOTER_LENGTH : 2 - FOOTER_LENGTH], "little")
        if rdb_type not in REENCODED or version >= REDIS_OWN_VERSION:
            to.emit(key, (b"RESTORE", key, b"%d" % expire_ms, body, b"REPLACE", b"ABSTTL"), False)
            return
        commands = to.writer.commands(key, rdb_type, body[1:-FOOTER_LENGTH], expire_ms)
    except Unrepresentable as why:
        to.refuse(key, why.kind, why.reason, body[: 64 * 1024])
    except DecodeError as why:
        to.reread((key,), f"the payload of a RESTORE can't be read: {why.reason}")
    else:
        for encoded in commands:
            to.put(encoded, key, False)


def sort(to: Rewriter, args: Args) -> None:
    """Without STORE a read; with two arguments it may be either, cut to one shard's key (§4.4)."""
    name = args[0].upper()
    keys = keys_of(args)
    if len(args) == 2:
        to.truncated(keys, name)
    elif len(keys) > 1 and to.together(keys, name):
        to.recreated(keys[1])
        to.forget_expiry(keys[1])
        to.emit(keys[0], args, True)


TABLE = {
    b"EXPIRE": expire, b"PEXPIRE": expire, b"EXPIREAT": expire, b"PEXPIREAT": expire, b"PERSIST": persist,
    b"RESTORE": restore,
}  # fmt: skip
TABLE_OF_MANY = {
    b"DEL": delete, b"UNLINK": delete, b"RENAME": rename, b"RENAMENX": rename, b"COPY": copy, b"MOVE": move,
    b"SORT": sort, b"GEORADIUS": sort, b"GEORADIUSBYMEMBER": sort,
}  # fmt: skip
