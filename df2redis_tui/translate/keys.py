"""Keys of commands and slots of keys."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from itertools import repeat
from typing import Final

SLOTS: Final = 16384
# One int object per slot: a block's `slots` list then costs a pointer per command.
SLOT_OBJECTS: Final = tuple(range(SLOTS))
_SLOT_OF_CRC: Final = SLOT_OBJECTS * 4


def hash_tag(key: bytes) -> bytes:
    """The part of a key that is hashed: between the first `{` and the next `}`, if not empty, else all."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            return key[start + 1 : end]
    return key


def slot_of(key: bytes) -> int:
    """Cluster slot of a key, 0 to 16383: CRC16/XMODEM, which `crc_hqx` is."""
    return SLOT_OBJECTS[crc_hqx(hash_tag(key) if b"{" in key else key, 0) & 16383]


def slots_of(keys: Sequence[bytes]) -> list[int]:
    """`slot_of` of many keys, for hot loops."""
    if b"{" in b"".join(keys):
        return [slot_of(key) for key in keys]
    return list(map(_SLOT_OF_CRC.__getitem__, map(crc_hqx, keys, repeat(0))))


_ALL: Final = frozenset({
    b"DEL", b"UNLINK", b"EXISTS", b"TOUCH", b"STICK", b"WATCH", b"PFMERGE", b"PFCOUNT", b"SINTERSTORE", b"SUNIONSTORE",
    b"SDIFFSTORE", b"SINTER", b"SUNION", b"SDIFF", b"MGET",
})  # fmt: skip
_TWO: Final = frozenset({
    b"RENAME", b"RENAMENX", b"LMOVE", b"BLMOVE", b"RPOPLPUSH", b"BRPOPLPUSH", b"SMOVE", b"COPY", b"ZRANGESTORE",
    b"GEOSEARCHSTORE", b"LCS",
})  # fmt: skip
_NONE: Final = frozenset({
    b"PING", b"FLUSHALL", b"FLUSHDB", b"DFLYCLUSTER", b"SCRIPT", b"SELECT", b"EXEC", b"MULTI", b"PUBLISH", b"SPUBLISH",
    b"CONFIG", b"SHUTDOWN", b"ECHO", b"WAIT", b"CLIENT",
})  # fmt: skip
_DESTINATION_AND_COUNT: Final = frozenset({b"ZUNIONSTORE", b"ZINTERSTORE", b"ZDIFFSTORE"})
_COUNT: Final = frozenset({b"LMPOP", b"ZMPOP", b"ZUNION", b"ZINTER", b"ZDIFF", b"SINTERCARD", b"ZINTERCARD"})
_BLOCKING_COUNT: Final = frozenset({b"BLMPOP", b"BZMPOP"})
_BLOCKING: Final = frozenset({b"BLPOP", b"BRPOP", b"BZPOPMIN", b"BZPOPMAX"})
_SCRIPTS: Final = frozenset({b"EVAL", b"EVALSHA", b"FCALL"})
_SUBCOMMAND: Final = frozenset({b"XGROUP", b"XINFO", b"OBJECT", b"MEMORY"})
_STORE: Final = frozenset({b"SORT", b"GEORADIUS", b"GEORADIUSBYMEMBER"})


def keys_of(args: Sequence[bytes]) -> tuple[bytes, ...]:
    """The keys a journalled command names, in the order in which it names them; () when it has none.

    A record cut to one shard's keys (protocol page §4.4) gives whatever keys it still holds.
    """
    if len(args) < 2:
        return ()
    name = args[0].upper()
    if name in _NONE or name.startswith(b"FT."):
        return ()
    if name in _ALL:
        return tuple(args[1:])
    if name in _TWO:
        return tuple(args[1:3])
    if name in (b"MSET", b"MSETNX"):
        return tuple(args[1::2])
    if name == b"JSON.MSET":
        return tuple(args[1::3])
    if name == b"JSON.MGET":
        return tuple(args[1:-1])
    if name == b"BITOP":
        return tuple(args[2:])
    if name in _DESTINATION_AND_COUNT:
        return (args[1], *_counted(args, 2)) if len(args) > 2 else (args[1],)
    if name == b"CMS.MERGE":
        return (args[1], *_counted(args, 2)) if len(args) > 2 else (args[1],)
    if name in _COUNT:
        return _counted(args, 1)
    if name in _SCRIPTS:
        count = number(args[2]) if len(args) > 2 else None
        return tuple(args[3 : 3 + count]) if count else ()
    if name in _BLOCKING_COUNT:
        return _counted(args, 2)
    if name in _BLOCKING:
        return tuple(args[1:-1])
    if name in _SUBCOMMAND:
        return (args[2],) if len(args) > 2 else ()
    if name in _STORE:
        return (args[1], *_store_destination(args))
    if name in (b"XREAD", b"XREADGROUP"):
        return _streams(args)
    return (args[1],)


def _counted(args: Sequence[bytes], at: int) -> tuple[bytes, ...]:
    """`numkeys k ...` at `at`; what has no count is taken for keys."""
    count = number(args[at]) if at < len(args) else None
    if count is None or count < 1 or at + count >= len(args):
        return tuple(args[at:])
    return tuple(args[at + 1 : at + 1 + count])


def _store_destination(args: Sequence[bytes]) -> tuple[bytes, ...]:
    for i in range(len(args) - 2, 1, -1):
        if args[i].upper() in (b"STORE", b"STOREDIST"):
            return (args[i + 1],)
    return ()


def _streams(args: Sequence[bytes]) -> tuple[bytes, ...]:
    for i, arg in enumerate(args):
        if arg.upper() == b"STREAMS":
            rest = args[i + 1 :]
            return tuple(rest[: len(rest) // 2])
    return ()


def number(text: bytes) -> int | None:
    """A decimal integer argument as the source reads it: blanks around it, a sign, leading zeros. Else None."""
    if not text.isdigit():
        text = text.strip()
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    return int(text) if digits.isdigit() and len(digits) < 20 else None
