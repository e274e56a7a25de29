"""Compares every key of two servers: type, content, TTL; both directions, in bounded memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from df2redis_tui.errors import printable
from df2redis_tui.settings import Endpoint
from df2redis_tui.verify.content import Content, read_contents
from df2redis_tui.verify.side import Side

_PAGE: Final = 512
_SECOND_LOOKS: Final = 2
_PAUSE: Final = 0.3  # seconds before a key that differs is read again


@dataclass(frozen=True, slots=True)
class Difference:
    """One key that is not the same; `reason` is safe one-line text."""

    db: int
    key: bytes
    reason: str

    def __str__(self) -> str:
        return f"db {self.db} {printable(self.key)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`keys` were looked at on either side; `equal + missing + extra + different == keys`."""

    keys: int
    equal: int
    missing: int  # on the source only
    extra: int  # on the target only
    different: int
    samples: tuple[Difference, ...]
    seconds: float

    @property
    def same(self) -> bool:
        return self.equal == self.keys

    def __str__(self) -> str:
        if self.same:
            return f"equal: all {self.keys:,} keys are the same on both sides ({self.seconds:.1f} s)"
        return (
            f"NOT EQUAL: of {self.keys:,} keys {self.different:,} differ, {self.missing:,} are missing on the target, "
            f"{self.extra:,} are on the target only"
        )


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far expiries may be apart (ms). Fields have an own value: Dragonfly sends them as relative seconds."""

    ttl_ms: int = 2_000
    field_ttl_ms: int = 2_000


class _Tally:
    def __init__(self, sample_limit: int) -> None:
        self.keys = self.equal = self.missing = self.extra = self.different = 0
        self.samples: list[Difference] = []
        self._limit = sample_limit

    def sample(self, db: int, key: bytes, reason: str) -> None:
        if len(self.samples) < self._limit:
            self.samples.append(Difference(db, key, reason))


async def compare(
    source: Endpoint,
    target: Endpoint,
    *,
    dbs: Iterable[int] | None = None,
    ignore_prefixes: Sequence[bytes] = (),
    tolerance: Tolerance | None = None,
    page: int = _PAGE,
    sample_limit: int = 20,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Compare all keys of `dbs` (None: every database that either side uses).

    Keys that begin with one of `ignore_prefixes` (checkpoints) are left out. A difference counts only if it is still
    there a moment later, so that keys which expire during the comparison are none. `progress` gets the number of keys
    done so far. Raises TargetError when a server can't be read.
    """
    begin = time.monotonic()
    tally = _Tally(sample_limit)
    async with Side("source", source) as left, Side("target", target) as right:
        chosen = sorted({*(await left.databases()), *(await right.databases())} if dbs is None else set(dbs))
        within = tolerance or Tolerance()
        for db in chosen:
            async for keys in left.pages(db, page):
                wanted = [key for key in keys if not key.startswith(tuple(ignore_prefixes))]
                await _compare_page(left, right, db, wanted, within, tally)
                if progress is not None:
                    progress(tally.keys)
            async for keys in right.pages(db, page):
                wanted = [key for key in keys if not key.startswith(tuple(ignore_prefixes))]
                await _find_extra(left, right, db, wanted, tally)
    return Comparison(
        tally.keys,
        tally.equal,
        tally.missing,
        tally.extra,
        tally.different,
        tuple(tally.samples),
        time.monotonic() - begin,
    )


async def _compare_page(left: Side, right: Side, db: int, keys: list[bytes], within: Tolerance, tally: _Tally) -> None:
    field_ttls = any(left.knows(c) for c in ("HPTTL", "FIELDTTL")) and right.knows("HPTTL")
    doubtful, reasons = list(keys), dict[bytes, str]()
    for look in range(1 + _SECOND_LOOKS):
        if look and doubtful:
            await asyncio.sleep(_PAUSE)
        here, there = await asyncio.gather(
            read_contents(left, db, doubtful, field_ttls=field_ttls),
            read_contents(right, db, doubtful, field_ttls=field_ttls),
        )
        reasons = {key: reason for key in doubtful if (reason := difference(here[key], there[key], within))}
        doubtful = list(reasons)
        if not doubtful:
            break
    tally.keys += len(keys)
    tally.equal += len(keys) - len(reasons)
    for key, reason in reasons.items():
        if not there[key].exists:
            tally.missing += 1
        elif not here[key].exists:
            tally.extra += 1
        else:
            tally.different += 1
        tally.sample(db, key, reason)


