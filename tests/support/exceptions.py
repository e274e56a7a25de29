"""Every difference from the recordings' expectation that is right, one by one, with its reason.

A listed difference that does not show up fails the test, so the list can't outlive its truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.content import Difference

VALKEY, REDIS7, REDIS6 = "valkey-9", "redis-7.0", "redis-6.2"
EVERY_TARGET = (VALKEY, REDIS7, REDIS6)
NO_FIELD_TTL = (REDIS7, REDIS6)
COUNTING = (VALKEY, REDIS7)  # streams have entries-added and max-deleted-entry-id

OLD_3, OLD_2 = "df-1.15.1-lz4-3flows", "df-1.15.1-plain-2flows"
OLD_LIVE = "df-1.15.1-liveload-2flows"
MIDDLE_3, MIDDLE_2 = "df-1.27.1-lz4-3flows", "df-1.27.1-zstd-2flows"
NEW_1 = "df-1.40.1-plain-1flow"
NEW_MANY = (
    "df-1.40.1-lz4-3flows",
    "df-1.40.1-lzf-2flows",
    "df-1.40.1-tinychunks-2flows",
    "df-1.40.1-untagged-2flows",
    "df-1.40.1-zstd-2flows",
)
OLD, MIDDLE, NEW = (OLD_3, OLD_2), (MIDDLE_3, MIDDLE_2), (NEW_1, *NEW_MANY)
OLD_AGAIN, MIDDLE_AGAIN = tuple(f"{r}/resume" for r in OLD), tuple(f"{r}/resume" for r in MIDDLE)
FIRST = OLD + MIDDLE + NEW
ALL = FIRST + OLD_AGAIN + MIDDLE_AGAIN

REREAD = "only a re-read could give it"
NO_JSON = "JSON, and the target has no JSON module"
NO_SKETCH = "a sketch whose bits only a Dragonfly understands"
NO_MEMBER_TTL = "the target knows no expiry of members"
DEFECT = "the source's own defect"  # the program can't know that anything is wrong


@dataclass(frozen=True, slots=True)
class Excused:
    """One key's right difference in the named recordings on the named targets.

    `aspect` is the difference's, or `any` for a key of which nothing can be known.
    """

    recordings: tuple[str, ...]
    targets: tuple[str, ...]
    key: bytes
    aspect: str
    reason: str
    db: int = 0


EXCUSED: tuple[Excused, ...] = (
    Excused(MIDDLE + MIDDLE_AGAIN + NEW, EVERY_TARGET, b"bf:one", "absent", NO_SKETCH),
    Excused(NEW, EVERY_TARGET, b"cms:one", "absent", NO_SKETCH),
    Excused(NEW, EVERY_TARGET, b"topk:one", "absent", NO_SKETCH),
    Excused(ALL, EVERY_TARGET, b"j:doc", "absent", NO_JSON),
    Excused(ALL, EVERY_TARGET, b"st:j", "absent", NO_JSON),
    Excused(ALL, EVERY_TARGET, b"set:ttl", "member ttl", NO_MEMBER_TTL),
    Excused(ALL, EVERY_TARGET, b"st:sx", "member ttl", NO_MEMBER_TTL),
    Excused(MIDDLE + MIDDLE_AGAIN + NEW, NO_FIELD_TTL, b"h:ttl", "member ttl", NO_MEMBER_TTL),
    Excused(ALL, NO_FIELD_TTL, b"h:ttl2", "member ttl", NO_MEMBER_TTL),
    Excused(ALL, NO_FIELD_TTL, b"st:hx", "member ttl", NO_MEMBER_TTL),
    Excused(MIDDLE + MIDDLE_AGAIN + NEW, NO_FIELD_TTL, b"st:h", "member ttl", NO_MEMBER_TTL),
    Excused(OLD, EVERY_TARGET, b"st:x", "any", f"{REREAD}: the journal has XADD without the id that was given"),
    Excused(OLD, EVERY_TARGET, b"x:one", "any", f"{REREAD}: XTRIM MAXLEN ~ depends on the source's memory layout"),
    Excused(OLD_AGAIN, EVERY_TARGET, b"st:x", "groups", f"{DEFECT}: it writes the stream's last id as every group's"),
    Excused(OLD_AGAIN, EVERY_TARGET, b"x:one", "groups", f"{DEFECT}: it writes the stream's last id as every group's"),
    Excused(MIDDLE, EVERY_TARGET, b"st:x", "groups", f"{DEFECT}: XREADGROUP, which made a consumer, is not journalled"),
    Excused(OLD + OLD_AGAIN, COUNTING, b"x:empty", "counters", f"{DEFECT}: its streams have no counters"),
    Excused(OLD_AGAIN, COUNTING, b"x:one", "counters", f"{DEFECT}: its streams have no counters"),
    Excused(OLD_AGAIN, COUNTING, b"st:x", "counters", f"{DEFECT}: its streams have no counters"),
    Excused(MIDDLE + MIDDLE_AGAIN, (VALKEY,), b"h:ttl", "member ttl", f"{DEFECT}: it sends a hash without its expiry"),
    Excused(MIDDLE_AGAIN, (VALKEY,), b"st:h", "member ttl", f"{DEFECT}: it sends a hash without its expiry"),
    *(
        Excused((OLD_LIVE,), EVERY_TARGET, key, "groups", f"{DEFECT}: it writes the stream's last id as every group's")
        for key in (
            *(b"x:114", b"x:191", b"x:20", b"x:217", b"x:314"),
            *(b"x:345", b"x:402", b"x:429", b"x:49", b"x:67"),
        )
    ),
    Excused(
        MIDDLE + NEW, (REDIS6,), b"x:one", "groups", "XAUTOCLAIM of 6.2 claims deleted entries instead of dropping them"
    ),
    Excused((OLD_2, MIDDLE_2), EVERY_TARGET, b"st:zi", "absent", f"{REREAD}: of a key that waits for a re-read itself"),
    Excused((OLD_3, OLD_2, MIDDLE_3, MIDDLE_2), EVERY_TARGET, b"st:zu", "absent", f"{REREAD}: ZUNIONSTORE over shards"),
    Excused((OLD_3, MIDDLE_3), EVERY_TARGET, b"st:zi", "absent", f"{REREAD}: ZINTERSTORE over shards"),
    Excused((MIDDLE_3,), EVERY_TARGET, b"st:zr", "absent", f"{REREAD}: ZRANGESTORE over shards"),
    Excused(NEW, EVERY_TARGET, b"st:zr", "absent", f"{REREAD}: scores of 6 digits"),
    Excused(NEW_MANY, EVERY_TARGET, b"st:gs", "absent", f"{REREAD}: GEORADIUS STORE over shards"),
    Excused(NEW_MANY, EVERY_TARGET, b"st:sorted", "absent", f"{REREAD}: SORT STORE over shards"),
)


# The journal has their expiry relative to when the command ran: RESTORE without ABSTTL, HSETEX, HEXPIRE, FIELDEXPIRE.
RELATIVE = {
    **dict.fromkeys(OLD, frozenset({(0, b"st:restored2"), (0, b"st:hx")})),
    **dict.fromkeys(MIDDLE + NEW, frozenset({(0, b"st:restored2"), (0, b"st:hx"), (0, b"st:h")})),
}


def excused(recording: str, kind: str) -> list[Excused]:
    """What is excused for one recording on one target."""
    listed = [e for e in EXCUSED if recording in e.recordings and kind in e.targets]
    file = Path(__file__).parent / "excused" / f"{recording}.txt"
    if file.exists():
        reason, *keys = file.read_text().splitlines()
        for line in keys:
            db, key = line.split(" ", 1)
            listed.append(Excused((recording,), EVERY_TARGET, key.encode(), "any", f"{REREAD}: {reason}", int(db)))
    return listed


def judge(recording: str, kind: str, found: list[Difference]) -> tuple[list[Difference], list[Excused]]:
    """(differences nobody excused, excuses for which there was no difference)."""
    excuses = {(e.db, e.key, e.aspect): e for e in excused(recording, kind)}
    places = [{(d.db, d.key, d.aspect), (d.db, d.key, "any")} for d in found]
    unexplained = [d for d, of_it in zip(found, places, strict=True) if not of_it & excuses.keys()]
    seen = set().union(*places)
    stale = [e for place, e in excuses.items() if place not in seen]
    return unexplained, stale
