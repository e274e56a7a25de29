"""The keys of a target as a whole: walking them, and which of them a global command removes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from df2redis_tui.errors import TargetError
from df2redis_tui.pipeline.block import Global
from df2redis_tui.streams import DATA, RespConnection
from df2redis_tui.target.connection import ask
from df2redis_tui.translate.keys import slot_of

PAGE = 2000  # keys, about

KeyChoice = Callable[[int, bytes], bool]  # yes or no of a (database, key)


class Scanned(Protocol):
    """A target whose keys can be walked."""

    @property
    def name(self) -> str: ...

    async def databases(self) -> list[int]: ...

    async def scan(self, db: int, on_page: Callable[[RespConnection, list[bytes]], Awaitable[None]]) -> None: ...


async def walk(
    connection: RespConnection, name: str, on_page: Callable[[RespConnection, list[bytes]], Awaitable[None]]
) -> None:
    """Every key of the connection's database, page by page. Raises TargetLost, TargetError."""
    cursor = b"0"
    while True:
        answer = await ask(connection, name, "SCAN", cursor, "COUNT", PAGE, most=DATA)
        match answer.array_of(2):
            case [bytes(following), list(found)] if following.isdigit() and len(following) <= 20:
                keys = [key for key in found if isinstance(key, bytes)]
            case _:
                raise answer.is_not("a cursor and an array of keys")
        if len(keys) != len(found):
            raise answer.is_not("a cursor and an array of keys")
        if keys:
            await on_page(connection, keys)
        if int(following) == 0:
            return
        if following == cursor:
            raise TargetError(f"target {name} answered SCAN {cursor.decode()} with the same cursor: it does not go on")
        cursor = following


def slot_ranges(args: tuple[bytes, ...]) -> list[tuple[int, int]]:
    """`DFLYCLUSTER FLUSHSLOTS a b [a b ...]` → inclusive ranges."""
    numbers = [int(a) for a in args[2:] if a.isdigit() and len(a) < 6]
    return list(zip(numbers[::2], numbers[1::2], strict=False))


def removed_one_by_one(item: Global, spared: KeyChoice | None) -> KeyChoice | None:
    """The (database, key) pairs to look for when not simply everything goes; None = a flush does it.

    `spared` says which keys are not ours to remove. That FLUSHDB is about one database is left to
    the caller: a cluster has only one, which may hold several of the source.
    """
    if item.args[0].upper() == b"DFLYCLUSTER":
        ranges = slot_ranges(item.args)
        return lambda db, key: (
            any(a <= slot_of(key) <= b for a, b in ranges) and not (spared is not None and spared(db, key))
        )
    if spared is not None:
        return lambda db, key: not spared(db, key)
    return None
