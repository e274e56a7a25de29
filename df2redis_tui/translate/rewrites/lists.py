"""Lists moved onto themselves, which are journalled as a pop and a push (protocol page §4.5)."""

from __future__ import annotations

from df2redis_tui.translate import scripts
from df2redis_tui.translate.rewriter import Args, Rewriter

POPS = (b"LPOP", b"RPOP")


def push(to: Rewriter, args: Args) -> None:
    """LPUSH, RPUSH; behind a pop from the same list it may be one half of LMOVE k k and its kin. Behind nothing (a
    session begins with it) it may be, too. Of two that come again the target may have had the first alone."""
    key = args[1]
    popped = to.follows(POPS, key)
    begins = to.previous is None and to.counted
    if len(args) != 3 or not (begins or (popped is not None and len(popped) == 2)):
        to.emit(key, args, True)
    elif popped is not None and to.lsn > to.replayed_until and to.take_back(popped):
        to.script(scripts.ROTATE, (key,), popped[0].upper(), args[0].upper(), args[2])
    else:
        to.script(scripts.PUSH_AFTER_POP, (key,), args[0].upper(), args[2])


TABLE = {b"LPUSH": push, b"RPUSH": push}
