"""Numbers as the target takes them, by command and position.

The source reads numbers leniently (absl's SimpleAtoi and SimpleAtod: blanks around them, a plus sign, leading zeros,
floats in hexadecimal or beyond a double's range) and journals what the client wrote; Redis refuses all of these. A
command whose numbers are already in Redis' form stays the same object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Final

from df2redis_tui.translate.keys import number

Args = Sequence[bytes]
Form = Callable[[bytes], bytes]
Rewrite = Callable[[Args], Args]

BLANKS: Final = b" \t\n\v\f\r"
# No pattern here may match the same text in two ways: a peer's text can be long.
# What Redis takes and what means the same there: no exponent that could leave a double's range.
_PLAIN_FLOAT: Final = re.compile(rb"-?(?:[0-9]{1,200}(?:\.[0-9]{0,200})?|\.[0-9]{1,200})(?:[eE][+-]?[0-9]{1,2})?")
_FLOAT: Final = re.compile(rb"([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|inf|infinity)", re.IGNORECASE)
# SimpleAtod of newer releases takes these, too; not every target does.
_HEX_FLOAT: Final = re.compile(rb"[+-]?0x(?:[0-9a-f]+(?:\.[0-9a-f]*)?|\.[0-9a-f]+)(?:p[+-]?[0-9]{1,9})?", re.IGNORECASE)
_JSON_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_EXACT_INTEGERS: Final = 1 << 53


def integer(text: bytes) -> bytes:
    """As Redis' string2ll takes it; what is no integer stays as it is."""
    if text.isdigit() and (text[0] != 48 or len(text) == 1):
        return text
    bare = text.strip(BLANKS)
    digits = bare[1:] if bare[:1] in (b"-", b"+") else bare
    if not digits.isdigit():
        return text
    digits = digits.lstrip(b"0") or b"0"
    return b"-" + digits if bare[:1] == b"-" and digits != b"0" else digits


def floating(text: bytes) -> bytes:
    """As Redis' strtod takes it; what is no float stays as it is."""
    if (text.isdigit() and len(text) < 20) or _PLAIN_FLOAT.fullmatch(text):
        return text
    bare = text.strip(BLANKS)
    found = _FLOAT.fullmatch(bare)
    if found is None:
        return _from_hex(bare) if _HEX_FLOAT.fullmatch(bare) else text
    sign = b"-" if found[1] == b"-" else b""
    value = float(found[2])
    if value == inf:
        return sign + b"inf"
    return sign + (found[2] if value else b"0")


def _from_hex(text: bytes) -> bytes:
    try:
        return repr(float.fromhex(text.decode())).encode()
    except OverflowError:
        return b"-inf" if text[:1] == b"-" else b"inf"


def score_bound(text: bytes) -> bytes:
    """`1`, `(1`, `-inf`."""
    return b"(" + floating(text[1:]) if text[:1] == b"(" else floating(text)


def stream_id(text: bytes) -> bytes:
    """`ms`, `ms-seq`, `ms-*`, `(ms-seq`; `-`, `+`, `$`, `*` stay as they are."""
    exclusive = text[:1] == b"("
    ms, dash, seq = text[exclusive:].partition(b"-")
    return text[:exclusive] + integer(ms) + dash + integer(seq)


def offset(text: bytes) -> bytes:
    """`5`, `#5` of BITFIELD."""
    return b"#" + integer(text[1:]) if text[:1] == b"#" else integer(text)


def bit_type(text: bytes) -> bytes:
    """`u8`, `I16` of BITFIELD; Redis knows them in lower case only."""
    return text[:1].lower() + integer(text[1:])


def json_number(text: bytes) -> bytes:
    """As JSON writes it. On the source only a point makes it a float."""
    if _JSON_NUMBER.fullmatch(text) or _FLOAT.fullmatch(text) is None:
        return text
    value = float(text)
    if b"." in text or abs(value) >= _EXACT_INTEGERS:
        return text if abs(value) == inf else repr(value).encode()
    return b"%d" % value if value == int(value) else repr(value).encode()


def _at(*positions: tuple[int, Form]) -> Rewrite:
    """Numbers at fixed positions, those that are there."""
    if len(positions) == 1:
        ((only, form),) = positions

        def rewrite_one(args: Args) -> Args:
            return _changed(args, only, form)

        return rewrite_one

    def rewrite(args: Args) -> Args:
        for position, form in positions:
            args = _changed(args, position, form)
        return args

    return rewrite


