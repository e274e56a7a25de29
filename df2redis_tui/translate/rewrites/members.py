"""Hash fields and set members, above all those with a TTL of their own (protocol page §4.5, §4.7)."""

from __future__ import annotations

from df2redis_tui.translate import scripts
from df2redis_tui.translate.keys import number
from df2redis_tui.translate.rewriter import Args, Rewriter
from df2redis_tui.translate.rewrites.strings import absolute_ms
from df2redis_tui.translate.values import NO_FIELD_TTL, NO_MEMBER_TTL

_CONDITIONS = frozenset({b"NX", b"XX", b"GT", b"LT"})
_SETEX_CONDITIONS = frozenset({b"NX", b"FNX", b"FXX"})
_TIME_OPTIONS = frozenset({b"EX", b"PX", b"EXAT", b"PXAT"})


def hincrbyfloat(to: Rewriter, args: Args) -> None:
    """Adds as the source does, and keeps the field's TTL."""
    if to.caps.hsetex:
        text = scripts.HINCRBYFLOAT_HSETEX
    elif to.caps.field_ttl:
        text = scripts.HINCRBYFLOAT_HPEXPIREAT
    else:
        text = scripts.HINCRBYFLOAT
    to.script(text, args[1:2], *args[2:])


def hexpire(to: Rewriter, args: Args) -> None:
    """HEXPIRE and its kin: `k time [NX|XX|GT|LT] FIELDS n f ...`."""
    name, key = args[0].upper(), args[1]
    value = number(args[2]) if len(args) > 2 else None
    at = 4 if len(args) > 3 and args[3].upper() in _CONDITIONS else 3
    fields = _fields(args, at)
    if value is None or not fields:
        to.truncated((key,), name)
        return
    relative = not name.endswith(b"AT")
    expire_ms = value * (1 if name.startswith(b"HP") else 1000) + (_whole_seconds(to.now_ms) if relative else 0)
    condition = args[3:at]
    if relative and value <= 0 and not condition:
        to.emit(key, (b"HDEL", key, *fields), False)
    elif _field_ttl(to, key, name):
        expire_ms = 1 if relative and value <= 0 else expire_ms
        numbered = (b"FIELDS", b"%d" % len(fields), *fields)
        to.emit(key, (b"HPEXPIREAT", key, b"%d" % expire_ms, *condition, *numbered), bool(condition))


def hpersist(to: Rewriter, args: Args) -> None:
    """HPERSIST; without field TTLs there is nothing to persist."""
    if to.caps.field_ttl:
        to.emit(args[1], args, False)


def fieldexpire(to: Rewriter, args: Args) -> None:
    """`k ttl_sec f ...`; everything behind the ttl is a name. Only the target knows whether k is a hash or a set."""
    key = args[1]
    ttl = number(args[2]) if len(args) > 3 else None
    if ttl is None:
        to.truncated((key,), b"FIELDEXPIRE")
        return
    if ttl > 0 and not to.caps.field_ttl:
        _field_ttl(to, key, b"FIELDEXPIRE")
        return
    expire_ms = b"%d" % (_whole_seconds(to.now_ms) + ttl * 1000) if to.caps.field_ttl else b""
    if to.caps.field_ttl:
        to.expiry.fields_expire(to.expiry_db, key)
    names = args[3:]
    for at in range(0, len(names), 1000):  # Lua's unpack is bounded
        to.script(
            scripts.FIELDEXPIRE, (key,), expire_ms, b"%d" % (ttl <= 0), to.member_ttl.encode(), *names[at : at + 1000],
            once=False,
        )  # fmt: skip


def hsetex(to: Rewriter, args: Args) -> None:
    """Dragonfly's form `k [NX|FNX|FXX] [KEEPTTL] ttl_sec f v ...` and Redis' form with FIELDS."""
    key = args[1]
    condition, keep, expire_ms, at = b"", False, 0, 2
    while at < len(args):
        option = args[at].upper()
        if option in _SETEX_CONDITIONS:
            condition = option
        elif option == b"KEEPTTL":
            keep = True
        elif option in _TIME_OPTIONS and at + 1 < len(args):
            expire_ms = absolute_ms(option, args[at + 1], to.now_ms) or 0
            at += 1
        else:
            break
        at += 1
    pairs: Args
    if at < len(args) and args[at].upper() == b"FIELDS":
        pairs = args[at + 2 :]
        redis_form = True
    else:
        ttl = number(args[at]) if at < len(args) else None
        expire_ms = _whole_seconds(to.now_ms) + ttl * 1000 if ttl else 0
        pairs = args[at + 1 :]
        redis_form = False
    if not pairs or len(pairs) % 2:
        to.truncated((key,), b"HSETEX")
        return
    if expire_ms and to.caps.field_ttl:
        to.expiry.fields_expire(to.expiry_db, key)
    if (expire_ms or keep) and not to.caps.field_ttl:
        if expire_ms and not _field_ttl(to, key, b"HSETEX"):
            if to.member_ttl == "fail":
                return
            expire_ms = 0
        keep = False
    _hsetex(to, key, condition, keep, redis_form, expire_ms, pairs)


