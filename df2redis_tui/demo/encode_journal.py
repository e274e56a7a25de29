"""Encoders for journal records (protocol page §4): what stands in the stable stream and in journal blobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

PING: Final = b"\x0d"


def pui(n: int) -> bytes:
    """Packed unsigned int: 6, 14, 32 or 64 bits, big endian."""
    if n < 0x40:
        return bytes((n,))
    if n < 0x4000:
        return (0x4000 | n).to_bytes(2, "big")
    if n <= 0xFFFFFFFF:
        return b"\x80" + n.to_bytes(4, "big")
    return b"\x81" + n.to_bytes(8, "big")


_SMALL: Final = [pui(n) for n in range(0x4000)]


def command(db: int, args: Sequence[bytes], *, txid: int = 0, shards: int = 1, op: int = 10) -> bytes:
    """One record: SELECT, then COMMAND (or `op` 9 EXPIRED, 11 MULTI_COMMAND) with its arguments as raw bytes."""
    total = 0
    out = [b"\x06", pui(db), bytes((op,)), pui(txid), pui(shards), pui(len(args)), b""]
    for arg in args:
        size = len(arg)
        total += size
        out.append(_SMALL[size] if size < 0x4000 else pui(size))
        out.append(arg)
    out[6] = pui(total)
    return b"".join(out)


def lsn(value: int) -> bytes:
    """An LSN record: the LSN of the record before it; it does not count itself."""
    return b"\x0f" + pui(value)
