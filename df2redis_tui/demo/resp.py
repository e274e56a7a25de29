"""RESP requests as bytes."""

from __future__ import annotations

from collections.abc import Sequence

import hiredis


def pack(args: Sequence[bytes]) -> bytes:
    """One command as an array of bulk strings (hiredis' own packer; its stub knows only tuples of one)."""
    packed: bytes = hiredis.pack_command(tuple(args))  # type: ignore[arg-type]
    return packed