async def _find_extra(left: Side, right: Side, db: int, keys: list[bytes], tally: _Tally) -> None:
    extra = keys
    for look in range(1 + _SECOND_LOOKS):
        if look and extra:
            await asyncio.sleep(_PAUSE)
        held, still = await asyncio.gather(
            left.read(db, [("EXISTS", key) for key in extra]), right.read(db, [("EXISTS", key) for key in extra])
        )
        extra = [key for key, a, b in zip(extra, held, still, strict=True) if not a and b]
        if not extra:
            return
    tally.keys += len(extra)
    tally.extra += len(extra)
    for key in extra:
        tally.sample(db, key, "on the target only")


def difference(here: Content, there: Content, within: Tolerance) -> str:
    """Why two contents are not the same, "" when they are."""
    if not here.exists and not there.exists:
        return ""
    if not (here.exists and there.exists) and 0 <= max(here.pttl, there.pttl) <= within.ttl_ms:
        return ""  # about to expire on one side, expired on the other
    if not there.exists:
        return f"missing on the target ({here.type.decode('ascii', 'replace')} on the source)"
    if not here.exists:
        return "on the target only"
    if here.type != there.type:
        types = [side.type.decode("ascii", "replace") for side in (here, there)]
        return f"{types[0]} on the source, {types[1]} on the target"
    for aspect in here.parts:
        # Counters that one of the two servers does not have can't differ.
        if aspect in there.parts and (reason := _part_difference(aspect, here.parts[aspect], there.parts[aspect])):
            return reason
    if reason := _ttl_difference("TTL", here.pttl, there.pttl, within.ttl_ms):
        return reason
    if here.field_pttl is not None and there.field_pttl is not None:
        for field in {**here.field_pttl, **there.field_pttl}:
            a, b = here.field_pttl.get(field, -1), there.field_pttl.get(field, -1)
            if reason := _ttl_difference(f"TTL of field {printable(field)}", a, b, within.field_ttl_ms):
                return reason
    return ""


def _part_difference(aspect: str, here: object, there: object) -> str:
    if here == there:
        return ""
    if aspect != "value":
        return f"{aspect} differ: {_short(here)} on the source, {_short(there)} on the target"
    if isinstance(here, dict) and isinstance(there, dict):
        only_here, only_there = len(here.keys() - there.keys()), len(there.keys() - here.keys())
        changed = sum(here[name] != there[name] for name in here.keys() & there.keys())
        return f"elements: {only_here} only on the source, {only_there} only on the target, {changed} with other values"
    if isinstance(here, frozenset) and isinstance(there, frozenset):
        return f"members: {len(here - there)} only on the source, {len(there - here)} only on the target"
    if isinstance(here, list) and isinstance(there, list):
        at = next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), min(len(here), len(there)))
        return f"{len(here)} and {len(there)} elements, the first difference is at {at}"
    if isinstance(here, bytes) and isinstance(there, bytes):
        return f"value: {len(here):,} bytes on the source, {len(there):,} bytes on the target, not the same"
    return "value: not the same"


def _ttl_difference(what: str, here: int, there: int, tolerance: int) -> str:
    if here < 0 or there < 0:
        if (here < 0) == (there < 0) or 0 <= max(here, there) <= tolerance:
            return ""
        return f"{what}: {_ttl(here)} on the source, {_ttl(there)} on the target"
    return "" if abs(here - there) <= tolerance else f"{what}: {_ttl(here)} on the source, {_ttl(there)} on the target"


def _ttl(pttl: int) -> str:
    return "none" if pttl < 0 else f"{pttl / 1000:.1f} s"


def _short(value: object) -> str:
    return printable(value if isinstance(value, bytes) else str(value).encode(), 48)
