"""Compares every key of two servers: type, content, TTL; both directions, in bounded memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from df2redis_tui.errors import printable
from df2redis_tui.settings import Endpoint
from df2redis_tui.verify.content import Content, read_contents
from df2redis_tui.verify.side import Side

_PAGE: Final = 512
_SECOND_LOOKS: Final = 2
_DOUBTFUL_MOST: Final = 20_000
_PAUSE: Final = 0.3  # seconds before a key that differs is read again

_Kind = Literal["missing", "extra", "different"]


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
        self.keys = self.equal = 0
        self.kinds: dict[_Kind, int] = {"missing": 0, "extra": 0, "different": 0}
        self.samples: list[Difference] = []
        self._limit = sample_limit

    def differs(self, db: int, key: bytes, kind: _Kind, reason: str) -> None:
        self.kinds[kind] += 1
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
    ignored = tuple(ignore_prefixes)
    async with Side("source", source) as left, Side("target", target) as right:
        chosen = sorted({*(await left.databases()), *(await right.databases())} if dbs is None else set(dbs))
        looker = _Looker(left, right, tolerance or Tolerance(), tally, page)
        for db in chosen:
            async for keys in left.pages(db, page):
                await looker.compare(db, [key for key in keys if not key.startswith(ignored)])
                if progress is not None:
                    progress(tally.keys)
            async for keys in right.pages(db, page):
                await looker.find_extra(db, [key for key in keys if not key.startswith(ignored)])
            await looker.look_again(db)
    return Comparison(
        tally.keys,
        tally.equal,
        tally.kinds["missing"],
        tally.kinds["extra"],
        tally.kinds["different"],
        tuple(tally.samples),
        time.monotonic() - begin,
    )


class _Looker:
    """Pages of keys on both sides. What differs is looked at again at the end of a database, if it is not too much."""

    def __init__(self, left: Side, right: Side, within: Tolerance, tally: _Tally, page: int) -> None:
        self._left = left
        self._right = right
        self._within = within
        self._tally = tally
        self._page = page
        self._field_ttls = any(left.knows(c) for c in ("HPTTL", "FIELDTTL")) and right.knows("HPTTL")
        self._doubtful: list[bytes] = []

    async def compare(self, db: int, keys: list[bytes]) -> None:
        found = await self._differences(db, keys)
        self._tally.keys += len(keys)
        self._tally.equal += len(keys) - len(found)
        self._note(db, found)

    async def find_extra(self, db: int, keys: list[bytes]) -> None:
        held = await self._left.read(db, [("EXISTS", key) for key in keys])
        found = await self._differences(db, [key for key, there in zip(keys, held, strict=True) if not there])
        self._tally.keys += len(found)
        self._note(db, found)

    async def look_again(self, db: int) -> None:
        """What expires meanwhile, or was just on its way, is no difference."""
        doubtful, self._doubtful = self._doubtful, []
        for look in range(_SECOND_LOOKS):
            if not doubtful:
                return
            await asyncio.sleep(_PAUSE)
            still: dict[bytes, tuple[_Kind, str]] = {}
            for begin in range(0, len(doubtful), self._page):
                still |= await self._differences(db, doubtful[begin : begin + self._page])
            self._tally.equal += len(doubtful) - len(still)
            doubtful = list(still)
            if look == _SECOND_LOOKS - 1:
                for key, (kind, reason) in still.items():
                    self._tally.differs(db, key, kind, reason)

    def _note(self, db: int, found: dict[bytes, tuple[_Kind, str]]) -> None:
        for key, (kind, reason) in found.items():
            if len(self._doubtful) < _DOUBTFUL_MOST:
                self._doubtful.append(key)
            else:
                self._tally.differs(db, key, kind, reason)

    async def _differences(self, db: int, keys: list[bytes]) -> dict[bytes, tuple[_Kind, str]]:
        here, there = await asyncio.gather(
            read_contents(self._left, db, keys, field_ttls=self._field_ttls),
            read_contents(self._right, db, keys, field_ttls=self._field_ttls),
        )
        found: dict[bytes, tuple[_Kind, str]] = {}
        for key in keys:
            if reason := difference(here[key], there[key], self._within):
                kind: _Kind = "missing" if not there[key].exists else "extra" if not here[key].exists else "different"
                found[key] = kind, reason
        return found


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
