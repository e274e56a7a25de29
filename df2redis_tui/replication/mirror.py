"""The local state file: what the checkpoints say, for people. The target is the truth."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.to_thread

from df2redis_tui.replication.job_state import JobState

log = logging.getLogger(__name__)

MIRROR_EVERY = 1.0


def write_mirror(path: Path, state: Mapping[str, object]) -> None:
    """Atomically, 0600. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump({"written_at": int(time.time()), **state}, file, indent=1)
            file.write("\n")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


async def keep_mirror(job: JobState) -> None:
    """Write it whenever something changed; what can't be written is said once."""
    path = job.settings.state_dir / f"{job.settings.job}.json"
    told = False
    before: dict[str, object] = {}
    while True:
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
