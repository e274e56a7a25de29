"""Keys whose values on the target may be wrong until they are read again, and the commands that carry these on.

The translator re-reads what a command makes of a key that waits for its value. A doubt that comes up later than that,
from what the target answers, finds such commands (RENAME, SUNIONSTORE ...) already on their way.
"""

from __future__ import annotations

from collections.abc import Iterable

from df2redis_tui.pipeline.block import Block
from df2redis_tui.replication.lateness import carries_on, keys_in
from df2redis_tui.target.pending import Overtaken


class Doubts:
    """The doubts of one FLOW; one ends when all that was translated before it is confirmed."""

    def __init__(self) -> None:
        self._until: dict[tuple[int, bytes], int] = {}  # key → LSN from which on the translator knew of it

    def __bool__(self) -> bool:
        return bool(self._until)

    def add(self, db: int, key: bytes, until: int) -> None:
        """Records from `until` on are translated with regard to this key's doubt."""
        self._until[(db, key)] = max(until, self._until.get((db, key), 0))

    def carried(self, blocks: Iterable[Block]) -> list[Overtaken]:
        """Further keys that these blocks, about to be sent, put in doubt; they have to be added."""
        found: dict[Overtaken, None] = {}
        until = dict(self._until)
        for block in blocks:
            for command, lsn in zip(block.commands, block.lsns or (), strict=False):
                if not carries_on(command):
                    continue
                names = [(block.db, key) for key in keys_in(command)]
                if len(names) < 2:
                    continue
                known = [until[name] for name in names if name in until]
                if known and (block.tolerant or lsn < max(known)):
                    for name in names:
                        until[name] = max(until.get(name, 0), *known)
                    found.update((Overtaken(*name), None) for name in names if name not in self._until)
        return list(found)

    def confirmed(self, lsn: int) -> None:
        """The target has everything below `lsn`."""
        self._until = {name: until for name, until in self._until.items() if until > lsn}

    def clear(self) -> None:
        """Nothing translated before is on its way."""
        self._until.clear()
