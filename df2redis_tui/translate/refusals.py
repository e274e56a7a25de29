"""What can't be carried over: the value object and the port through which translators report it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

# What the target has of the key afterwards: nothing; the key, not all of it, followed on; what it had.
OnTarget = Literal["removed", "incomplete", "untouched"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A key, or a journal command on it, without an equivalent on the target. `payload`: (part of) what was read.

    `of_key` False: a command that is none of data. It says nothing of any key.
    """

    db: int
    key: bytes
    type: str  # "json", "bloom", ... or the command's name in a journal
    reason: str
    flow: int = -1
    lsn: int | None = None
    payload: bytes = b""
    on_target: OnTarget = "untouched"
    of_key: bool = True


class RefusalPort(Protocol):
    """`refuse` raises `NotCopied` under the policy `stop` and records a dead letter under `skip`."""

    @property
    def any_refused(self) -> bool:
        """Whether `refused` can be True of any key."""
        ...

    def refuse(self, refusal: Refusal) -> None: ...

    def copied(self, db: int, key: bytes) -> None:
        """A whole value of this key goes to the target: an earlier refusal does not matter any more."""

    def refused(self, db: int, key: bytes) -> bool:
        """Whether this key was refused before (its later journal commands are then expected to fail)."""
        ...
