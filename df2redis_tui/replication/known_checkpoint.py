"""What of a FLOW's checkpoint on one server is known to stand there, to tell a target that has lost it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """A checkpoint at `lsn` or a later one stands there, and where `seq` is not 0 it came with this sending of this run
    or a later one. `time` changes whenever it is removed on purpose."""

    lsn: int
    seq: int
    time: int


class KnownCheckpoint:
    """One per FLOW. Ask for what is `now` known before the target is asked, compare afterwards."""

    def __init__(self) -> None:
        self._lsn = 0
        self._seq = 0
        self._removed_behind = 0  # the checkpoints of sendings up to this one may have been removed
        self._time = 0

    @property
    def now(self) -> Known | None:
        """None: there need not be one."""
        return Known(self._lsn, self._seq, self._time) if self._lsn or self._seq else None

    def stands(self, lsn: int, seq: int) -> None:
        if seq > self._removed_behind:
            self._seq = max(self._seq, seq)
            self._lsn = max(self._lsn, lsn)

    def moved_to(self, lsn: int) -> None:
        """It was written by itself."""
        self._lsn = lsn

    def removed(self, sent: int) -> None:
        """On purpose, or it is about to be. `sent`: the newest sending that may have brought one."""
        self._lsn = self._seq = 0
        self._removed_behind = sent
        self._time += 1

    def lost(self, flow: int, known: Known, lsn: int | None, seq: int) -> tuple[str, str] | None:
        """What the target had confirmed when that was `known` and what it has, where that is less. `lsn` None: it has
        no checkpoint; `seq` 0: none of this run."""
        if known.time != self._time or (lsn is not None and lsn >= known.lsn and seq >= known.seq):
            return None
        if not known.seq:
            return f"FLOW {flow} up to LSN {known.lsn:,}", "none of it" if lsn is None else f"it up to LSN {lsn:,}"
        has = f"no more than {seq:,} of them" if lsn is not None and seq else "none of them"
        return f"{known.seq:,} batch{'' if known.seq == 1 else 'es'} of FLOW {flow}", has
