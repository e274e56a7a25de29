"""Which keys belong to a set, by their hashes: 8 or 12 bytes a key instead of the keys themselves."""

from __future__ import annotations

import hashlib
import os
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

PARTS: Final = 4096  # by the first bits of a hash, so that each is short to sort and to delete from
SHIFT: Final = 64 - 12
FULL: Final = 12  # bytes of a hash in a file of `exact` marks
HEAD: Final = b"df2redis-tui key hashes 1\n"


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

    def save(self, path: Path) -> None:
        """All of it, readable for the owner only. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = path.with_name(f".{path.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            self._write(file)
        new.replace(path)

    def _write(self, file: IO[bytes]) -> None:
        if self._checks is None:
            file.write(HEAD)
        for part, hashes in enumerate(self._hashes):
            if self._checks is None:
                file.write(_big_endian(hashes).tobytes())
                continue
            pairs = zip(hashes, self._checks[part], strict=True)
            file.write(b"".join(h.to_bytes(8, "big") + c.to_bytes(4, "big") for h, c in pairs))

    def load(self, path: Path) -> bool:
        """False when there is no such file, or none of this kind. Raises OSError."""
        self.clear()
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return False
        if self._checks is not None:
            for at in range(0, len(raw), FULL):
                self._add(raw[at : at + FULL])
        elif raw.startswith(HEAD):
            found = array("Q")
            found.frombytes(raw[len(HEAD) : len(raw) - (len(raw) - len(HEAD)) % 8])
            for value in _big_endian(found):
                self._hashes[value >> SHIFT].append(value)
        else:
            return False
        self.sort()
        return True


def _big_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        return numbers
    swapped = numbers[:]
    swapped.byteswap()
    return swapped
