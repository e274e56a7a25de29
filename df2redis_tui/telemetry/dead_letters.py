"""What could not be copied: an error under the policy `stop`, a line in `dead-letters.jsonl` under `skip`."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import time
from collections import OrderedDict
from pathlib import Path
from typing import Final, Literal

from df2redis_tui.errors import NotCopied, printable
from df2redis_tui.telemetry.logs import get_logger
from df2redis_tui.translate.refusals import Refusal

_GONE: Final = {"removed": "an older value of it is removed from the target; ", "incomplete": "", "untouched": ""}
DEAD_LETTER_FILE: Final = "dead-letters.jsonl"
_REMEMBERED: Final = 200_000  # about 30 MB of digests; keys themselves may be of any size
_log = get_logger(__name__)


class DeadLetters:
    """The refusal port of a run.

    `path` is the file (made, with its directory, at the first letter), `value_limit` the bytes of a value kept in a
    letter, `remember` how many refused keys are known by `refused` (the oldest are forgotten).
    """

    def __init__(
        self,
        path: Path,
        policy: Literal["stop", "skip"],
        value_limit: int = 64 * 1024,
        *,
        remember: int = _REMEMBERED,
    ) -> None:
        self.path = path
        self.count = 0
        self._policy = policy
        self._value_limit = value_limit
        self._remember = remember
        self._refused: OrderedDict[bytes, None] = OrderedDict()
        self._descriptor: int | None = None

    def refuse(self, refusal: Refusal) -> None:
        """Raise NotCopied (policy `stop`, or the letter can't be written), or append one letter."""
        if self._policy == "stop":
            raise NotCopied(
                f"{_described(refusal)} can't be copied: {refusal.reason}; {_GONE[refusal.on_target]}"
                f"--on-error skip records such keys in {self.path} and goes on"
            )
        try:
            self._append(self._letter(refusal))
        except OSError as error:
            raise NotCopied(
                f"{_described(refusal)} can't be copied ({refusal.reason}), "
                f"nor recorded in {self.path}: {error.strerror}"
            ) from None
        self.count += 1
        if refusal.of_key and refusal.on_target != "incomplete":
            self._refused[_digest(refusal.db, refusal.key)] = None
        if len(self._refused) > self._remember:
            self._refused.popitem(last=False)
        _log.warning(
            f"dead letter: {refusal.reason}",
            flow=refusal.flow,
            db=refusal.db,
            key=printable(refusal.key),
            type=refusal.type,
            on_target=refusal.on_target,
        )

    @property
    def any_refused(self) -> bool:
        return bool(self._refused)

    def copied(self, db: int, key: bytes) -> None:
        """The key is forgotten; its letter stays."""
        self._refused.pop(_digest(db, key), None)

    def refused(self, db: int, key: bytes) -> bool:
        return bool(self._refused) and _digest(db, key) in self._refused

    def close(self) -> None:
        """Close the file, after its content is on the disk. May be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _letter(self, refusal: Refusal) -> bytes:
        value = refusal.payload[: self._value_limit]
        letter = {
            "time": round(time.time(), 3),
            "db": refusal.db,
            "key": printable(refusal.key),
            "key_base64": base64.b64encode(refusal.key).decode(),
            "type": refusal.type,
            "reason": refusal.reason,
            "flow": refusal.flow,
            "lsn": refusal.lsn,
            "on_target": refusal.on_target,
            "value_base64": base64.b64encode(value).decode(),
            "value_bytes": len(refusal.payload),
            "truncated": len(value) < len(refusal.payload),
        }
        return json.dumps(letter, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"

    def _append(self, line: bytes) -> None:
        descriptor = self._descriptor if self._descriptor is not None else self._open()
        before = os.fstat(descriptor).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            # Half a line would make the letters after it unreadable too.
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.ftruncate(descriptor, before)
            raise

    def _open(self) -> int:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            os.fchmod(descriptor, 0o600)
        size = status.st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            # A run that was killed in the middle of a line left it; ours begins on its own.
            os.write(descriptor, b"\n")
        return descriptor


def _described(refusal: Refusal) -> str:
    where = f", FLOW {refusal.flow}" if refusal.flow >= 0 else ""
    at = f", LSN {refusal.lsn}" if refusal.lsn is not None else ""
    if not refusal.of_key:
        return f"the command {refusal.type} of the source's journal (db {refusal.db}{where}{at})"
    return f"the key {printable(refusal.key)!r} (db {refusal.db}, {refusal.type}{where}{at})"


def _digest(db: int, key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=16, salt=db.to_bytes(8, "little", signed=True)).digest()
