"""A part: what one batch sends to one node, and what came back for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import hiredis

from df2redis_tui.errors import printable
from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.target.answers import (
    QUEUED,
    Denied,
    WrongAnswer,
    all_as_due,
    check,
    results_of,
    transaction_refused,
)
from df2redis_tui.translate.scripts import MOVED_ONTO_ITSELF

# Of these the reply 0 says that there is no such key (or that it had no TTL); of a list moved onto itself, that it is
# not known whether it still has one.
LOOKED_AT = (
    b"*3\r\n$9\r\nPEXPIREAT\r\n", b"*2\r\n$7\r\nPERSIST\r\n", b"*3\r\n$4\r\nCOPY\r\n", b"*4\r\n$4\r\nCOPY\r\n",
    *MOVED_ONTO_ITSELF,
)  # fmt: skip

# Marks in a part's layout, where a reply belongs to no command. EXTRA: a checkpoint, a guard.
MULTI, EXTRA, EXEC, SELECT = -1, -2, -3, -4
_NAMES = {MULTI: "MULTI", EXTRA: "a checkpoint", EXEC: "EXEC", SELECT: "SELECT"}


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
    unfit: set[int] = field(default_factory=set)  # of those: refused before it ran, whatever its key holds
    looked_at: bool = False  # there are LOOKED_AT commands in it
    values: bool = False  # of a snapshot, as far as is known all of them SETs
    no_key: list[int] = field(default_factory=list)  # indexes of those that found nothing
    extra_error: str = ""  # of a SELECT or checkpoint that travelled along
    aborted: bool = False  # its transaction did not run
    lost: bool = False  # the connection ended before all replies came
    _behind: int = 0  # the last EXEC answered
    _multi: int = -1  # of the transaction that is open or comes next
    _exec: int = -1  # its EXEC
    _cause: str = ""  # for which nothing of the open transaction will run

    @property
    def finished(self) -> bool:
        return self.seen == self.replies

    @property
    def simple(self) -> bool:
        """Whether it is one transaction, and nothing but SELECTs stands outside of it."""
        layout = self.layout
        return layout is not None and layout[0] < 0 and layout[-1] == EXEC and layout.count(EXEC) == 1

    def queued(self) -> bool:
        """Whether `QUEUED` is what is due next, of the commonest replies; it is taken then."""
        if self._multi < self.seen < self._exec:
            self.seen += 1
            return True
        return False

    def take(self, reply: object) -> None:
        """The next reply. Raises WrongAnswer, and Denied for what no later try changes."""
        index, layout = self.seen, self.layout
        self.seen = index + 1
        if isinstance(reply, hiredis.ReplyError):
            self.fail(index, str(reply))
            return
        if layout is None:
            self._result(index, reply)
            return
        mark = layout[index]
        if mark == EXEC:
            self.exec_results(index, reply)
        elif index > self._begins():
            if reply != QUEUED:
                raise WrongAnswer(f"{self._name(mark)} in a transaction", reply, "`QUEUED`")
        elif mark >= 0:
            self._result(mark, reply)
        elif reply != b"OK" and (mark != EXTRA or type(reply) is not int):
            raise WrongAnswer(self._name(mark), reply, "`OK`")

    @property
    def inside(self) -> bool:
        """Whether the next reply is one of a transaction."""
        return self.layout is not None and self.seen > self._begins()

    def lines_due(self, count: int) -> tuple[int, int] | None:
        """Of its next `count` replies, none of which is an error, nil, a text or an array: how many have to be
        `QUEUED`, how many `OK`; the rest are either `OK` or a number. None: that can't be."""
        if self.layout is None:
            return 0, count if self.values else 0
        end = self.seen + count
        if end == self.replies or not self.simple:
            return None
        queued = max(0, end - max(self.seen, self._begins() + 1))
        return queued, count - queued

    def _result(self, command: int, reply: object) -> None:
        check(self.commands[command], reply)
        if reply == 0 and self.looked_at:
            self.nothing(command)

    def _begins(self) -> int:
        """Where the MULTI stands of the transaction that is open or comes next."""
        layout = self.layout or []
        if self._multi < self._behind:
            try:
                self._multi = layout.index(MULTI, self._behind)
                self._exec = layout.index(EXEC, self._multi)
            except ValueError:
                self._multi = self._exec = len(layout)
        return self._multi

    def _name(self, mark: int) -> str:
        return "a command" if mark >= 0 else _NAMES[mark]

    def fail(self, reply_index: int, error: str) -> None:
        """Note an error reply."""
        if self.layout is None:
            self.failures[reply_index] = error
            return
        mark = self.layout[reply_index]
        if mark >= 0:
            self.failures[mark] = error
            if reply_index > self._begins():
                self.unfit.add(mark)
            return
        self.extra_error = error
        if mark != EXEC:
            self._cause = self._cause or error
            if denied := transaction_refused(_NAMES[mark], error):
                raise denied
            return
        # The transaction did not run: none of its commands was applied.
        cause, self._cause = self._cause or error, ""
        if denied := transaction_refused("EXEC", cause):
            raise denied
        self.aborted = True
        for command in self.layout[self._begins() + 1 : reply_index]:
            if command >= 0:
                self.failures.setdefault(command, cause)
        self._behind = reply_index + 1

    def exec_results(self, reply_index: int, reply: object) -> None:
        """Note the replies inside an EXEC's array that matter."""
        assert self.layout is not None
        inside = self.layout[self._begins() + 1 : reply_index]
        if reply is None:
            self.fail(reply_index, "EXECABORT the transaction did not run")
            return
        results = results_of("EXEC", reply, len(inside))
        begin = 0 if self.looked_at else self._as_due(inside, results)
        commands, looked_at = self.commands, self.looked_at
        for command, result in zip(inside[begin:], results[begin:], strict=True):
            if command >= 0:
                if isinstance(result, hiredis.ReplyError):
                    self.failures[command] = str(result)
                    continue
                check(commands[command], result)
                if looked_at and result == 0:
                    self.nothing(command)
            elif isinstance(result, hiredis.ReplyError):
                # The data was written, the checkpoint was not.
                raise Denied(f"refuses {_NAMES[command]}: {printable(str(result).encode('utf-8', 'backslashreplace'))}")
            elif result != b"OK" and type(result) is not int:
                raise WrongAnswer(f"{_NAMES[command]} in a transaction", result, "`OK` or a number")
        self._behind = reply_index + 1

    def _as_due(self, inside: list[int], results: list[object]) -> int:
        """How many of an EXEC's first results are what their commands are answered."""
        count = len(inside)
        while count and inside[count - 1] < 0:
            count -= 1
        # Commands of a part stand in order: what lies between the first and the last is all of them, or has a SELECT.
        first = inside[0] if count else -1
        if first < 0 or inside[count - 1] - first != count - 1:
            return 0
        return count if all_as_due(self.commands[first : first + count], results[:count]) else 0

    def nothing(self, command: int) -> None:
        """Note the reply 0."""
        if self.commands[command].startswith(LOOKED_AT):
            self.no_key.append(command)

    @property
    def counted(self) -> bool:
        """Whether no reply outside of its only transaction has to be looked at, so that counting them is enough."""
        return not self.looked_at or self.simple

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
