"""Skipping what a server with search indexes may send: opcodes 222 and 223 (protocol page §3.8)."""

from __future__ import annotations

from df2redis_tui.dragonfly.rdb.source import Source, Steps

_ENTRY_POINT_SINCE = (1, 39)


def skip_key_map(src: Source) -> Steps[None]:
    """223: LEN shard, STR index, LEN n, n×(STR key, LEN document id)."""
    yield from src.length()
    yield from src.string()
    for _ in range((yield from src.length())):
        yield from src.string()
        yield from src.length()


def skip_vector_index(src: Source, df_version: tuple[int, int] | None) -> Steps[None]:
    """222: STR name, LEN entry point (since 1.39), LEN nodes, each with levels of u32le links.

    A server of unknown version is taken for a current one.
    """
    yield from src.string()
    if df_version is None or df_version >= _ENTRY_POINT_SINCE:
        yield from src.length()
    for _ in range((yield from src.length())):
        yield from src.skip(12)
        levels = int.from_bytes((yield from src.take(4)), "little") + 1
        for _ in range(levels):
            links = int.from_bytes((yield from src.take(4)), "little")
            yield from src.skip(4 * links)
