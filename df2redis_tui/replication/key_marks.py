"""Which keys belong to a set, by their hashes: 8 or 12 bytes a key instead of the keys themselves."""

from __future__ import annotations

import hashlib
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from df2redis_tui.replication.bound_file import Owner, load, save

PARTS: Final = 4096  # by the first bits of a hash, so that each is short to sort and to delete from
SHIFT: Final = 64 - 12
FULL: Final = 12  # bytes of a hash in a file of `exact` marks
HALF: Final = 8  # of others


class KeyMarks:
    """A set of (db, key). `exact` keeps 96 bits of each, otherwise 64.

    Of ten million keys and as many questions, one answer is wrong with a chance of 1 in 200,000 with 64 bits, and of
    1 in 10^15 with 96.
    """

    def __init__(self, *, exact: bool = False) -> None:
        self._hashes = [array("Q") for _ in range(PARTS)]
        self._checks = [array("I") for _ in range(PARTS)] if exact else None
        self._salted: dict[int, hashlib.blake2b] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: tuple[int, bytes]) -> bool:
        return self.holds(*key)

    def holds(self, db: int, key: bytes) -> bool:
        return bool(self._count) and self._find(self._digest(db, key)) >= 0

    def drop(self, db: int, key: bytes) -> None:
        """Take it out, if it is there."""
        if not self._count:
            return
        digest = self._digest(db, key)
        at = self._find(digest)
        if at >= 0:
            part = digest[0] << 4 | digest[1] >> 4
            del self._hashes[part][at]
            if self._checks is not None:
                del self._checks[part][at]
            self._count -= 1

    def clear(self) -> None:
        for part in (*self._hashes, *(self._checks or ())):
            del part[:]
        self._count = 0

    def add(self, db: int, keys: Iterable[bytes]) -> None:
        """`sort` must follow before anything is asked; until then a key that comes twice counts twice."""
        for key in keys:
            self._add(self._digest(db, key))

    def copy(self, other: KeyMarks) -> None:
        """Hold what `other` holds, in 64 bits each."""
        self._hashes = [part[:] for part in other._hashes]
        self._count = len(other)

    def sort(self) -> None:
        """Make what was added ready to be asked for."""
        self._count = 0
        for part, hashes in enumerate(self._hashes):
            if self._checks is None:
                self._hashes[part] = array("Q", sorted(set(hashes)))
            elif hashes:
                pairs = sorted(set(zip(hashes, self._checks[part], strict=True)))
                self._hashes[part] = array("Q", [h for h, _ in pairs])
                self._checks[part] = array("I", [c for _, c in pairs])
            self._count += len(self._hashes[part])

    def _digest(self, db: int, key: bytes) -> bytes:
        salted = self._salted.get(db)
        if salted is None:
            salted = self._salted[db] = hashlib.blake2b(digest_size=FULL, salt=db.to_bytes(4, "little"))
        state = salted.copy()
        state.update(key)
        return state.digest()

    def _add(self, digest: bytes) -> None:
        part = digest[0] << 4 | digest[1] >> 4
        self._hashes[part].append(int.from_bytes(digest[:8], "big"))
        if self._checks is not None:
            self._checks[part].append(int.from_bytes(digest[8:], "big"))
        self._count += 1

    def _find(self, digest: bytes) -> int:
        wanted = int.from_bytes(digest[:8], "big")
        part = wanted >> SHIFT
        hashes = self._hashes[part]
        at = bisect_left(hashes, wanted)
        if self._checks is None:
            return at if at < len(hashes) and hashes[at] == wanted else -1
        check = int.from_bytes(digest[8:], "big")
        while at < len(hashes) and hashes[at] == wanted:
            if self._checks[part][at] == check:
                return at
            at += 1
        return -1

    # Files

    def save(self, path: Path, owner: Owner) -> None:
        """All of it, as the file of that copy. Raises OSError."""
        save(path, owner, self._count, self._width, self._content())

    def _content(self) -> Iterator[bytes]:
        for part, hashes in enumerate(self._hashes):
            if self._checks is None:
                yield _big_endian(hashes).tobytes()
                continue
            pairs = zip(hashes, self._checks[part], strict=True)
            yield b"".join(h.to_bytes(8, "big") + c.to_bytes(4, "big") for h, c in pairs)

    def load(self, path: Path, owner: Owner) -> bool:
        """False when there is no such file. Raises OSError, ConfigError when it is damaged or another copy's."""
        self.clear()
        content = load(path, owner, self._width)
        if content is None:
            return False
        if self._checks is not None:
            for at in range(0, len(content), FULL):
                self._add(bytes(content[at : at + FULL]))
        else:
            found = array("Q")
            found.frombytes(content)
            for value in _big_endian(found):
                self._hashes[value >> SHIFT].append(value)
        self.sort()
        return True

    @property
    def _width(self) -> int:
        """Bytes of a key in a file."""
        return HALF if self._checks is None else FULL


def _big_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        return numbers
    swapped = numbers[:]
    swapped.byteswap()
    return swapped
