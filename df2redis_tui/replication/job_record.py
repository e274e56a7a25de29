"""The job's record on the target: that the job wrote to it, and what the next run has to know."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable
from typing import Protocol

from df2redis_tui.dragonfly.control import MAX_FLOWS
from df2redis_tui.replication.checkpoint import JobKeys
from df2redis_tui.replication.json_record import read_record, whole, words
from df2redis_tui.replication.left_out import Evictions, LeftOut, LeftOutOverRuns
from df2redis_tui.settings import Settings
from df2redis_tui.streams import encode
from df2redis_tui.target.answers import check_each


class Written(Protocol):
    """A target to which commands can be sent at once."""

    @property
    def name(self) -> str: ...

    async def pipeline(self, commands: list[bytes]) -> list[object]: ...


class JobRecord:
    """What is, or is to be, in the key `JobKeys.job_record`."""

    def __init__(
        self, settings: Settings, keys: JobKeys, target: Written, counted: Callable[[], LeftOut] = LeftOut
    ) -> None:
        self.id = secrets.token_hex(8)  # of the copy: its files in the state directory bear it
        self.readable = True  # what an earlier run noted, where one did
        self.started = int(time.time())
        self.clean_up_due = False
        self.cleaning = False
        self.left_out = False  # the source refused what a clean-up asks
        self.leftovers_of = ""  # the jobs for whose sake a clean-up of this run was left out
        self.copied: int | None = None  # keys of this copy that the source has had since; None: not counted
        self.copied_noted = 0  # of which the target knows
        self.flushes = 0  # so many times this run the copy has become empty
        self.existing_keys = 0  # that the target held before the job began
        self.refusal = ""  # what an earlier run of this job stopped at
        self.flows = 0  # so many FLOWs may have checkpoints on the target
        self.held = True  # keys may have later expiry times on the target than on the source, until a run ends well
        self.held_before = False  # an earlier run has left such keys
        self.lacks = LeftOutOverRuns(counted)
        self.evictions = Evictions()
        self._settings = settings
        self._keys = keys
        self._target = target

    def read(self, record: object) -> None:
        """Take over what GET answered; of an unreadable record only that a clean-up is due.

        One without an id (an earlier release wrote it) gets one: no file here can be bound to it.
        """
        if not isinstance(record, bytes):
            return
        try:
            found = read_record(record)
            known = found.get("id")
            self.id = known if isinstance(known, str) and re.fullmatch("[0-9a-f]{16}", known) else self.id
            self.clean_up_due = bool(found["clean_up"])
            self.started = whole(found["started"])
            self.existing_keys = whole(found["existing"])
            self.refusal = words(found.get("refusal", ""))
            self.saw_flows(whole(found.get("flows", 0)))
            self.held_before = bool(found.get("held", True))
            self.copied = whole(found.get("copied") or 0) or None
            self.copied_noted = self.copied or 0
            if "left_out" in found:  # no earlier release wrote it
                self.lacks.earlier = self.lacks.noted = LeftOut.read(found["left_out"])
                self.evictions.read(found["evicted"])
        except (ValueError, KeyError):
            self.clean_up_due = True
            self.readable = False

    def flushed(self) -> None:
        """The copy becomes empty, or is begun anew: few keys are what is to be expected."""
        self.copied = self.copied_noted = 0
        self.flushes += 1

    def saw_flows(self, flows: int) -> None:
        self.flows = max(self.flows, min(flows, MAX_FLOWS))

    def command(self) -> bytes:
        """The command that notes on the target that this job wrote to it, and what it still has to remove there."""
        value = json.dumps(
            {
                "id": self.id,
                "job": self._settings.job,
                "source": self._settings.source.label,
                "started": self.started,
                "clean_up": self.clean_up_due or self.cleaning or self.left_out,
                "existing": self.existing_keys,
                "refusal": self.refusal,
                "flows": self.flows,
                "held": self.held,
                "copied": self.copied or 0,
                "left_out": self.lacks.as_json(),
                "evicted": self.evictions.counts,
            }
        )
        return encode("SET", self._keys.job_record, value)

    async def write(self, *others: bytes) -> None:
        """Write it, and `others` with it. Raises TargetError, TargetLost."""
        lacks = self.lacks.now()
        commands = [self.command(), *others]
        check_each(self._target.name, "the job's record", commands, await self._target.pipeline(commands))
        self.lacks.noted = lacks
