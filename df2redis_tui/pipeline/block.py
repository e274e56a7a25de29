"""What the translators hand to the pipeline, in FLOW order: blocks of commands, and what is not a command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

REREAD: Final = "reread"  # a kind beside the types of values: keys read again from the source are counted apart


@dataclass(slots=True)
class Block:
    """Commands for one database, in order, each encoded as one RESP array that gets exactly one reply.

    `slots` (cluster targets only), `lsns` and `once` run parallel to `commands`:
    `lsns[i]` is the LSN of the record that command i came from (several commands may share one: a batch is never cut
    between them); None in the snapshot part. `once[i]` is True where applying the command a second time would change
    the result (INCR, APPEND, LPUSH, RENAME ...); None when no command of the block is such. `entries`: source entries.
    """

    db: int
    commands: list[bytes]
    slots: list[int] | None = None
    lsns: list[int] | None = None
    once: list[bool] | None = None
    next_lsn: int = 0  # position of the FLOW once this block is confirmed; 0 = does not move it
    size: int = 0  # bytes this block holds in memory, for the channel's bound
    entries: int = 0
    arrived: float = 0.0  # time.monotonic() of the read that completed it
    tolerant: bool = False  # journal inside a full sync: a later base value heals what fails now (§3.9)
    ack_now: bool = False  # a PING stood here: acknowledge as soon as it is confirmed
    kinds: dict[str, int] = field(default_factory=dict)  # keys copied by type, values of the full sync only
    # LSN → unix ms: applied later than that, the record may not have met the key that it is about (None = no such)
    too_late: dict[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Global:
    """A command that concerns all shards; every FLOW carries it, it runs once when all have drained to it (§4.6)."""

    db: int
    args: tuple[bytes, ...]
    lsn: int
    next_lsn: int
    arrived: float = 0.0


@dataclass(frozen=True, slots=True)
class Reread:
    """These keys can't be followed from the journal; their exact value must be read from the source (§4.6)."""

    db: int
    keys: tuple[bytes, ...]
    lsn: int
    reason: str


Item = Block | Global | Reread
