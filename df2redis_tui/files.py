"""Files that this program keeps or is told to write: private, whole or not at all, and never by way of a surprise.

What stands where a state file belongs (a symbolic link, a FIFO, a device) is refused: it is neither followed, nor
waited for, nor replaced. What an operator names as output is written to as it is, unless it is a regular file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

PRIVATE_DIRECTORY: Final = 0o700
_PATIENCE: Final = 5.0  # seconds for a FIFO or a terminal to take more
_KINDS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def make_private(directory: Path) -> None:
    """Make it, readable for the owner only, where there is none. Raises OSError."""
    directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)


def open_state(path: Path, flags: int, *, device: bool = False) -> int:
    """A descriptor of a regular file (or, where `device` says so, a character device) that is no symbolic link.

    A new one is 0600. Raises OSError; its `strerror` says what is there instead.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        instead = _other_kind(path, device)
        raise OSError(error.errno, instead or error.strerror, str(path)) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or (device and stat.S_ISCHR(mode)):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, f"is {_kind(mode)}, not a regular file", str(path))


@contextlib.contextmanager
def reading_state(path: Path) -> Iterator[IO[bytes]]:
    """The file at `path`, opened to be read. Raises OSError, as `open_state` does."""
    with os.fdopen(open_state(path, os.O_RDONLY), "rb") as file:
        yield file


def replace_file(path: Path, write: Callable[[IO[bytes]], object], *, durable: bool = True) -> None:
    """Put what `write` writes in the place of `path` (0600), whole or not at all.

    `durable`: it is on the disk when this returns. Raises OSError, also where something else than a file is there.
    """
    instead = _other_kind(path)
    if instead:
        raise OSError(errno.EINVAL, instead, str(path))
    temporary = temporary_of(path)
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def temporary_of(path: Path) -> Path:
    """Where this process writes what is to replace `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.new")


def sync_directory(directory: Path) -> None:
    """The names in it are on the disk when this returns; where a file system can't say so, as soon as it likes."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_output(path: Path, data: bytes) -> None:
    """Write `data` where an operator asked for it. A regular file is replaced whole; a FIFO, a device, a terminal or
    /dev/stdout is written to as it is. Raises OSError."""
    descriptor = _standing(path)
    if descriptor is None:
        replace_file(Path(os.path.realpath(path)), lambda file: file.write(data))
        return
    try:
        _write_all(descriptor, data)
    finally:
        os.close(descriptor)


def why_not_written(path: Path) -> str:
    """Why `write_output` could not write there now; "" when it could."""
    try:
        return _why_not_written(path)
    except OSError as error:
        return f"can't be written: {error.strerror}"


def _why_not_written(path: Path) -> str:
    if _own_descriptor(path) is not None:
        return ""
    place = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        return "can't be written" if path.is_dir() or not os.access(path, os.W_OK) else ""
    if not place.parent.is_dir():
        return f"can't be written: the directory {place.parent} does not exist"
    return "" if os.access(place.parent, os.W_OK) else "can't be written"


def open_output(path: Path) -> int:
    """A descriptor to append to `path`, which is made (0600) where there is none; what is there stays what it is.

    Raises OSError, also for a FIFO that nobody reads.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unread(error) from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fchmod(descriptor, 0o600)
    return descriptor


def _standing(path: Path) -> int | None:
    """A descriptor of what is at `path` and no regular file; None where it is one, or where nothing is."""
    own = _own_descriptor(path)
    if own is not None:
        return os.dup(own)
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return None
    except FileNotFoundError:
        return None
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise _unread(error) from None


def _own_descriptor(path: Path) -> int | None:
    """The number of the descriptor of this process that `path` names, as /dev/stdout and /dev/fd/3 do.

    Opened by its name a file would be written from its beginning, over what was printed, and a socket can't be.
    """
    for _ in range(8):
        if os.path.realpath(path.parent) in (f"/proc/{os.getpid()}/fd", "/dev/fd") and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    give_up = time.monotonic() + _PATIENCE
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            if not ready.poll(max(0.0, give_up - time.monotonic()) * 1000):
                raise OSError(errno.ETIMEDOUT, "nobody reads it") from None


def _unread(error: OSError) -> OSError:
    return OSError(error.errno, "nobody reads it" if error.errno == errno.ENXIO else error.strerror)


def _other_kind(path: Path, device: bool = False) -> str:
    """What is at `path` where a regular file is wanted, "" when one is, or nothing."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return ""
    if stat.S_ISREG(mode) or (device and stat.S_ISCHR(mode)):
        return ""
    return f"is {_kind(mode)}, not a regular file"


def _kind(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), "something else")
