"""A batch: consecutive commands of one FLOW that travel together and are confirmed together."""

from __future__ import annotations

from dataclasses import dataclass, field

from df2redis_tui.pipeline.block import Block


@dataclass(slots=True, eq=False)
class Batch:
    """`blocks` hold the commands in order. `next_lsn` is the FLOW's position once all is confirmed (0 = unmoved)."""

    flow: int
    number: int
    blocks: list[Block]
    commands: int
    entries: int
    size: int
    opened_at: float
    next_lsn: int = 0
    ack_now: bool = False
    once: bool = False  # holds a command that must not be applied twice
    position: int = -1  # what a checkpoint written with it says; -1 = not sent yet
    seq: int = 0  # grows with every sending, also of what is sent again: names the sending in the checkpoint
    sent_at: float = 0.0
    nodes: int = 0
    waiting_parts: int = 0
    retries: int = 0
    out_of_order: bool = False  # it may find effects of later commands
    result: str = "ok"
    kinds: dict[str, int] = field(default_factory=dict)


def cut(block: Block, count: int) -> tuple[Block, Block | None]:
    """Split a block behind about `count` commands, never between two of one record. No second part = all of it."""
    total = len(block.commands)
    lsns = block.lsns
    if lsns is not None:
        while count < total and lsns[count] == lsns[count - 1]:
            count += 1
    if count >= total:
        return block, None
    share = count / total
    size = int(block.size * share)
    entries = min(block.entries, round(block.entries * share))
    # Which value a command belongs to is not known here: the parts are right about, their sum exactly.
    kinds = {kind: int(number * share) for kind, number in block.kinds.items()}
    head = Block(
        block.db,
        block.commands[:count],
        block.slots[:count] if block.slots is not None else None,
        lsns[:count] if lsns is not None else None,
        block.once[:count] if block.once is not None else None,
        next_lsn=lsns[count] if lsns is not None and block.next_lsn else 0,
        size=size,
        entries=entries,
        arrived=block.arrived,
        tolerant=block.tolerant,
        kinds=kinds,
        too_late=block.too_late,
    )
    tail = Block(
        block.db,
        block.commands[count:],
        block.slots[count:] if block.slots is not None else None,
        lsns[count:] if lsns is not None else None,
        block.once[count:] if block.once is not None else None,
        next_lsn=block.next_lsn,
        size=block.size - size,
        entries=block.entries - entries,
        arrived=block.arrived,
        tolerant=block.tolerant,
        ack_now=block.ack_now,
        kinds={kind: number - kinds[kind] for kind, number in block.kinds.items()},
        too_late=block.too_late,
    )
    return head, tail
