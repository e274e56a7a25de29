"""After a resync: removes from the target what the source no longer has.

A key that is missing on the source is not simply deleted, since it may be written again in this moment: it goes through
the exact re-read of its FLOW, which deletes it at the position at which it was seen to be absent.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from df2redis_tui.dragonfly.control import error_text, not_now, open_source
from df2redis_tui.errors import SourceError, SourceLost
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import PeerLost, RespConnection, encode, is_error

log = logging.getLogger(__name__)


class Scanned(Protocol):
    """A target whose keys can be walked."""

    @property
    def name(self) -> str: ...

    async def databases(self) -> list[int]: ...

    async def scan(self, db: int, on_page: Callable[[RespConnection, list[bytes]], Awaitable[None]]) -> None: ...


async def find_leftovers(
    source: Endpoint,
    target: Scanned,
    ours: Callable[[int, bytes], bool],
    absent: Callable[[int, bytes], None],
) -> tuple[int, int]:
    """Tell `absent` of every key of the target which is `ours` and which the source does not have.

    Returns (keys looked at, keys absent). Raises SourceLost, SourceError (it refuses
    EXISTS), TargetLost, TargetError.
    """
    connection = await open_source(source, "clean-up connection")
    looked = missing = 0
    selected = 0

    async def page(_: RespConnection, db: int, keys: list[bytes]) -> None:
        nonlocal looked, missing, selected
        mine = [key for key in keys if ours(db, key)]
        if not mine:
            return
        commands = [encode("EXISTS", key) for key in mine]
        if db != selected:
            commands.insert(0, encode("SELECT", db))
        replies = await connection.pipeline(commands)
        if db != selected:
            replies, selected = replies[1:], db
        for key, exists in zip(mine, replies, strict=True):
            if is_error(exists):
                why = error_text(exists)
                if not_now(why):
                    raise SourceLost(f"source {source.label}: clean-up connection: {why}")
                raise SourceError(f"the source does not say which keys it has: {why}")
            looked += 1
            if exists == 0:
                missing += 1
                absent(db, key)

    try:
        for db in await target.databases():

            async def on_page(peer: RespConnection, keys: list[bytes], db: int = db) -> None:
                await page(peer, db, keys)

            await target.scan(db, on_page)
    except PeerLost as lost:
        raise SourceLost(f"source {source.label}: clean-up connection: {lost}") from None
    finally:
        await connection.aclose()
    return looked, missing
