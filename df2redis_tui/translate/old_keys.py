"""Keys that the target held before the copy, as long as nothing of the source has taken their place.

The first thing the source sends of such a key may be a bare INCR or HSET: on the source the key is new. It must not
meet the old value.
"""

from __future__ import annotations

from typing import Final, Protocol

# Nothing of what their keys held before is left. (SET only without options.)
REPLACING: Final = frozenset({b"SET", b"MSET", b"DEL", b"UNLINK"})
WHY: Final = "the target held a key of this name before the copy"


class Held(Protocol):
    """The keys of the target before the copy."""

    def mark(self, db: int, key: bytes) -> bytes | None:
        """Something short that stands for this key, None when it was not there."""
        ...


class OldKeys:
    """`db` is the target's number. `certain` False: an earlier run may have replaced some, which must stay."""

    def __init__(self, held: Held) -> None:
        self.held = held
        self.certain = True
        self.gone: set[bytes] = set()  # marks of those replaced or removed

    def holds(self, db: int, key: bytes) -> bool:
        """Whether the target may still have the old value."""
        mark = self.held.mark(db, key)
        return mark is not None and mark not in self.gone

    def replaced(self, db: int, key: bytes) -> None:
        """What the target has is the source's from now on."""
        mark = self.held.mark(db, key)
        if mark is not None:
            self.gone.add(mark)


def replaces(name: bytes, count: int) -> bool:
    """Whether a record of this name, with so many arguments, replaces or removes all of its keys."""
    return name in REPLACING and (name != b"SET" or count == 3)
