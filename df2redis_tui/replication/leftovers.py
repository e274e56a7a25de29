"""What a FLOW still has to remove from the target: keys of before a full sync that the full sync did not bring."""

from __future__ import annotations

from typing import Final

from df2redis_tui.translate.old_keys import OldKeys

AT_ONCE: Final = 2_000


class Leftovers:
    """Of one FLOW, over its sessions. `add` from the clean-up, `take` from the FLOW's reader at its own position."""

    def __init__(self) -> None:
        self._keys: list[tuple[int, bytes]] = []
        self.taken_at = -1  # the FLOW's position behind which the last ones were removed

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, db: int, key: bytes) -> None:
        self._keys.append((db, key))

    def clear(self) -> None:
        self._keys.clear()
        self.taken_at = -1

    def take(self, old: OldKeys, position: int) -> list[tuple[int, bytes]]:
        """Some that are still old, which are to be removed now: the source has sent nothing of them up to here."""
        some, self._keys = self._keys[:AT_ONCE], self._keys[AT_ONCE:]
        self.taken_at = position
        gone = [(db, key) for db, key in some if old.holds(db, key)]
        for db, key in gone:
            old.replaced(db, key)
        return gone
