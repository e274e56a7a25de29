"""Commands of the backend's replication stream as Dragonfly journals them (protocol page §4.4, §4.5).

Pure: a `Rewrite` says which keys the command may change, what to ask the mirror before and behind it, and how the
answers become records. A record is (db, key, args); the key decides the shard, None means every shard.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import hiredis

from df2redis_tui.demo.release import Release
from df2redis_tui.demo.valkey_dump import from_dump, to_restore

Args = Sequence[bytes]
Record = tuple[int, bytes | None, Args]
Reply = object


class Rewrite(NamedTuple):
    """`later(before, reply, after)` gives the records when they depend on replies; else `records` holds them."""

    keys: tuple[tuple[int, bytes], ...]
    records: list[Record]
    before: tuple[Args, ...] = ()
    after: tuple[tuple[int, Args], ...] = ()
    later: Callable[[list[Reply], Reply, list[Reply]], list[Record]] | None = None


_NOTHING: Final = Rewrite((), [])
_IGNORED: Final = frozenset(
    (b"PING", b"REPLCONF", b"PUBLISH", b"SPUBLISH", b"SCRIPT", b"FUNCTION", b"MULTI", b"EXEC", b"SELECT", b"CLUSTER")
)
_MEMBERS: Final = {b"SINTERSTORE", b"SUNIONSTORE", b"SDIFFSTORE"}
_SCORED: Final = {b"ZUNIONSTORE", b"ZINTERSTORE", b"ZDIFFSTORE", b"ZRANGESTORE", b"GEOSEARCHSTORE"}
_VALUE_STORES: Final = {b"PFMERGE", b"BITOP"}


def _missing(reply: Reply) -> bool:
    return reply is None or isinstance(reply, hiredis.ReplyError)


def _listing(reply: Reply) -> list[bytes]:
    """An array or set reply (RESP2 arrays) as a list; anything else is empty."""
    return list(reply) if isinstance(reply, (list, tuple, set)) else []


def _bytes(reply: Reply) -> bytes:
    return reply if isinstance(reply, bytes) else b""


def _number(reply: Reply) -> int:
    return reply if isinstance(reply, int) else 0


class Rewriter:
    """For one source: its release decides forms, `shard_of` which keys are together."""

    def __init__(
        self, release: Release, shard_of: Callable[[bytes], int], now_ms: Callable[[], int] | None = None
    ) -> None:
        self._release = release
        self._shard_of = shard_of
        self._now_ms = now_ms or (lambda: int(time.time() * 1000))
        self._special: dict[bytes, Callable[[int, bytes, list[bytes]], Rewrite]] = {
            b"SET": self._set, b"MSET": self._mset, b"MSETNX": self._mset, b"DEL": self._delete,
            b"UNLINK": self._delete, b"RENAME": self._rename, b"RENAMENX": self._rename, b"COPY": self._copy,
            b"RESTORE": self._restore, b"MOVE": self._move, b"SORT": self._sort, b"GEORADIUS": self._geo_store,
            b"GEORADIUSBYMEMBER": self._geo_store, b"LMOVE": self._list_move,
            b"RPOPLPUSH": self._list_move, b"SMOVE": self._set_move,
            b"PFCOUNT": self._count, b"XADD": self._xadd, b"XTRIM": self._xtrim, b"XGROUP": self._xgroup,
            b"HPEXPIREAT": self._field_expiry, b"HPERSIST": self._field_persist,
            b"HSETEX": self._field_set, b"FLUSHALL": self._flush,
            b"FLUSHDB": self._flush,
        }  # fmt: skip

    def rewrite(self, db: int, args: list[bytes]) -> Rewrite:
        """One command of the stream. Names compare case-insensitively, scripts pass them as they were written."""
        name = args[0].upper()
        if name in _IGNORED:
            return _NOTHING
        special = self._special.get(name)
        if special is not None:
            return special(db, name, args)
        if name in _MEMBERS or name in _SCORED or name in _VALUE_STORES:
            return self._store(db, name, args)
        if len(args) < 2:
            return _NOTHING
        return self._verbatim(db, name, args)

    def _verbatim(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        return Rewrite(((db, args[1]),), [(db, args[1], [name, *args[1:]])])

    def _set(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        kept = [name, args[1], args[2]]
        at = 3
        while at < len(args):
            option = args[at].upper()
            if option == b"PXAT":
                kept += [option, args[at + 1]]
            elif option == b"KEEPTTL":
                kept.append(option)
            at += 2 if option in (b"PXAT", b"IFEQ") else 1
        return Rewrite(((db, args[1]),), [(db, args[1], kept)])

    def _by_shard(self, keys: Sequence[bytes]) -> dict[int, list[bytes]]:
        groups: dict[int, list[bytes]] = {}
        for key in keys:
            groups.setdefault(self._shard_of(key), []).append(key)
        return groups

    def _mset(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        # Later pairs of a repeated key win, as they do in the server; order inside a shard stays.
        values: dict[bytes, list[bytes]] = {}
        for key, value in zip(args[1::2], args[2::2], strict=True):
            values.setdefault(key, []).append(value)
        records: list[Record] = [
            (db, keys[0], [b"MSET", *(text for key in keys for value in values[key] for text in (key, value))])
            for keys in self._by_shard(list(values)).values()
        ]
        return Rewrite(tuple((db, key) for key in values), records)

    def _delete(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        keys = list(dict.fromkeys(args[1:]))
        touched = tuple((db, key) for key in keys)
        if len(keys) == 1:
            # Valkey's own deletes are UNLINK; Dragonfly says DEL for both from 1.40 on, and for its own always.
            return Rewrite(touched, [(db, keys[0], [b"DEL", keys[0]])])
        if not self._release.since(40):
            return Rewrite(touched, [(db, group[0], [name, *group]) for group in self._by_shard(keys).values()])

        def existing(before: list[Reply], reply: Reply, after: list[Reply]) -> list[Record]:
            found = [key for key, held in zip(keys, before, strict=True) if held]
            return [(db, group[0], [b"DEL", *group]) for group in self._by_shard(found).values()]

        return Rewrite(touched, [], tuple((b"EXISTS", key) for key in keys), (), existing)

    def _restored(self, db: int, key: bytes, payload: Reply, expire_ms: Reply) -> Record:
        """`RESTORE key ms payload REPLACE ABSTTL` from a DUMP and a PEXPIRETIME reply, or DEL when the key is gone."""
        if _missing(payload):
            return (db, key, [b"DEL", key])
        type_code, raw = from_dump(_bytes(payload), listpacks=self._release.since(31))
        ttl = b"%d" % max(0, _number(expire_ms))
        return (db, key, [b"RESTORE", key, ttl, to_restore(type_code, raw), b"REPLACE", b"ABSTTL"])

    def _rename(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        source, target = args[1], args[2]
        touched = ((db, source), (db, target))
        if self._shard_of(source) == self._shard_of(target):
            return Rewrite(touched, [(db, source, [name, source, target])])

        def moved(before: list[Reply], reply: Reply, after: list[Reply]) -> list[Record]:
            return [(db, source, [b"DEL", source]), self._restored(db, target, after[0], after[1])]

        return Rewrite(touched, [], (), ((db, (b"DUMP", target)), (db, (b"PEXPIRETIME", target))), moved)

    def _becomes(self, db: int, key: bytes, touched: tuple[tuple[int, bytes], ...]) -> Rewrite:
        """The command's whole effect is the new value of `key`: RESTORE it."""

        def restored(before: list[Reply], reply: Reply, after: list[Reply]) -> list[Record]:
            return [self._restored(db, key, after[0], after[1])]

        return Rewrite(touched, [], (), ((db, (b"DUMP", key)), (db, (b"PEXPIRETIME", key))), restored)

    def _copy(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        options = [option.upper() for option in args[3:]]
        target_db = int(args[3 + options.index(b"DB") + 1]) if b"DB" in options else db
        return self._becomes(target_db, args[2], ((db, args[1]), (target_db, args[2])))

    def _restore(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        return self._becomes(db, args[1], ((db, args[1]),))

    def _move(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        return Rewrite(((db, args[1]), (int(args[2]), args[1])), [(db, args[1], [name, args[1], args[2]])])

    def _truncated(self, db: int, name: bytes, args: list[bytes], target: bytes) -> Rewrite:
        """A STORE that Dragonfly journals by itself: whole in one shard, `NAME key` in each of two (the result is
        lost).
        """
        source = args[1]
        touched = ((db, source), (db, target))
        if self._shard_of(source) == self._shard_of(target):
            return Rewrite(touched, [(db, source, [name, *args[1:]])])
        return Rewrite(touched, [(db, source, [name, source]), (db, target, [name, target])])

    def _sort(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        options = [option.upper() for option in args]
        return self._truncated(db, name, args, args[options.index(b"STORE", 2) + 1])

    def _geo_store(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        options = [option.upper() for option in args]
        first = 6 if name == b"GEORADIUS" else 5
        word = b"STORE" if b"STORE" in options[first:] else b"STOREDIST"
        return self._truncated(db, name, args, args[options.index(word, first) + 1])

    def _list_move(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        source, target = args[1], args[2]
        ends = (b"RIGHT", b"LEFT") if name == b"RPOPLPUSH" else (args[3].upper(), args[4].upper())
        touched = ((db, source), (db, target))
        if not self._release.since(34) and self._shard_of(source) == self._shard_of(target):
            return Rewrite(touched, [(db, source, [name, *args[1:]])])
        pop = b"LPOP" if ends[0] == b"LEFT" else b"RPOP"
        push = b"LPUSH" if ends[1] == b"LEFT" else b"RPUSH"

        def popped(before: list[Reply], reply: Reply, after: list[Reply]) -> list[Record]:
            return [(db, source, [pop, source]), (db, target, [push, target, _bytes(reply)])]

        return Rewrite(touched, [], (), (), popped)

    def _set_move(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        source, target, member = args[1:4]
        records: list[Record] = [(db, source, [b"SREM", source, member]), (db, target, [b"SADD", target, member])]
        return Rewrite(((db, source), (db, target)), records)

    def _store(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        target = args[2] if name == b"BITOP" else args[1]
        touched = ((db, target),)
        if name in _SCORED and not self._release.since(35 if name == b"ZRANGESTORE" else 34):
            return self._store_by_itself(db, name, args)
        if name in _VALUE_STORES:
            queries: tuple[Args, ...] = ((b"GET", target), (b"PEXPIRETIME", target))
        elif name in _MEMBERS:
            queries = ((b"SMEMBERS", target),)
        else:
            queries = ((b"ZRANGE", target, b"0", b"-1", b"WITHSCORES"),)

        def stored(before: list[Reply], reply: Reply, after: list[Reply]) -> list[Record]:
            delete: Record = (db, target, [b"DEL", target])
            if name in _VALUE_STORES:
                if _missing(after[0]):
                    return [delete]
                expiry = [b"PXAT", b"%d" % _number(after[1])] if _number(after[1]) > 0 else []
                return [(db, target, [b"SET", target, _bytes(after[0]), *expiry])]
            items = _listing(after[0])
            if not items:
                return [delete]
            if name in _MEMBERS:
                return [delete, (db, target, [b"SADD", target, *items])]
            # Dragonfly prints these scores with 6 significant digits; geohashes keep theirs so that they stay usable.
            digits = ".17g" if name == b"GEOSEARCHSTORE" else ".6g"
            scored = [
                text
                for member, score in zip(items[::2], items[1::2], strict=True)
                for text in (format(float(score), digits).encode(), member)
            ]
            return [delete, (db, target, [b"ZADD", target, *scored])]

        return Rewrite(touched, [], (), tuple((db, query) for query in queries), stored)

    def _store_by_itself(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        """Z*STORE of older releases: whole when one shard holds all keys, else each shard's keys only (truncated)."""
        one_source = name in (b"ZRANGESTORE", b"GEOSEARCHSTORE")
        sources = [args[2]] if one_source else args[3 : 3 + int(args[2])]
        groups = self._by_shard([args[1], *sources])
        if len(groups) == 1:
            return self._verbatim(db, name, args)
        return Rewrite(((db, args[1]),), [(db, keys[0], [name, *keys]) for keys in groups.values()])

    def _count(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        # The count refreshes a cache inside the string; the copy would differ in these bytes if nothing were said.
        key = args[1]

        def cached(before: list[Reply], reply: Reply, after: list[Reply]) -> list[Record]:
            return [] if _missing(after[0]) else [(db, key, [b"SET", key, _bytes(after[0]), b"KEEPTTL"])]

        return Rewrite(((db, key),), [], (), ((db, (b"GET", key)),), cached)

    def _trimmed(self, db: int, name: bytes, args: list[bytes], option_at: int, rest: list[bytes]) -> Rewrite:
        """MAXLEN as Dragonfly replaces it: MINID of the first entry that stayed, or MAXLEN 0."""
        key = args[1]
        head = [name, key, *args[2:option_at]]

        def exact(before: list[Reply], reply: Reply, after: list[Reply]) -> list[Record]:
            entries = _listing(after[0])
            trim = self._minid(_bytes(_listing(entries[0])[0])) if entries else [b"MAXLEN", b"0"]
            return [(db, key, [*head, *trim, *rest])]

        first_entry = (b"XRANGE", key, b"-", b"+", b"COUNT", b"1")
        return Rewrite(((db, key),), [], (), ((db, first_entry),), exact)

    def _minid(self, first: bytes) -> list[bytes]:
        """Recorded: 1.40 says `MINID id` with the first entry that stays, 1.27 `MINID = id` with the last one
        removed.
        """
        if self._release.since(28):
            return [b"MINID", first]
        ms, _, seq = first.partition(b"-")
        below = (int(ms), int(seq) - 1) if int(seq) else (int(ms) - 1, (1 << 64) - 1)
        return [b"MINID", b"=", b"%d-%d" % below]

    def _xadd(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        at = 2
        while args[at].upper() in (b"NOMKSTREAM", b"KEEPREF", b"DELREF", b"ACKED"):
            at += 1
        if args[at].upper() != b"MAXLEN":
            return self._verbatim(db, name, args)
        return self._trimmed(db, name, args, at, args[self._after_threshold(args, at) :])

    def _xtrim(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        if args[2].upper() != b"MAXLEN":
            return self._verbatim(db, name, args)
        return self._trimmed(db, name, args, 2, [])

    @staticmethod
    def _after_threshold(args: list[bytes], option_at: int) -> int:
        at = option_at + (3 if args[option_at + 1] in (b"=", b"~") else 2)
        return at + 2 if at < len(args) and args[at].upper() == b"LIMIT" else at

    def _xgroup(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        return Rewrite(((db, args[2]),), [(db, args[2], [name, *args[1:]])])

    def _seconds_left(self, at_ms: bytes) -> bytes:
        """An absolute expiry as the relative seconds that Dragonfly's field commands carry; at least 1."""
        return b"%d" % max(1, round((int(at_ms) - self._now_ms()) / 1000))

    def _field_expiry(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        key = args[1]
        return Rewrite(((db, key),), [(db, key, [b"HEXPIRE", key, self._seconds_left(args[2]), *args[3:]])])

    def _field_persist(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        return Rewrite(((db, args[1]),), [(db, args[1], [b"HGETEX", args[1], b"PERSIST", *args[2:]])])

    def _field_set(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        key = args[1]
        options = [option.upper() for option in args]
        fields_at = options.index(b"FIELDS", 2)
        if b"PXAT" in options[2:fields_at]:
            seconds = self._seconds_left(args[options.index(b"PXAT", 2) + 1])
            return Rewrite(((db, key),), [(db, key, [name, key, seconds, *args[fields_at + 2 :]])])
        if b"KEEPTTL" not in options[2:fields_at]:
            return Rewrite(((db, key),), [(db, key, [b"HSET", key, *args[fields_at + 2 :]])])
        return self._verbatim(db, name, args)

    def _flush(self, db: int, name: bytes, args: list[bytes]) -> Rewrite:
        return Rewrite((), [(db, None, [name])])
