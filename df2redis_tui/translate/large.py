"""Journal records with an argument too large to be held several times over: written in pieces, or refused.

SETRANGE pieces converge when a record is sent again from its start, on a cluster as on a single server. The string
gets its whole length with the first of them, so that the target allocates it once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from df2redis_tui.pipeline.block import Item
from df2redis_tui.translate.keys import keys_of
from df2redis_tui.translate.rewriter import Args, Rewriter
from df2redis_tui.translate.rewrites.strings import DENSE_HLL, absolute_ms

PIECE: Final = 1024 * 1024  # bytes
WHOLE_MOST: Final = 4 * PIECE  # what is larger goes in pieces
TOO_LARGE: Final = "{:,} bytes are more than the target takes in one value (its proto-max-bulk-len is {:,})"
KEPT_OF_VALUE: Final = 64 * 1024  # bytes, for the dead letter

Enter = Callable[[bytes, bytes], bool]


def write_large(to: Rewriter, args: Args, enter: Enter, record: Callable[[Args], None]) -> Iterator[Item]:
    """The items of one record, but for what is left in `to.ready` and the open block. They don't move the FLOW.

    `enter` finds the target's database of a key; `record` translates a record of ordinary size.
    """
    name = args[0].upper()
    if name in (b"MSET", b"MSETNX"):
        for at in range(1, len(args) - 1, 2):
            yield from write_large(to, [b"SET", args[at], args[at + 1]], enter, record)
    elif max(map(len, args)) > to.caps.bulk_limit:
        for key in keys_of(args):
            _refuse(to, name, key, args, enter)
    elif name == b"SET" and len(args) > 2 and len(args[2]) > WHOLE_MOST and not args[2].startswith(DENSE_HLL):
        yield from _set(to, args, enter, record)
    elif name == b"SETRANGE" and len(args) == 4 and len(args[3]) > WHOLE_MOST and args[2].isdigit():
        free = enter(name, args[1]) and not to.blocked(args[1]) and not to.is_refused(args[1])
        if free and (to.old is None or to.clears_old(args)):
            yield from _pieces(to, args[1], args[3], int(args[2]), 0)
    else:
        record(args)


def _refuse(to: Rewriter, name: bytes, key: bytes, args: Args, enter: Enter) -> None:
    if not enter(name, key) or to.blocked(key):
        return
    if to.old is not None:
        to.clears_old([b"UNLINK", key])
    longest = max(args, key=len)
    reason = TOO_LARGE.format(len(longest), to.caps.bulk_limit)
    to.refuse(key, name.decode("ascii", "replace"), reason, longest[:KEPT_OF_VALUE])


def _set(to: Rewriter, args: Args, enter: Enter, record: Callable[[Args], None]) -> Iterator[Item]:
    _, key, value, *options = args
    if not enter(b"SET", key) or to.blocked(key):
        return
    # A time comes last: the key must not expire among its pieces, which would begin a new one.
    timed = bool(options) and options[0].upper() in (b"PXAT", b"EXAT", b"PX", b"EX")
    record([b"SET", key, value[:PIECE], *([] if timed else options)])
    yield from _pieces(to, key, value, 0, PIECE)
    if timed:
        expire_ms = absolute_ms(options[0].upper(), options[1], to.now_ms) if len(options) > 1 else 0
        if expire_ms:
            to.emit(key, (b"PEXPIREAT", key, b"%d" % to.expire_at(key, expire_ms)), False)
            to.stand()


def _pieces(to: Rewriter, key: bytes, value: bytes, offset: int, begin: int) -> Iterator[Item]:
    """`value` from `begin` on, to stand `offset` bytes further in the string."""
    view = memoryview(value)
    if begin < len(value):
        last = len(value) - 1
        to.emit(key, (b"SETRANGE", key, b"%d" % (offset + last), bytes(view[last:])), False)
    for at in range(begin, len(value), PIECE):
        to.emit(key, (b"SETRANGE", key, b"%d" % (offset + at), bytes(view[at : at + PIECE])), False)
        to.stand()
        ready, to.ready = to.ready, []
        yield from ready
