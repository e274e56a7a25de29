"""RESP as a server reads and writes it."""

from __future__ import annotations

import asyncio
from typing import Any


def encode(value: Any) -> bytes:
    """A RESP2 reply: str as simple string, bytes as bulk, int, list."""
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, str):
        return f"+{value}\r\n".encode()
    if isinstance(value, bytes):
        return b"$%d\r\n%s\r\n" % (len(value), value)
    return b"*%d\r\n" % len(value) + b"".join(encode(v) for v in value)


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """One command, inline or as an array; [] at the end of the connection."""
    while line := await reader.readline():
        if not line.endswith(b"\r\n"):
            return []
        if not line.startswith(b"*"):
            if words := line.split():
                return words
            continue
        argv = []
        for _ in range(int(line[1:])):
            header = await reader.readline()
            if not header.startswith(b"$"):
                raise ValueError(f"expected a bulk string, got {header[:20]!r}")
            argv.append((await reader.readexactly(int(header[1:]) + 2))[:-2])
        return argv
    return []
