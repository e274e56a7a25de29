"""Families that are modules elsewhere: JSON, sketches (protocol page §4.7)."""

from __future__ import annotations

from df2redis_tui.translate import scripts
from df2redis_tui.translate.capabilities import JSON_WRITES
from df2redis_tui.translate.rewriter import Args, Rewriter
from df2redis_tui.translate.values import NO_JSON, NO_SKETCH

SKETCH_FAMILIES = (b"BF.", b"CF.", b"CMS.", b"TOPK.")
_ROOT = (b"$", b".", b"")


def json(to: Rewriter, args: Args) -> None:
    """JSON.* of one key, but for JSON.SET."""
    key, name = args[1], args[0].upper()
    if not to.caps.json:
        to.refuse(key, "json", NO_JSON)
    elif name in JSON_WRITES and name not in to.caps.json_commands:
        to.reread((key,), f"the target has no {name.decode()}")
    else:
        to.emit(key, args, True)


def json_set(to: Rewriter, args: Args) -> None:
    """JSON.SET; of the whole value it replaces a key of any type, which a target's JSON module refuses to do."""
    key = args[1]
    if len(args) < 4:
        to.truncated((key,), b"JSON.SET")
    elif to.blocked(key):
        return
    elif not to.caps.json:
        to.refuse(key, "json", NO_JSON)
    elif args[2] in _ROOT:
        _replace(to, key, args[3], args[4].upper() if len(args) > 4 else b"")
    elif not to.is_refused(key):
        to.emit(key, args, True)


def _replace(to: Rewriter, key: bytes, value: bytes, condition: bytes) -> None:
    if condition and to.is_refused(key):
        to.recreated(key)
        to.reread((key,), "JSON.SET has a condition that can't be checked here")
        return
    to.recreated(key)
    if condition or to.quirks.json_keeps_ttl:
        to.script(scripts.JSON_REPLACE, (key,), condition, b"%d" % to.quirks.json_keeps_ttl, value)
        return
    to.forget_expiry(key)
    to.emit(key, (b"DEL", key), False)
    to.emit(key, (b"JSON.SET", key, b"$", value), False)


def json_mset(to: Rewriter, args: Args) -> None:
    """JSON.MSET, one by one."""
    for at in range(1, len(args) - 2, 3):
        json_set(to, (b"JSON.SET", *args[at : at + 3]))


def sketch(to: Rewriter, args: Args) -> None:
    """BF.*, CF.*, CMS.*, TOPK.*."""
    family = args[0].upper().split(b".")[0].decode("ascii", "replace")
    to.refuse(args[1], {"BF": "bloom", "CF": "cuckoo"}.get(family, family.lower()), NO_SKETCH)


TABLE_OF_MANY = {b"JSON.SET": json_set, b"JSON.MSET": json_mset}
