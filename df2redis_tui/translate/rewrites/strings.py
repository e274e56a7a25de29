"""Strings (protocol page §4.5, §4.7)."""

from __future__ import annotations

from df2redis_tui.translate import scripts
from df2redis_tui.translate.keys import number, slot_of
from df2redis_tui.translate.resp import set_command
from df2redis_tui.translate.rewriter import Args, Rewriter

DENSE_HLL = b"HYLL"

_UNIT_MS = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}


def absolute_ms(unit: bytes, text: bytes, now_ms: int) -> int | None:
    """Unix ms of `EX 10`, `PX 10`, `EXAT t`, `PXAT t`; None when it is no such option."""
    factor, value = _UNIT_MS.get(unit), number(text)
    if factor is None or value is None:
        return None
    return value * factor + (now_ms if unit in (b"EX", b"PX") else 0)


def set_(to: Rewriter, args: Args) -> None:
    """SET with any option, to SET, SET PXAT or SET KEEPTTL."""
    if len(args) < 3:
        to.truncated(args[1:], b"SET")
        return
    key, value = args[1], args[2]
    if value.startswith(DENSE_HLL) and to.ownership.foreign(key, to.flow):
        return  # the doubled record of a PFMERGE in the flow of a source key
    to.recreated(key)
    if len(args) == 5 and args[3] == b"PXAT" and args[4].isdigit():
        _put(to, key, value, int(args[4][:19]))
        return
    expire_ms, keep = 0, False
    for i in range(3, len(args)):
        option = args[i].upper()
        if option == b"KEEPTTL":
            keep = True
        elif i + 1 < len(args):
            expire_ms = absolute_ms(option, args[i + 1], to.now_ms) or expire_ms
    if keep:
        to.emit(key, (b"SET", key, value, b"KEEPTTL"), True)
        return
    _put(to, key, value, expire_ms)


def _put(to: Rewriter, key: bytes, value: bytes, expire_ms: int) -> None:
    if expire_ms:
        to.put(set_command(key, value, to.expire_at(key, expire_ms)), key, False)
    else:
        to.forget_expiry(key)
        to.emit(key, (b"SET", key, value), False)


def setex(to: Rewriter, args: Args) -> None:
    """SETEX, PSETEX."""
    if len(args) != 4:
        to.truncated(args[1:2], args[0])
        return
    unit = b"EX" if args[0].upper() == b"SETEX" else b"PX"
    to.recreated(args[1])
    _put(to, args[1], args[3], absolute_ms(unit, args[2], to.now_ms) or 0)


def mset(to: Rewriter, args: Args) -> None:
    """MSET, MSETNX (journalled when it acted), split by slot."""
    by_slot: dict[int, list[bytes]] = {}
    for i in range(1, len(args) - 1, 2):
        key = args[i]
        if to.blocked(key):
            continue
        to.recreated(key)
        to.forget_expiry(key)
        by_slot.setdefault(slot_of(key) if to.route else 0, []).extend((key, args[i + 1]))
    for pairs in by_slot.values():
        to.emit(pairs[0], (b"MSET", *pairs), False)


def replaced_without_ttl(to: Rewriter, args: Args) -> None:
    """GETSET, GETDEL."""
    to.recreated(args[1])
    to.forget_expiry(args[1])
    to.emit(args[1], args, True)


def getex(to: Rewriter, args: Args) -> None:
    """GETEX, GAT: only their effect on the TTL."""
    key = args[1]
    option = args[2].upper() if len(args) > 2 else b""
    to.needs(key)
    if option == b"PERSIST":
        to.forget_expiry(key)
        to.emit(key, (b"PERSIST", key), False)
    elif len(args) > 3:
        expire_ms = absolute_ms(option, args[3], to.now_ms)
        if expire_ms is not None:
            to.emit(key, (b"PEXPIREAT", key, b"%d" % to.expire_at(key, expire_ms)), False)


def incrbyfloat(to: Rewriter, args: Args) -> None:
    """Adds as the source does."""
    to.script(scripts.INCRBYFLOAT, args[1:2], *args[2:])


def bitfield(to: Rewriter, args: Args) -> None:
    """BITFIELD."""
    if any(arg.upper() == b"SAT" for arg in args[2:]):
        to.reread(args[1:2], "BITFIELD with OVERFLOW SAT counts otherwise on the source")
    else:
        to.emit(args[1], args, True)


def prepend(to: Rewriter, args: Args) -> None:
    """PREPEND."""
    to.script(scripts.PREPEND, args[1:2], *args[2:])


def delex(to: Rewriter, args: Args) -> None:
    """DELEX."""
    key = args[1]
    if len(args) == 2:
        to.recreated(key)
        to.forget_expiry(key)
        to.emit(key, (b"DEL", key), False)
        return
    condition = args[2].upper()
    if len(args) == 4 and condition in (b"IFEQ", b"IFNE"):
        to.script(scripts.DELEX, (key,), condition, args[3])
    else:
        to.reread((key,), "DELEX compares a digest that only the source can compute")


def throttle(to: Rewriter, args: Args) -> None:
    """CL.THROTTLE."""
    to.reread(args[1:2], "CL.THROTTLE depends on the source's clock")


def pfadd(to: Rewriter, args: Args) -> None:
    """Up to 1.16 a new HyperLogLog begins dense."""
    if to.quirks.dense_hll:
        to.script(scripts.PFADD_DENSE, (args[1],), *args[2:], once=False)
    else:
        to.emit(args[1], args, False)


TABLE = {
    b"SET": set_, b"SETEX": setex, b"PSETEX": setex, b"GETSET": replaced_without_ttl, b"GETDEL": replaced_without_ttl,
    b"GETEX": getex, b"GAT": getex, b"BITFIELD": bitfield, b"INCRBYFLOAT": incrbyfloat, b"PREPEND": prepend,
    b"DELEX": delex, b"PFADD": pfadd, b"CL.THROTTLE": throttle,
}  # fmt: skip
TABLE_OF_MANY = {b"MSET": mset, b"MSETNX": mset}