def _hsetex(
    to: Rewriter, key: bytes, condition: bytes, keep: bool, redis_form: bool, expire_ms: int, pairs: Args
) -> None:
    if not (condition or keep or expire_ms):
        to.emit(key, (b"HSET", key, *pairs), False)
        return
    if to.caps.hsetex and condition != b"NX" and not (keep and not redis_form):
        options = [condition] if condition else []
        if keep:
            options.append(b"KEEPTTL")
        elif expire_ms:
            options += (b"PXAT", b"%d" % expire_ms)
        to.emit(key, (b"HSETEX", key, *options, b"FIELDS", b"%d" % (len(pairs) // 2), *pairs), bool(condition) or keep)
    elif to.caps.field_ttl and not condition and not keep:
        fields = pairs[::2]
        to.emit(key, (b"HSET", key, *pairs), False)
        to.emit(key, (b"HPEXPIREAT", key, b"%d" % expire_ms, b"FIELDS", b"%d" % len(fields), *fields), False)
    elif to.caps.field_ttl:
        time = b"%d" % expire_ms if expire_ms else b""
        to.script(scripts.HSETEX, (key,), condition, b"%d" % keep, time, *pairs)
    else:
        to.script(scripts.HSETEX_WITHOUT_TTL, (key,), condition, *pairs)


def hgetex(to: Rewriter, args: Args) -> None:
    """`k [EX s|PX ms|EXAT t|PXAT t|PERSIST] FIELDS n f ...`: a read without an option."""
    key = args[1]
    option = args[2].upper() if len(args) > 2 else b""
    if option == b"PERSIST":
        fields = _fields(args, 3)
        if fields and to.caps.field_ttl:
            to.emit(key, (b"HPERSIST", key, b"FIELDS", b"%d" % len(fields), *fields), False)
    elif option in _TIME_OPTIONS:
        fields = _fields(args, 4)
        expire_ms = absolute_ms(option, args[3], to.now_ms) if fields else None
        if expire_ms is None:
            to.truncated((key,), b"HGETEX")
        elif _field_ttl(to, key, b"HGETEX"):
            to.emit(key, (b"HPEXPIREAT", key, b"%d" % expire_ms, b"FIELDS", b"%d" % len(fields), *fields), False)


def hgetdel(to: Rewriter, args: Args) -> None:
    """`k FIELDS n f ...` as HDEL."""
    fields = _fields(args, 2)
    if fields:
        to.emit(args[1], (b"HDEL", args[1], *fields), False)
    else:
        to.truncated(args[1:2], b"HGETDEL")


def saddex(to: Rewriter, args: Args) -> None:
    """`k [KEEPTTL] ttl_sec m ...`."""
    key = args[1]
    at = 3 if len(args) > 2 and args[2].upper() == b"KEEPTTL" else 2
    members = args[at + 1 :]
    if not members:
        to.truncated((key,), b"SADDEX")
    elif to.member_ttl == "fail":
        to.refuse(key, "SADDEX", NO_MEMBER_TTL)
    else:
        to.emit(key, (b"SADD", key, *members), False)


def spop(to: Rewriter, args: Args) -> None:
    """Random. Masters up to 1.27 log it behind the SREM or DEL that already says what went (recorded)."""
    if to.follows((b"SREM", b"DEL"), args[1]) is None:
        to.reread(args[1:2], "SPOP takes members at random")


def _field_ttl(to: Rewriter, key: bytes, name: bytes) -> bool:
    """Whether fields can expire on the target; if not, the policy has been followed here."""
    if to.caps.field_ttl:
        to.expiry.fields_expire(to.expiry_db, key)
        return True
    if to.member_ttl == "fail":
        to.refuse(key, name.decode("ascii", "replace"), NO_FIELD_TTL)
    return False


def _whole_seconds(now_ms: int) -> int:
    """The source counts the time of fields in whole seconds."""
    return now_ms // 1000 * 1000


def _fields(args: Args, at: int) -> Args:
    """The names of `FIELDS n f ...` at `at`, () when it is not that."""
    if len(args) < at + 3 or args[at].upper() != b"FIELDS" or number(args[at + 1]) != len(args) - at - 2:
        return ()
    return args[at + 2 :]


TABLE = {
    b"HINCRBYFLOAT": hincrbyfloat, b"HEXPIRE": hexpire, b"HPEXPIRE": hexpire, b"HEXPIREAT": hexpire,
    b"HPEXPIREAT": hexpire, b"HPERSIST": hpersist, b"FIELDEXPIRE": fieldexpire, b"HSETEX": hsetex,
    b"HGETEX": hgetex, b"HGETDEL": hgetdel,
    b"SADDEX": saddex, b"SPOP": spop,
}  # fmt: skip
