"""Files of the state directory that belong to one copy: bound by a random id to the job's record on its target.

The same directory and job name may serve copies into several targets. What one of them has to know of its target must
never be taken for what another has to know: that would delete keys which were there before.

A file is a line that names its format, a line of JSON (`Head`), the content, and 16 bytes of XXH3 over all of these.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import xxhash

from df2redis_tui.errors import ConfigError, printable
from df2redis_tui.files import make_private, reading_state, replace_file

FORMAT: Final = b"df2redis-tui state 1\n"
DIGEST: Final = 16
_HEAD_MOST: Final = 4096
_DAMAGED: Final = "damaged"


@dataclass(frozen=True, slots=True)
class Owner:
    """The copy that a file belongs to. `target` is for people."""

    id: str
    job: str
    target: str


@dataclass(frozen=True, slots=True)
class Head:
    """What a file says of itself: whose it is, and `count` items of `width` bytes each."""

    id: str
    job: str
    target: str
    count: int
    width: int


class _Damaged(Exception):
    """The text completes "the file is damaged: "."""


def save(path: Path, owner: Owner, count: int, width: int, content: Iterable[bytes]) -> None:
    """Replace it whole, for its owner only, on the disk when this returns. Raises OSError."""
    head = Head(owner.id, owner.job, owner.target, count, width)

    def write(file: IO[bytes]) -> None:
        digest = xxhash.xxh3_128()
        for part in (FORMAT, json.dumps(dataclasses.asdict(head)).encode() + b"\n", *content):
            digest.update(part)
            file.write(part)
        file.write(digest.digest())

    make_private(path.parent)
    replace_file(path, write)


def load(path: Path, owner: Owner, width: int) -> memoryview | None:
    """The content, None when there is no such file. Raises OSError, and ConfigError when it is not `owner`'s or not as
    it was written."""
    try:
        with reading_state(path) as file:
            raw = file.read()
    except FileNotFoundError:
        return None
    try:
        head, begin = _head(raw[: len(FORMAT) + _HEAD_MOST])
        if head.id != owner.id:
            raise another(path, head, owner)
        held = len(raw) - begin - DIGEST
        if held != head.count * width or head.width != width:
            raise _Damaged(f"it holds {max(0, held):,} bytes, and says {head.count:,} keys of {head.width} bytes")
        if xxhash.xxh3_128(memoryview(raw)[:-DIGEST]).digest() != raw[-DIGEST:]:
            raise _Damaged("its checksum is not that of its content")
    except _Damaged as damaged:
        raise ConfigError(
            f"{path} is damaged ({damaged}), and without it nobody knows which keys of target {owner.target} are not "
            f"this copy's; nothing was written or removed: put the file back as it was, or {_begin_anew(owner)}"
        ) from None
    return memoryview(raw)[begin:-DIGEST]


def head_of(path: Path) -> Head | None:
    """What the file says of itself, None when there is none or it is damaged. Raises OSError."""
    try:
        with reading_state(path) as file:
            return _head(file.read(len(FORMAT) + _HEAD_MOST))[0]
    except (FileNotFoundError, _Damaged):
        return None


def claim(path: Path, owner: Owner, *, begins: bool, needed: bool = False) -> None:
    """Make `path` the file of `owner`: what another copy has there is kept beside it, under that one's id.

    `begins`: the target knows nothing of an earlier run, so an earlier copy into the same target is over. `needed`:
    where there is none of `owner`'s, that of another copy stays, for `load` to refuse it. Raises OSError.
    """
    make_private(path.parent)
    for left in path.parent.glob(f".{path.name}.*.new"):
        left.unlink(missing_ok=True)  # of a run that was killed while it wrote; the directory is locked
    own = kept_as(path, owner.id)
    head = head_of(path)
    if head is not None and head.id == owner.id:
        return
    if head is not None and begins and head.target == printable(owner.target.encode()):
        path.unlink()
    elif head is not None and (begins or own.exists() or not needed):
        path.replace(kept_as(path, head.id))
    elif head is None and begins and path.exists():
        path.replace(kept_as(path, _DAMAGED))
    if own.exists() and not path.exists():
        own.replace(path)


def kept_as(path: Path, copy: str) -> Path:
    """Where the file of the copy with that id is while another one uses the name."""
    return path.with_name(f"{path.name}.{copy}")


def another(path: Path, head: Head, owner: Owner) -> ConfigError:
    """The error for a file that is not `owner`'s."""
    return ConfigError(
        f"{path} belongs to another copy (job {head.job!r} into {head.target}), so nobody knows which keys of target "
        f"{owner.target} are not this copy's; nothing was written or removed: use the --state-dir in which this copy "
        f"began, or {_begin_anew(owner)}"
    )


def _begin_anew(owner: Owner) -> str:
    return f"begin anew with another --job (all that is on the target then counts as there before job {owner.job!r})"


def _head(raw: bytes) -> tuple[Head, int]:
    """What stands at the beginning, and where the content begins."""
    end = raw.find(b"\n", len(FORMAT)) + 1
    if not raw.startswith(FORMAT) or not end:
        raise _Damaged("it does not begin as such files do")
    try:
        found = json.loads(raw[len(FORMAT) : end])
        named = [found[name] for name in ("id", "job", "target")]
        count, width = found["count"], found["width"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _Damaged("its first lines can't be read") from None
    if not all(isinstance(text, str) for text in named) or type(count) is not int or type(width) is not int:
        raise _Damaged("its first lines can't be read")
    if not named[0].isalnum() or not 0 <= count < 1 << 40:
        raise _Damaged("its first lines can't be read")
    job, target = (printable(text.encode("utf-8", "replace")) for text in named[1:])
    return Head(named[0], job, target, count, width), end
