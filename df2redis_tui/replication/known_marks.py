"""Which marks are known to stand on the target (`marks`), and what they say."""

from __future__ import annotations


class KnownMarks:
    """One per run."""

    def __init__(self, run: str) -> None:
        self._run = run.encode()
        self.known: dict[bytes, int] = {}  # key → batches that were confirmed when it was written
        self.written = 0  # batches that were confirmed when all were written last
        self.time = 0  # changes whenever they are removed on purpose
        self._before = 0  # batches of FLOWs that are no more
        self._of_flows = 0

    def confirmed(self, batches: int) -> int:
        """So many of the FLOWs there are now; returns those of the run."""
        if batches < self._of_flows:
            self._before += self._of_flows
        self._of_flows = batches
        return self._before + batches

    def value(self, batches: int) -> bytes:
        return b"%b:%d" % (self._run, batches)

    def stands(self, key: bytes, batches: int) -> None:
        self.known[key] = batches

    def removed(self) -> None:
        """On purpose, or they are about to be."""
        self.known.clear()
        self.written = 0
        self.time += 1

    def read(self, value: bytes | None) -> int:
        """The batches that a mark on the target says, 0 where it is none of this run."""
        run, _, batches = (value or b"").partition(b":")
        return int(batches) if run == self._run and batches.isdigit() and len(batches) < 19 else 0
