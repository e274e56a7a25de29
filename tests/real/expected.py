"""What is known to fail, in one place: case → why. Take a line out when the reason is gone."""

from __future__ import annotations

_NUMBERS = "numbers that Dragonfly takes and Redis refuses are not written in Redis' form yet"
_ROTATION = "a list of one element that is moved onto itself loses its TTL on the target"

WAITING: dict[str, str] = {
    "rotate-ttl": _ROTATION,
    "rotate-ttl-blocking": _ROTATION,
    "lenient-incrby": _NUMBERS,
    "lenient-hincrby": _NUMBERS,
    "lenient-lset": _NUMBERS,
    "lenient-ltrim": _NUMBERS,
    "lenient-lrem": _NUMBERS,
    "lenient-lpop": _NUMBERS,
    "lenient-setrange": _NUMBERS,
    "lenient-setbit": _NUMBERS,
    "lenient-bitfield": _NUMBERS,
    "lenient-zincrby": _NUMBERS,
    "lenient-zremrangebyrank": _NUMBERS,
    "lenient-zpop": _NUMBERS,
    "lenient-hsetex": _NUMBERS,
    "lenient-xdel": _NUMBERS,
    "lenient-xclaim": _NUMBERS,
    "lenient-xautoclaim": _NUMBERS,
}


def waits_for(case: str) -> str:
    """Why a case may fail, "" when it may not."""
    return WAITING.get(case, "")
