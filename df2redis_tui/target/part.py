"""A part: what one batch sends to one node, and what came back for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.translate.scripts import MOVED_ONTO_ITSELF

# Of these the reply 0 says that there is no such key (or that it had no TTL); of a list moved onto itself, that it is
# not known whether it still has one.
LOOKED_AT = (
    b"*3\r\n$9\r\nPEXPIREAT\r\n", b"*2\r\n$7\r\nPERSIST\r\n", b"*3\r\n$4\r\nCOPY\r\n", b"*4\r\n$4\r\nCOPY\r\n",
    *MOVED_ONTO_ITSELF,
)  # fmt: skip

# Marks in a part's layout, where a reply belongs to no command.
MULTI, EXTRA, EXEC = -1, -2, -3


@dataclass(slots=True, eq=False)
class Part:
    """`commands` in order; `replies` expected in all. `layout[i]` is the command that reply i belongs to, or a mark;
    None = the i-th reply is the i-th command's. `failures` maps command index → error text."""

    batch: Batch
    node: str
    commands: list[bytes]
    wire: bytes
    replies: int
    layout: list[int] | None = None
    seen: int = 0
    sent_at: float = 0.0
    failures: dict[int, str] = field(default_factory=dict)
    looked_at: bool = False  # there are LOOKED_AT commands in it
    no_key: list[int] = field(default_factory=list)  # indexes of those that found nothing
    extra_error: str = ""  # of a SELECT or checkpoint that travelled along
    aborted: bool = False  # its transaction did not run
    lost: bool = False  # the connection ended before all replies came

    @property
    def finished(self) -> bool:
        return self.seen == self.replies

    def fail(self, reply_index: int, error: str) -> None:
        """Note an error reply."""
        if self.layout is None:
            self.failures[reply_index] = error
            return
        command = self.layout[reply_index]
        if command >= 0:
            self.failures[command] = error
        elif command == EXEC:
            # The transaction did not run: none of its commands was applied.
            self.aborted = True
            i = reply_index - 1
            while i >= 0 and self.layout[i] != MULTI:
                if self.layout[i] >= 0:
                    self.failures.setdefault(self.layout[i], self.extra_error or error)
                i -= 1
        else:
            self.extra_error = error

    def exec_results(self, reply_index: int, results: list[object], error_type: type) -> None:
        """Note the replies inside an EXEC's array that matter."""
        first = reply_index - len(results)
        for i, result in enumerate(results):
            if isinstance(result, error_type):
                self.fail(first + i, str(result))
            elif result == 0 and self.looked_at:
                self.nothing(first + i)

    def nothing(self, reply_index: int) -> None:
        """Note the reply 0."""
        command = reply_index if self.layout is None else self.layout[reply_index]
        if command >= 0 and self.commands[command].startswith(LOOKED_AT):
            self.no_key.append(command)

    @property
    def counted(self) -> bool:
        """Whether no reply outside of its only transaction has to be looked at, so that counting them is enough."""
        layout = self.layout
        if not self.looked_at:
            return True
        return layout is not None and layout[0] < 0 and layout[-1] == EXEC and layout.count(EXEC) == 1

    @property
    def array_due(self) -> bool:
        """Whether the next reply may be an array. Inside a transaction only the last one is."""
        layout = self.layout
        if layout is None:
            return True
        mark = layout[self.seen]
        return mark == EXEC or (mark >= 0 and self._transaction_at(self.seen) is None)

    def _transaction_at(self, index: int) -> int | None:
        """Where the MULTI stands of the transaction that the reply at `index` belongs to."""
        layout = self.layout or []
        i = index - 1
        while i >= 0 and layout[i] != EXEC:
            if layout[i] == MULTI:
                return i
            i -= 1
        return None

    def unconfirmed(self) -> range:
        """Indexes of the commands whose own reply has not come (all commands of transactions still open included)."""
        if self.layout is None:
            return range(self.seen, len(self.commands))
        # Replies inside an open transaction say QUEUED, not done: go back to its MULTI.
        begun = self._transaction_at(self.seen)
        first = self.seen if begun is None else begun
        commands = [c for c in self.layout[first:] if c >= 0]
        return range(commands[0], len(self.commands)) if commands else range(0)
