"""The local state file: what the checkpoints say, for people. The target is the truth."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.to_thread

from df2redis_tui.files import make_private, replace_file
from df2redis_tui.masking import masked
from df2redis_tui.replication.job_state import JobState

log = logging.getLogger(__name__)

MIRROR_EVERY = 1.0


def write_mirror(path: Path, state: Mapping[str, object]) -> None:
    """Whole or not at all, 0600. Raises OSError."""
    make_private(path.parent)
    text = masked(json.dumps({"written_at": int(time.time()), **state}, indent=1)) + "\n"
    replace_file(path, lambda file: file.write(text.encode()), durable=False)


async def keep_mirror(job: JobState) -> None:
    """Write it whenever something changed; what can't be written is said once."""
    path = job.settings.state_dir / f"{job.settings.job}.json"
    told = False
    before: dict[str, object] = {}
    while not job.state_lock.lost:
        state = _mirrored(job)
        if state != before:
            try:
                await anyio.to_thread.run_sync(write_mirror, path, state, abandon_on_cancel=True)
                before, told = state, False
            except OSError as error:
                if not told:
                    job.records.event("warning", "state", f"can't write {path}: {error.strerror}")
                    log.warning("State file", extra={"fields": {"path": str(path), "reason": error.strerror}})
                told = True
        if job.snapshot_confirmed:
            await job.old.full_sync_done()
        await anyio.sleep(MIRROR_EVERY)


def _mirrored(job: JobState) -> dict[str, object]:
    greeting = job.greeting
    return {
        "job": job.settings.job,
        "source": job.settings.source.label,
        "target": job.settings.target.label,
        "master_id": greeting.master_id if greeting is not None else None,
        "phase": job.phase.value,
        "next_lsn": [state.stats.lsn_confirmed for state in job.flows],
    }
