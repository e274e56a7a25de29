"""What a batch may have found wrong because it was applied late: the target expires keys by itself (§4.8)."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator

from df2redis_tui.pipeline.block import Block
from df2redis_tui.target.pending import decode_command
from df2redis_tui.translate.keys import keys_of
from df2redis_tui.translate.rewriter import LATE_MS
from df2redis_tui.translate.scripts import MOVED_ONTO_ITSELF

LATE = LATE_MS / 1000  # seconds

# Commands that make something lasting of a key which may be gone or was begun anew: another key's content, a new TTL.
_CARRIES = (
    rb"RENAME|RENAMENX|COPY|MOVE|LMOVE|RPOPLPUSH|SMOVE|SINTERSTORE|SUNIONSTORE|SDIFFSTORE|ZUNIONSTORE|ZINTERSTORE|"
    rb"ZDIFFSTORE|ZRANGESTORE|GEOSEARCHSTORE|BITOP|PFMERGE|SORT|GEORADIUS|GEORADIUSBYMEMBER|LMPOP|ZMPOP|EVAL"
)
carries_on = re.compile(rb"\*\d+\r\n\$\d+\r\n(?:" + _CARRIES + rb")\r\n", re.IGNORECASE).match
_lasts = re.compile(rb"\*\d+\r\n\$\d+\r\n(?:PEXPIREAT|PERSIST|" + _CARRIES + rb")\r\n", re.IGNORECASE).match

# Commands that do something else, or something lasting, where a field of theirs is gone.
_on_fields = re.compile(
    rb"\*\d+\r\n\$\d+\r\n(?:HPEXPIREAT|HPERSIST|HSETEX|HSETNX|HINCRBY|HINCRBYFLOAT|EVAL)\r\n", re.IGNORECASE
).match


def keys_in(command: bytes) -> tuple[bytes, ...]:
    """The keys of an encoded command."""
    args = decode_command(command)
    return keys_of(args) if args else ()


def in_doubt(
    block: Block, wall_ms: int, waited: float, ends_at: Callable[[int, bytes], int | None]
) -> Iterator[tuple[bytes, int]]:
    """(key, LSN) of what this block, confirmed by unix time `wall_ms` and `waited` seconds after it was read, may have
    met too late. `ends_at(db, key)` says when the target ends a key."""
    late, too_late = waited > LATE, block.too_late or {}
    if not late and not any(at <= wall_ms for at in too_late.values()):
        return
    for command, lsn in zip(block.commands, block.lsns or (), strict=False):
        at = too_late.get(lsn)
        lasts = late and _lasts(command) and not command.startswith(MOVED_ONTO_ITSELF)
        if lasts or (at is not None and at <= wall_ms):
            for key in keys_in(command):
                yield key, lsn
        elif late:
            # What only its own key sees ends with the key, but for one that nobody ends any more.
            for key in keys_in(command)[:1]:
                ends = ends_at(block.db, key)
                if ends is not None and ends <= wall_ms:
                    yield key, lsn


def fields_in_doubt(block: Block, with_fields: Container[tuple[int, bytes]]) -> Iterator[tuple[bytes, int]]:
    """(key, LSN) of what this block, which came late, may have met without fields that expire by themselves. Nobody
    deletes those on the source's behalf, so they are not held."""
    for command, lsn in zip(block.commands, block.lsns or (), strict=False):
        if _on_fields(command):
            for key in keys_in(command)[:1]:
                if (block.db, key) in with_fields:
                    yield key, lsn
