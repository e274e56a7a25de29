"""What a job noted on its target, in JSON: read as what anybody may have written there."""

from __future__ import annotations

import json
from typing import Any

from df2redis_tui.errors import printable

WHOLE_MOST = 2**63


def read_record(raw: bytes) -> dict[str, Any]:
    """The members of a JSON object. Raises ValueError for everything else."""
    try:
        found = json.loads(raw)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def whole(value: object, least: int = 0) -> int:
    """An integer from `least` on, which 64 bits hold. Raises ValueError."""
    if not isinstance(value, int) or not least <= value < WHOLE_MOST:
        raise ValueError("no whole number")
    return value


def words(value: object) -> str:
    """A text, fit to be shown."""
    return printable(str(value).encode("utf-8", "backslashreplace"), 400)
