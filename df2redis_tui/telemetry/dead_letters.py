"""What could not be copied: an error under the policy `stop`, a line in `dead-letters.jsonl` under `skip`."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import stat
import time
from collections import OrderedDict
from pathlib import Path
from typing import Final, Literal

from df2redis_tui.errors import ConfigError, NotCopied, printable
from df2redis_tui.files import make_private, open_state
from df2redis_tui.masking import masked
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
        self.open = 0  # of these, of whose keys no value was copied since, as far as that is known
        self.unrecorded = 0  # of these, that are not in the file
        self.why_unrecorded = ""
        self._policy = policy
        self._value_limit = value_limit
        self._remember = remember
        self._refused: OrderedDict[bytes, int] = OrderedDict()  # digest of the key → letters
        self._descriptor: int | None = None

    def refuse(self, refusal: Refusal) -> None:
        """Raise NotCopied (policy `stop`), or append one letter; what can't be written is counted, its key logged."""
        if self._policy == "stop":
            raise NotCopied(
                f"{_described(refusal)} can't be copied: {refusal.reason}; {_GONE[refusal.on_target]}"
                f"--on-error skip records such keys in {self.path} and goes on"
            )
        try:
            self._append(self._letter(refusal))
        except OSError as error:
            self.unrecorded += 1
            self.why_unrecorded = error.strerror or str(error)
            _log.error(
                f"{_described(refusal)} can't be copied ({refusal.reason}), "
                f"nor recorded in {self.path}: {self.why_unrecorded}"
            )
        self.count += 1
        self.open += 1
        if refusal.of_key and refusal.on_target != "incomplete":
            digest = _digest(refusal.db, refusal.key)
            self._refused[digest] = self._refused.get(digest, 0) + 1
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
        self.open -= self._refused.pop(_digest(db, key), 0)

    def refused(self, db: int, key: bytes) -> bool:
        return bool(self._refused) and _digest(db, key) in self._refused

    def check(self) -> None:
        """Raise ConfigError where letters of the policy `skip` could not be written. Makes nothing."""
        if self._policy == "skip" and os.path.lexists(self.path):
            try:
                os.close(open_state(self.path, os.O_RDWR | os.O_APPEND, device=True))
            except OSError as error:
                raise ConfigError(
                    f"--state-dir: the dead letters {self.path} can't be used: {error.strerror}"
                ) from None

    def close(self) -> None:
        """Close the file, after its content is on the disk. May be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fsync(descriptor)
        except OSError as error:  # letters that the system had taken, and the disk has not
            self.unrecorded = self.unrecorded or 1
            self.why_unrecorded = error.strerror or str(error)
            _log.error(f"the dead letters {self.path} may be incomplete: {self.why_unrecorded}")
        finally:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _letter(self, refusal: Refusal) -> bytes:
        value = refusal.payload[: self._value_limit]
        letter = {
            "time": round(time.time(), 3),
            "db": refusal.db,
            "key": printable(refusal.key),
            "key_base64": base64.b64encode(refusal.key).decode(),
            "type": refusal.type,
            "reason": masked(refusal.reason),
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
        make_private(self.path.parent)
        descriptor = open_state(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, device=True)
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
