"""Which of the errors that end a session or a run together is the one that says why."""

from __future__ import annotations

from df2redis_tui.errors import (
    ConfigError,
    Df2RedisError,
    NotCopied,
    ResyncNeeded,
    SourceError,
    SourceLost,
    TargetError,
)
from df2redis_tui.replication.session import PartialRefused

_WORST = (ConfigError, NotCopied, TargetError, SourceError)


def significant(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception of a group that says why: an unexpected one first, then by what an operator must act on."""
    flat: list[BaseException] = []

    def walk(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                walk(inner)
        else:
            flat.append(error)

    walk(group)
    for error in flat:
        if not isinstance(error, (Df2RedisError, PartialRefused)):
            return error
    for kind in _WORST:
        for error in flat:
            if isinstance(error, kind) and not (isinstance(error, (SourceLost, ResyncNeeded))):
                return error
    for error in flat:
        if isinstance(error, ResyncNeeded):
            return error
    return flat[0]