class _Changed(list[bytes]):
    """A copy of a command's arguments, made for the first number that changes."""


def _changed(args: Args, position: int, form: Form) -> Args:
    if position >= len(args) or (new := form(args[position])) == args[position]:
        return args
    if not isinstance(args, _Changed):
        args = _Changed(args)
    args[position] = new
    return args


def _options(start: int, forms: Mapping[bytes, Sequence[Form]], *fixed: tuple[int, Form]) -> Rewrite:
    """Numbers behind option words from `start` on, and those at fixed positions."""

    def rewrite(args: Args) -> Args:
        for position, form in fixed:
            args = _changed(args, position, form)
        at = start
        while at < len(args):
            wanted = forms.get(args[at].upper(), ())
            for further, form in enumerate(wanted, at + 1):
                args = _changed(args, further, form)
            at += 1 + len(wanted)
        return args

    return rewrite


def _ids_from(start: int) -> Rewrite:
    def rewrite(args: Args) -> Args:
        for at in range(start, len(args)):
            args = _changed(args, at, stream_id)
        return args

    return rewrite


def _trim(start: int) -> Rewrite:
    """XADD, XTRIM: options, then (XADD) the id, behind which everything is a value."""

    def rewrite(args: Args) -> Args:
        at = start
        while at < len(args):
            option = args[at].upper()
            if option in (b"MAXLEN", b"MINID"):
                at += 2 if at + 1 < len(args) and args[at + 1] in (b"=", b"~") else 1
                args = _changed(args, at, integer if option == b"MAXLEN" else stream_id)
            elif option == b"LIMIT":
                at += 1
                args = _changed(args, at, integer)
            elif option not in (b"NOMKSTREAM", b"KEEPREF", b"DELREF", b"ACKED"):
                return _changed(args, at, stream_id) if args[0].upper() == b"XADD" else args
            at += 1
        return args

    return rewrite


def _xclaim(args: Args) -> Args:
    """`k group consumer min-idle id ... options`."""
    args = _changed(args, 4, integer)
    at = 5
    while at < len(args) and args[at].lstrip(BLANKS + b"+")[:1].isdigit():
        args = _changed(args, at, stream_id)
        at += 1
    return _CLAIM_OPTIONS(args)


_CLAIM_OPTIONS: Final = _options(
    5, {b"IDLE": [integer], b"TIME": [integer], b"RETRYCOUNT": [integer], b"LASTID": [stream_id]}
)


def _bitfield(args: Args) -> Args:
    at = 2
    while at < len(args):
        operation = args[at].upper()
        if operation == b"OVERFLOW":
            at += 2
            continue
        forms = (bit_type, offset) if operation == b"GET" else (bit_type, offset, integer)
        for further, form in enumerate(forms, at + 1):
            args = _changed(args, further, form)
        at += 1 + len(forms)
    return args


def _zrangestore(args: Args) -> Args:
    """`dst src min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]`."""
    options = {arg.upper() for arg in args[5:]}
    if b"BYLEX" not in options:
        form = score_bound if b"BYSCORE" in options else integer
        args = _changed(_changed(args, 3, form), 4, form)
    return _LIMIT(args)


_LIMIT: Final = _options(5, {b"LIMIT": [integer, integer]})


def _xgroup(args: Args) -> Args:
    """`CREATE k group id` and `SETID k group id`; elsewhere a consumer's name stands there."""
    return _GROUP_ID(args) if len(args) > 1 and args[1].upper() in (b"CREATE", b"SETID") else args


_GROUP_ID: Final = _options(5, {b"ENTRIESREAD": [integer]}, (4, stream_id))


def _weighted_store(args: Args) -> Args:
    """`dst numkeys k ... [WEIGHTS w ...]`; what is cut to one shard's keys has no count (§4.4)."""
    count = number(args[2]) if len(args) > 3 else None
    if count is None or not 0 < count <= len(args) - 3:
        return args
    args = _changed(args, 2, integer)
    if len(args) > 3 + count and args[3 + count].upper() == b"WEIGHTS":
        for at in range(4 + count, min(4 + 2 * count, len(args))):
            args = _changed(args, at, floating)
    return args


