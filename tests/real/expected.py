"""What is known to fail, in one place: case → why. Take a line out when the reason is gone."""

from __future__ import annotations

import pytest

_NUMBERS = "numbers that Dragonfly takes and Redis refuses are not written in Redis' form yet"
_ROTATION = "a list of one element that is moved onto itself loses its TTL on the target"

WAITING: dict[str, str] = {
    "lag-longer-than-ttls": "a target that expires a key early makes the commands behind it fail",
    "restarts-empty": "a source that comes back empty empties the target",
    "flush-leaves-others": "a flush removes keys that the copy does not own",
    "ended-early": "a run that ends before the snapshot is confirmed claims to be complete",
    "restore-far": "RESTORE with a TTL beyond 2^28 - 1 seconds, which Dragonfly cuts to that",
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


def may_fail(request: pytest.FixtureRequest, name: str) -> None:
    """Let this test fail if `name` is listed."""
    if reason := WAITING.get(name):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=False))
