"""The error tree. Each error is one line for an operator and knows the exit code it ends the program with.

Messages never hold a password, key material or raw bytes from the wire (use `printable`).
"""

from __future__ import annotations

from typing import ClassVar, Final, Self

from df2redis_tui.masking import masked

EXIT_DONE: Final = 0
EXIT_CONFIG: Final = 2
EXIT_SOURCE: Final = 3
EXIT_TARGET: Final = 4
EXIT_NOT_COPIED: Final = 5
EXIT_INTERRUPTED: Final = 6  # 128 + the signal's number where a signal asked for the end
EXIT_UNCONFIRMED: Final = 7
_READ_MOST: Final = 64 * 1024  # bytes of a text that are looked at


def printable(raw: bytes, limit: int = 120) -> str:
    """Wire bytes as safe one-line text: passwords masked, control bytes and invalid UTF-8 escaped, then cut to `limit`
    characters."""
    text = masked(raw[:_READ_MOST].decode("utf-8", "backslashreplace"))
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: limit + 1])
    return safe if len(safe) <= limit and len(raw) <= _READ_MOST else safe[:limit] + "…"


class Df2RedisError(Exception):
    """Base of everything this program raises on purpose."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    advice: str | None = None  # what to do; None = what goes for every error of this kind

    def __str__(self) -> str:
        return masked(super().__str__())


class ConfigError(Df2RedisError):
    """The operator's settings can't be used; the text says which and what to do."""

    exit_code = EXIT_CONFIG


class SourceError(Df2RedisError):
    """Dragonfly refused something or misbehaved."""

    exit_code = EXIT_SOURCE


class SourceLost(SourceError):
    """A source connection ended or the session was cancelled; a new session may succeed."""

    retryable = True


class ResyncNeeded(SourceError):
    """The running full sync became void: the source was flushed meanwhile. `db` None = all databases."""

    retryable = True

    def __init__(self, reason: str, db: int | None) -> None:
        self.db = db
        super().__init__(reason)


class DecodeError(SourceError):
    """A FLOW's bytes are malformed. `flow`, `offset` (bytes since the stream began) and `context` say where."""

    advice = "run the same command again; if it fails there again, the source holds it damaged: mend or delete it there"

    def __init__(self, reason: str, *, flow: int = -1, offset: int = -1, context: bytes = b"") -> None:
        self.reason = reason
        self.flow = flow
        self.offset = offset
        self.context = context
        super().__init__(reason)

    def __str__(self) -> str:
        near = f" near {self.context[:16].hex(' ')}" if self.context else ""
        return masked(f"FLOW {self.flow}: malformed stream at byte {self.offset:,}: {self.reason}{near}")


class TargetError(Df2RedisError):
    """The target refused something or can't be used."""

    exit_code = EXIT_TARGET


class TargetLost(TargetError):
    """A target connection ended; a new one may succeed."""

    retryable = True


class DataLost(TargetError):
    """The target no longer has all of what it confirmed."""

    advice = (
        "run the same command again: it goes on from what the target still has, where its checkpoints are whole, and "
        "begins with a full sync where not; a target that keeps its data through a restart (appendonly yes) is spared "
        "this"
    )

    @classmethod
    def of(cls, where: str, had: str, has: str) -> Self:
        return cls(
            f"{where} has lost data: it had confirmed {had} and has {has} (restarted without persistence, restored "
            "from an older copy, or emptied by others)"
        )


class NotCopied(Df2RedisError):
    """Something has no equivalent on the target and the policy is `stop`."""

    exit_code = EXIT_NOT_COPIED
