"""Asks the target again and again for what is shown of it: memory, role."""

from __future__ import annotations

import logging
import time

import anyio

from df2redis_tui.errors import Df2RedisError
from df2redis_tui.replication.job_state import JobState

log = logging.getLogger(__name__)

FACTS_EVERY = 5.0  # seconds between two looks at the target's INFO


async def keep_facts(job: JobState) -> None:
    told = ""
    while True:
        await anyio.sleep(FACTS_EVERY)
        job.target_asked_at = job.target_asked_at or time.monotonic()
        try:
            await job.target.refresh_facts()
            job.target_asked_at, told = None, ""
        except Df2RedisError as error:
            if str(error) != told:
                told = str(error)
                log.info("The target does not say how it is", extra={"fields": {"reason": told}})
