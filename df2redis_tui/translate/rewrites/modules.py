"""Families that are modules elsewhere: JSON, sketches (protocol page §4.7)."""

from __future__ import annotations

from df2redis_tui.translate.keys import slot_of
from df2redis_tui.translate.rewriter import Args, Rewriter
from df2redis_tui.translate.values import NO_JSON, NO_SKETCH

SKETCH_FAMILIES = (b"BF.", b"CF.", b"CMS.", b"TOPK.")
_ROOT = (b"$", b".")


def json(to: Rewriter, args: Args) -> None:
    """JSON.* of one key."""
    key, name = args[1], args[0].upper()
    if not to.caps.json:
        to.refuse(key, "json", NO_JSON)
        return
    root = name == b"JSON.SET" and len(args) == 4 and args[2] in _ROOT
    to.emit(key, args, not root)


def json_mset(to: Rewriter, args: Args) -> None:
    """JSON.MSET, split by slot."""
    by_slot: dict[int, list[bytes]] = {}
    for at in range(1, len(args) - 2, 3):
        key = args[at]
        if to.blocked(key):
            continue
        if not to.caps.json:
            to.refuse(key, "json", NO_JSON)
            continue
        by_slot.setdefault(slot_of(key) if to.route else 0, []).extend(args[at : at + 3])
    for triples in by_slot.values():
        root = all(path in _ROOT for path in triples[1::3])
        to.emit(triples[0], (b"JSON.MSET", *triples), not root)


def sketch(to: Rewriter, args: Args) -> None:
    """BF.*, CF.*, CMS.*, TOPK.*."""
    family = args[0].upper().split(b".")[0].decode("ascii", "replace")
    to.refuse(args[1], {"BF": "bloom", "CF": "cuckoo"}.get(family, family.lower()), NO_SKETCH)


TABLE_OF_MANY = {b"JSON.MSET": json_mset}
