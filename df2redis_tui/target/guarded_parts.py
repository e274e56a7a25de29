"""How the commands of a batch are put on the wire for a cluster's masters, with guards around those that must not be
applied twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Block
from df2redis_tui.target.part import EXEC, EXTRA, MULTI, Part
from df2redis_tui.target.pending import decode_command
from df2redis_tui.target.router import EXEC_WIRE, MULTI_WIRE, Ledger
from df2redis_tui.target.topology import Topology
from df2redis_tui.translate.keys import keys_of, slot_of

MARK_BITS = 32  # places in a batch
TRANSACTION_MOST = 64  # commands: a server runs a transaction without pause


def slots_of_block(block: Block) -> list[int]:
    if block.slots is not None:
        return block.slots
    keys = [keys_of(decode_command(command)) for command in block.commands]
    return [slot_of(k[0] if k else b"") for k in keys]


def places_of(blocks: list[Block], commands: Iterable[bytes]) -> list[int]:
    """Where these commands (objects of the blocks, in order) stand in the batch."""
    everything = enumerate(command for block in blocks for command in block.commands)
    return [next(place for place, other in everything if other is command) for command in commands]


class _Column:
    """What one part is made of: commands, and the transactions around those that carry a guard."""

    __slots__ = ("_inside", "_ledger", "_lsn", "_place", "_sending", "_slot", "commands", "layout", "wires")

    def __init__(self, batch: Batch, ledger: Ledger) -> None:
        self.commands: list[bytes] = []
        self.wires: list[bytes] = []
        self.layout: list[int] = []
        self._sending = batch.seq << MARK_BITS
        self._ledger = ledger
        self._slot = -1  # of the open transaction
        self._inside = 0
        self._lsn = 0
        self._place = 0

    def add(self, commands: list[bytes], slot: int, lsn: int, last_place: int, guarded: bool) -> None:
        """Commands of one record; `last_place` is the last one's place in the batch."""
        if self._slot >= 0 and (self._slot != slot or self._inside >= TRANSACTION_MOST):
            self.close()
        if guarded and self._slot < 0:
            self._slot = slot
            self._inside = 0
            self._lsn = 0
            self.wires.append(MULTI_WIRE)
            self.layout.append(MULTI)
        if self._slot >= 0:
            self._inside += len(commands)
            self._lsn = max(self._lsn, lsn)
            self._place = last_place
        first = len(self.commands)
        self.commands += commands
        self.wires += commands
        self.layout += range(first, first + len(commands))

    def add_plain(self, command: bytes, slot: int, lsn: int, place: int) -> None:
        """The same for the usual record: one command, no guard."""
        if self._slot >= 0:
            self.add([command], slot, lsn, place, False)
            return
        self.layout.append(len(self.commands))
        self.commands.append(command)
        self.wires.append(command)

    def close(self) -> None:
        """End the open transaction."""
        if self._slot < 0:
            return
        self.wires += (self._ledger.guard(self._slot, self._lsn, self._sending | self._place), EXEC_WIRE)
        self.layout += (EXTRA, EXEC)
        self._slot = -1


def guarded_parts(view: Topology, batch: Batch, blocks: list[Block], ledger: Ledger) -> list[Part]:
    columns = [_Column(batch, ledger) for _ in range(len(view.nodes) + 1)]
    index = view.index
    resent = blocks is not batch.blocks
    places: Iterator[int] = (
        iter(places_of(batch.blocks, (c for b in blocks for c in b.commands))) if resent else count()
    )
    for block in blocks:
        commands, slots, once, tolerant = block.commands, slots_of_block(block), block.once, block.tolerant
        number = len(commands)
        lsns = block.lsns or [0] * number
        i = 0
        while i < number:
            slot, lsn = slots[i], lsns[i]
            guarded = once is not None and once[i]
            place = next(places)
            j = i + 1
            if block.lsns is not None and (lsn or tolerant):
                while j < number and lsns[j] == lsn and slots[j] == slot:
                    guarded = guarded or (once is not None and once[j])
                    place = next(places)
                    j += 1
            column = columns[index[slot]]
            if guarded or j > i + 1:
                column.add(commands[i:j], slot, 0 if tolerant else lsn, place, guarded)
            else:
                column.add_plain(commands[i], slot, 0 if tolerant else lsn, place)
            i = j
    parts = []
    for node, column in zip(view.nodes, columns, strict=False):
        column.close()
        if column.commands:
            plain = len(column.layout) == len(column.commands)
            layout = None if plain else column.layout
            parts.append(Part(batch, node, column.commands, b"".join(column.wires), len(column.layout), layout))
    return parts
