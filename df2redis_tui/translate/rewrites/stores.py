"""Commands over several keys: the *STORE family, moves between lists and sets (protocol page §4.4, §4.5); ZADD."""

from __future__ import annotations

from df2redis_tui.translate import scripts
from df2redis_tui.translate.keys import keys_of, number
from df2redis_tui.translate.rewriter import Args, Rewriter

ROUNDED_SCORES = "its scores were journalled with 6 digits"
_ZADD_CONDITIONAL = frozenset({b"NX", b"XX", b"GT", b"LT", b"INCR"})
_BIT_OPERATIONS = frozenset({b"AND", b"OR", b"XOR", b"NOT", b"DIFF", b"DIFF1", b"ANDOR", b"ONE"})


def zadd(to: Rewriter, args: Args) -> None:
    """ZADD; directly behind the DEL of its key it is a rewritten *STORE (§4.8)."""
    key = args[1]
    once = len(args) > 4 and any(arg.upper() in _ZADD_CONDITIONAL for arg in args[2:6])
    to.emit(key, args, once)
    if (deleted := to.follows((b"DEL",), key)) is None or len(deleted) != 2:
        return
    if to.txid or any(map(_looks_rounded, args[2::2])):  # a script of one shard has no txid
        to.reread((key,), ROUNDED_SCORES)


def _looks_rounded(score: bytes) -> bool:
    return b"e" in score or sum(48 <= digit <= 57 for digit in score.strip(b"-0.")) >= 6


def geoadd(to: Rewriter, args: Args) -> None:
    """GEOADD."""
    conditional = any(arg.upper() in (b"NX", b"XX") for arg in args[2:4])
    to.emit(args[1], args, conditional)


def _whole(to: Rewriter, args: Args, complete: bool) -> None:
    """A command that writes its first key, or moves between its first two."""
    name, keys = args[0].upper(), keys_of(args)
    if not complete:
        to.truncated(keys, name)
    elif to.together(keys, name):
        to.emit(keys[0], args, True)


def _stored(to: Rewriter, args: Args, complete: bool) -> None:
    name, keys = args[0].upper(), keys_of(args)
    if not complete:
        to.truncated(keys, name)
    elif to.together(keys, name):
        to.forget_expiry(keys[0])
        to.emit(keys[0], args, True)


def set_store(to: Rewriter, args: Args) -> None:
    """SINTERSTORE ...: masters up to 1.27 log it behind the DEL or SADD that already says its result (recorded)."""
    if to.follows((b"DEL", b"SADD"), args[1]) is None:
        _stored(to, args, len(args) > 2)


def zset_store(to: Rewriter, args: Args) -> None:
    """`dst numkeys k ...`; a record cut to one shard's keys has no count."""
    count = number(args[2]) if len(args) > 3 else None
    _stored(to, args, count is not None and 0 < count <= len(args) - 3)


def zrangestore(to: Rewriter, args: Args) -> None:
    """`dst src min max ...`."""
    _stored(to, args, len(args) >= 5)


def geosearchstore(to: Rewriter, args: Args) -> None:
    """`dst src FROM... BY...`."""
    _stored(to, args, len(args) >= 8)


def bitop(to: Rewriter, args: Args) -> None:
    """`op dst src ...`; a record cut to one shard's keys has no operation."""
    if len(args) > 3 and args[1].upper() in _BIT_OPERATIONS:
        _stored(to, args, True)
    else:
        to.truncated(args[1:], b"BITOP")


def pfmerge(to: Rewriter, args: Args) -> None:
    """PFMERGE of masters up to 1.14: it may lack the keys of other shards without looking so."""
    _whole(to, args, len(args) > 1 and to.ownership.flows == 1)


def move_element(to: Rewriter, args: Args) -> None:
    """LMOVE, RPOPLPUSH, SMOVE and their blocking forms, which must not block here."""
    name = args[0].upper()
    if name == b"BLMOVE" and len(args) == 6:
        args = (b"LMOVE", *args[1:5])
    elif name == b"BRPOPLPUSH" and len(args) == 4:
        args = (b"RPOPLPUSH", *args[1:3])
    wanted = {b"LMOVE": 5, b"RPOPLPUSH": 3, b"SMOVE": 4}.get(args[0].upper())
    _whole(to, args, len(args) == wanted)


def multi_pop(to: Rewriter, args: Args) -> None:
    """LMPOP, ZMPOP of masters 1.27 to 1.33: `numkeys k ... where [COUNT n]`."""
    name = args[0].upper()
    ends = (b"LEFT", b"RIGHT") if name == b"LMPOP" else (b"MIN", b"MAX")
    count = number(args[1])
    if count is None or not 0 < count <= len(args) - 3 or args[2 + count].upper() not in ends:
        to.truncated(args[1:], name)
        return
    keys = args[2 : 2 + count]
    if not to.together(keys, name):
        return
    if to.caps.entries_read:
        to.emit(keys[0], args, True)
        return
    where = args[2 + count].upper()
    pop = {b"LEFT": b"LPOP", b"RIGHT": b"RPOP", b"MIN": b"ZPOPMIN", b"MAX": b"ZPOPMAX"}[where]
    wanted = args[4 + count] if len(args) > 4 + count else b"1"
    if count == 1:
        to.emit(keys[0], (pop, keys[0], wanted), True)
    else:
        to.script(scripts.POP_FIRST, keys, pop, wanted)


TABLE = {b"ZADD": zadd, b"GEOADD": geoadd}
TABLE_OF_MANY = {
    b"SINTERSTORE": set_store, b"SUNIONSTORE": set_store, b"SDIFFSTORE": set_store,
    b"ZUNIONSTORE": zset_store, b"ZINTERSTORE": zset_store, b"ZDIFFSTORE": zset_store,
    b"ZRANGESTORE": zrangestore, b"GEOSEARCHSTORE": geosearchstore, b"BITOP": bitop, b"PFMERGE": pfmerge,
    b"LMOVE": move_element, b"BLMOVE": move_element, b"RPOPLPUSH": move_element, b"BRPOPLPUSH": move_element,
    b"SMOVE": move_element, b"LMPOP": multi_pop, b"ZMPOP": multi_pop,
}  # fmt: skip
