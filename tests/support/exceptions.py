"""Every difference from the recordings' expectation that is right, one by one, with its reason.

A listed difference that does not show up fails the test, so the list can't outlive its truth.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.support.content import MARGIN, Content, Difference

VALKEY, REDIS7, REDIS6 = "valkey-9", "redis-7.0", "redis-6.2"
EVERY_TARGET = (VALKEY, REDIS7, REDIS6)
NO_FIELD_TTL = (REDIS7, REDIS6)


@dataclass(frozen=True, slots=True)
class Excused:
    """One key's right difference in the named recordings on the named targets."""

    recordings: tuple[str, ...]
    targets: tuple[str, ...]
    key: bytes
    aspect: str
    reason: str
    db: int = 0


EXCUSED: tuple[Excused, ...] = ()


REREAD = "only a re-read could give it"


def excused(recording: str, kind: str) -> list[Excused]:
    """What is excused for one recording on one target."""
    return [e for e in EXCUSED if recording in e.recordings and kind in e.targets]


def judge(
    recording: str, kind: str, found: list[Difference], expected: Content
) -> tuple[list[Difference], list[Excused]]:
    """(differences nobody excused, excuses for which there was no difference)."""
    now = int(time.time() * 1000)
    excuses = {(e.db, e.key, e.aspect): e for e in excused(recording, kind)}
    unexplained = [d for d in found if (d.db, d.key, d.aspect) not in excuses]
    seen = {(d.db, d.key, d.aspect) for d in found}
    stale = [e for place, e in excuses.items() if place not in seen and not _outlived(e, expected, now)]
    return unexplained, stale


def _outlived(excuse: Excused, expected: Content, now: int) -> bool:
    """Whether time alone made the difference vanish: what should expire has expired on both sides."""
    entry = expected.get(excuse.db, {}).get(excuse.key)
    if entry is None or excuse.aspect not in ("ttl", "member ttl"):
        return False
    if entry.expires_at is not None and entry.expires_at <= now + MARGIN:
        return True
    return bool(entry.field_expires_at) and max(entry.field_expires_at.values()) * 1000 <= now + MARGIN
