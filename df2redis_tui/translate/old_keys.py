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
    """The keys of the target before the copy. A key that is wrongly taken for one of them is removed in front of its
    first command, when it is not there."""

    def holds(self, db: int, key: bytes) -> bool: ...

    def drop(self, db: int, key: bytes) -> None: ...


class OldKeys:
    """`db` is the target's number. `certain` False: an earlier run may have replaced some, which must stay.

    `holds` says whether the target may still have the old value; `replaced`, that what it has is the source's from now
    on.
    """

    def __init__(self, held: Held) -> None:
        self.certain = True
        self.holds = held.holds
        self.replaced = held.drop


def replaces(name: bytes, count: int) -> bool:
    """Whether a record of this name, with so many arguments, replaces or removes all of its keys."""
    return name in REPLACING and (name != b"SET" or count == 3)