_ENDS: Final = frozenset({b"LEFT", b"RIGHT", b"MIN", b"MAX"})


def _multi_pop(args: Args) -> Args:
    """`numkeys k ... where [COUNT n]`; what is cut to one shard's keys has no count."""
    count = number(args[1]) if len(args) > 1 else None
    if count is None or not 0 < count <= len(args) - 3 or args[2 + count].upper() not in _ENDS:
        return args
    args = _changed(args, 1, integer)
    return _changed(args, len(args) - 1, integer) if args[-2].upper() == b"COUNT" else args


def _as_it_is(text: bytes) -> bytes:
    """A name behind an option, whatever it looks like."""
    return text


_NAME: Final = [_as_it_is]
_COUNT: Final[Mapping[bytes, Sequence[Form]]] = {b"COUNT": [integer], b"STORE": _NAME, b"STOREDIST": _NAME}
_PLACE: Final = (2, floating), (3, floating), (4, floating)

# Commands rewritten to another form read their numbers themselves (`keys.number`): EXPIRE and its kin, SETEX, RESTORE,
# HEXPIRE, HSETEX, SADDEX, FIELDEXPIRE ... Of ZADD and GEOADD the source is as strict as Redis.
NUMBERS: Final[Mapping[bytes, Rewrite]] = {
    b"INCRBY": _at((2, integer)),
    b"DECRBY": _at((2, integer)),
    b"INCRBYFLOAT": _at((2, floating)),
    b"SETRANGE": _at((2, integer)),
    b"SETBIT": _at((2, integer), (3, integer)),
    b"BITFIELD": _bitfield,
    b"LPOP": _at((2, integer)),
    b"RPOP": _at((2, integer)),
    b"LSET": _at((2, integer)),
    b"LREM": _at((2, integer)),
    b"LTRIM": _at((2, integer), (3, integer)),
    b"LMPOP": _multi_pop,
    b"HINCRBY": _at((3, integer)),
    b"HINCRBYFLOAT": _at((3, floating)),
    b"ZINCRBY": _at((2, floating)),
    b"ZPOPMIN": _at((2, integer)),
    b"ZPOPMAX": _at((2, integer)),
    b"ZREMRANGEBYRANK": _at((2, integer), (3, integer)),
    b"ZREMRANGEBYSCORE": _at((2, score_bound), (3, score_bound)),
    b"ZMPOP": _multi_pop,
    b"ZRANGESTORE": _zrangestore,
    b"ZUNIONSTORE": _weighted_store,
    b"ZINTERSTORE": _weighted_store,
    b"ZDIFFSTORE": _weighted_store,
    b"GEORADIUS": _options(5, _COUNT, *_PLACE),
    b"GEORADIUSBYMEMBER": _options(4, _COUNT, (3, floating)),
    b"GEOSEARCHSTORE": _options(
        3,
        {
            b"FROMLONLAT": [floating] * 2, b"BYRADIUS": [floating], b"BYBOX": [floating] * 2, b"FROMMEMBER": _NAME,
            b"COUNT": [integer],
        },
    ),
    b"SORT": _options(2, {b"LIMIT": [integer, integer], b"BY": _NAME, b"GET": _NAME, b"STORE": _NAME}),
    b"COPY": _options(3, {b"DB": [integer]}),
    b"MOVE": _at((2, integer)),
    b"XADD": _trim(2),
    b"XTRIM": _trim(2),
    b"XDEL": _ids_from(2),
    b"XACK": _ids_from(3),
    b"XSETID": _options(3, {b"ENTRIESADDED": [integer], b"MAXDELETEDID": [stream_id]}, (2, stream_id)),
    b"XCLAIM": _xclaim,
    b"XAUTOCLAIM": _options(6, _COUNT, (4, integer), (5, stream_id)),
    b"XGROUP": _xgroup,
    b"JSON.NUMINCRBY": _at((3, json_number)),
    b"JSON.NUMMULTBY": _at((3, json_number)),
    b"JSON.ARRINSERT": _at((3, integer)),
    b"JSON.ARRPOP": _at((3, integer)),
    b"JSON.ARRTRIM": _at((3, integer), (4, integer)),
}  # fmt: skip
