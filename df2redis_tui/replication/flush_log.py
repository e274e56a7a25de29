"""The log line of each flush, `Flushing batch`; those that follow one another fast share a line."""

from __future__ import annotations

import logging

from df2redis_tui.pipeline.batch import Batch

log = logging.getLogger(__name__)

LOG_EVERY = 0.01  # seconds: flushes that follow faster are counted into the next line


class FlushLog:
    """Of one FLOW."""

    def __init__(self, flow: int) -> None:
        self._flow = flow
        self._logged_at = 0.0
        self._flushes = 0  # without a line of their own
        self._entries = 0

    def flushed(self, batch: Batch, now: float, took_ms: float) -> None:
        """The target has confirmed this batch. A batch with trouble always gets its line."""
        if not log.isEnabledFor(logging.INFO):
            return
        if now - self._logged_at < LOG_EVERY and batch.result == "ok":
            self._flushes += 1
            self._entries += batch.entries
            return
        self._logged_at = now
        fields: dict[str, object] = {
            "flow": self._flow,
            "batch": batch.number,
            "entries": batch.entries,
            "bytes": batch.size,
            "nodes": batch.nodes,
            "ms": round(took_ms, 2),
        }
        if self._flushes:
            fields |= {"unlogged_batches": self._flushes, "unlogged_entries": self._entries}
            self._flushes = self._entries = 0
        if batch.result != "ok":
            fields["result"] = batch.result
        log.info("Flushing batch", extra={"fields": fields})
