"""Commands as RESP arrays, the form in which they go to the target."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

_FORMATS: Final = tuple(b"*%d\r\n" % n + b"$%d\r\n%b\r\n" * n for n in range(17))
SET_FORMAT: Final = b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
SET_PXAT_FORMAT: Final = b"*5\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$4\r\nPXAT\r\n$%d\r\n%d\r\n"
RESTORE_FORMAT: Final = (
    b"*6\r\n$7\r\nRESTORE\r\n$%d\r\n%b\r\n$%d\r\n%d\r\n$%d\r\n%b\r\n$7\r\nREPLACE\r\n$6\r\nABSTTL\r\n"
)

# What one command costs in memory besides its bytes: the bytes object's head, its place in lists, its reply.
COMMAND_OVERHEAD: Final = 57


def command(*args: bytes) -> bytes:
    """One RESP array."""
    return encode(args)


def encode(args: Sequence[bytes]) -> bytes:
    """One RESP array from a sequence of arguments."""
    n = len(args)
    if n == 3:
        a, b, c = args
        return _FORMATS[3] % (len(a), a, len(b), b, len(c), c)
    if n == 2:
        a, b = args
        return _FORMATS[2] % (len(a), a, len(b), b)
    if n == 4:
        a, b, c, d = args
        return _FORMATS[4] % (len(a), a, len(b), b, len(c), c, len(d), d)
    if n < len(_FORMATS):
        return _FORMATS[n] % tuple(chain.from_iterable(zip(map(len, args), args, strict=True)))
    parts = [b"*%d\r\n" % n]
    parts += [b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args]
    return b"".join(parts)


def set_command(key: bytes, value: bytes, expire_ms: int) -> bytes:
    """SET, with PXAT when `expire_ms` (absolute unix ms) is not 0."""
    if expire_ms:
        return SET_PXAT_FORMAT % (len(key), key, len(value), value, len(b"%d" % expire_ms), expire_ms)
    return SET_FORMAT % (len(key), key, len(value), value)


def restore_command(key: bytes, payload: bytes, expire_ms: int) -> bytes:
    """RESTORE … REPLACE ABSTTL; `expire_ms` absolute unix ms, 0 none."""
    digits = len(b"%d" % expire_ms) if expire_ms else 1
    return RESTORE_FORMAT % (len(key), key, digits, expire_ms, len(payload), payload)
