"""Streams (protocol page §4.5, §4.7)."""

from __future__ import annotations

from df2redis_tui.translate.keys import keys_of, number
from df2redis_tui.translate.rewriter import Args, Rewriter

OWN_ID = "the source journalled XADD without the id it gave"
APPROXIMATE = "approximate trimming depends on the source's memory layout"


def xadd(to: Rewriter, args: Args) -> None:
    """XADD; masters up to 1.26 journal it as the client wrote it."""
    at, approximate = 2, False
    while at < len(args):
        option = args[at].upper()
        if option in (b"MAXLEN", b"MINID"):
            marked = at + 1 < len(args) and args[at + 1] in (b"=", b"~")
            approximate |= marked and args[at + 1] == b"~"
            at += 3 if marked else 2
        elif option == b"LIMIT":
            at += 2
        elif option in (b"NOMKSTREAM", b"KEEPREF", b"DELREF", b"ACKED"):
            at += 1
        else:
            break
    if at + 2 >= len(args):
        to.truncated(args[1:2], b"XADD")
    elif b"*" in args[at]:
        if not _doubled(to, args, at):
            to.reread(args[1:2], OWN_ID)
    elif approximate and to.quirks.own_stream_ids:
        to.reread(args[1:2], APPROXIMATE)
    else:
        to.emit(args[1], _exact_trim(to, args, at), True)


def _doubled(to: Rewriter, args: Args, at: int) -> bool:
    """1.27 logs some XADDs again as the client wrote them, behind the record with the id (recorded)."""
    before = to.follows((b"XADD",), args[1])
    content = list(args[at + 1 :])
    return before is not None and len(before) > len(content) + 2 and list(before[-len(content) :]) == content


def xtrim(to: Rewriter, args: Args) -> None:
    """XTRIM."""
    if b"~" not in args[2:4]:
        to.emit(args[1], _exact_trim(to, args, len(args)), True)
    elif to.quirks.own_stream_ids:
        to.reread(args[1:2], APPROXIMATE)
    elif to.follows((b"XTRIM",), args[1]) is None:
        to.emit(args[1], args, True)


def _exact_trim(to: Rewriter, args: Args, end: int) -> Args:
    """1.27.0 to 1.27.3 journal `MINID = id` with the last id they removed, 0-0 for none (recorded); later ones as the
    target understands it, with the first that stays."""
    if not to.quirks.trims_name_removed:
        return args
    for at in range(2, end - 2):
        if args[at].upper() == b"MINID" and args[at + 1] == b"=":
            ms, _, seq = args[at + 2].partition(b"-")
            last = (number(ms), number(seq or b"0"))
            if last[0] is not None and last[1] is not None and last != (0, 0):
                return (*args[: at + 2], b"%d-%d" % (last[0], last[1] + 1), *args[at + 3 :])
    return args


def xsetid(to: Rewriter, args: Args) -> None:
    """XSETID; Redis 6.2 knows no further options."""
    to.emit(args[1], args if to.caps.entries_read else args[:3], True)


def xclaim(to: Rewriter, args: Args) -> None:
    """XCLAIM, XAUTOCLAIM: Redis 7.0 makes no consumer when nothing is claimed; an existing one only answers 0."""
    if len(args) < 5:
        to.truncated(args[1:2], args[0].upper())
        return
    to.emit(args[1], (b"XGROUP", b"CREATECONSUMER", *args[1:4]), True)
    to.emit(args[1], args, True)


def xgroup(to: Rewriter, args: Args) -> None:
    """The key stands behind the subcommand."""
    if len(args) < 4:
        to.truncated(args[2:3], b"XGROUP")
        return
    key = args[2]
    if to.blocked(key) or to.is_refused(key):
        return
    if not to.caps.entries_read:
        for at in range(4, len(args) - 1):
            if args[at].upper() == b"ENTRIESREAD":
                args = (*args[:at], *args[at + 2 :])
                break
    to.emit(key, args, True)


def xreadgroup(to: Rewriter, args: Args) -> None:
    """Not journalled by any known master in this form."""
    to.reread(keys_of(args), "XREADGROUP delivers entries to a consumer")


TABLE = {b"XADD": xadd, b"XTRIM": xtrim, b"XSETID": xsetid, b"XCLAIM": xclaim, b"XAUTOCLAIM": xclaim}
TABLE_OF_MANY = {b"XGROUP": xgroup, b"XREADGROUP": xreadgroup}
