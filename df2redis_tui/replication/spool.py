"""`--backpressure spill`: a FLOW's journal is always read; what can't be taken yet waits in memory, then on disk.

The source's writers never block on a slow or paused target, and its replication timeout never strikes (page §6).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import stat
from collections import deque
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread

from df2redis_tui.errors import Df2RedisError, SourceLost
from df2redis_tui.files import PRIVATE_DIRECTORY, make_private, open_state, reading_state
from df2redis_tui.pipeline.signal import Signal

log = logging.getLogger(__name__)

MEMORY = 4 * 1024**2  # bytes of a FLOW that wait in memory before the disk is used
SEGMENT = 16 * 1024**2  # bytes of one file
KEEP_FREE = 512 * 1024**2  # bytes the spool leaves free on its file system
CHUNK = 256 * 1024


class Bytes(Protocol):
    async def receive(self) -> bytes: ...


class SpoolSpace:
    """The disk budget of all FLOWs together."""

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        self.limit = limit
        self.used = 0
        self._made = False

    def prepare(self) -> None:
        """Make the directory empty and private. What a killed run left is worthless: the source sends it again.

        Raises OSError, also where something else stands in its place: a symbolic link is not followed.
        """
        make_private(self.directory.parent)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(self.directory.lstat().st_mode):
                raise OSError(errno.ENOTDIR, "is not a directory")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(mode=PRIVATE_DIRECTORY)
        self._made = True

    def room(self, size: int) -> bool:
        if self.used + size > self.limit:
            return False
        try:
            return shutil.disk_usage(self.directory).free > size + KEEP_FREE
        except OSError:
            return False

    def remove(self) -> None:
        if not self._made:
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        self.used = 0


class _Segment:
    __slots__ = ("path", "read", "written")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        self.read = 0


class Spool:
    """First in, first out: `pump` reads the connection for ever, `receive` gives its bytes in order.

    When the budget is spent or the disk refuses, `pump` waits like the blocking mode does, and says so.
    """

    def __init__(self, flow: int, source: Bytes, space: SpoolSpace) -> None:
        self.flow = flow
        self.bytes = 0  # on disk
        self.blocked = ""  # why the socket is not read, "" while it is
        self._source = source
        self._space = space
        self._memory: deque[bytes] = deque()
        self._memory_bytes = 0
        self._segments: deque[_Segment] = deque()
        self._number = 0
        self._writing: _Segment | None = None
        self._arrived = Signal()
        self._taken = Signal()
        self._ended: Df2RedisError | None = None

    async def pump(self) -> None:
        """Until the connection ends; what was read before is still delivered, then `receive` raises the reason."""
        try:
            while True:
                data = await self._source.receive()
                await self._put(data)
                self._arrived.set()
        except Df2RedisError as error:
            self._ended = error
            self._arrived.set()
        finally:
            if self._ended is None:
                self.drop()

    async def receive(self) -> bytes:
        """The next bytes. Raises what ended the connection once everything before it was given out."""
        while True:
            if self._memory:
                data = self._memory.popleft()
                self._memory_bytes -= len(data)
                self._taken.set()
                return data
            if self._segments and self._segments[0].read < self._segments[0].written:
                return await self._from_disk()
            if self._ended is not None and not self._segments:
                raise self._ended
            await self._arrived.wait()

    def drop(self) -> None:
        """Forget everything and free the disk."""
        for segment in list(self._segments):
            self._finish(segment)
        self._memory.clear()
        self.bytes = self._memory_bytes = 0

    async def _put(self, data: bytes) -> None:
        # Order: once anything is on disk, what comes later goes behind it.
        if not self._segments and self._memory_bytes + len(data) <= MEMORY:
            self._memory.append(data)
            self._memory_bytes += len(data)
            return
        while not await self._to_disk(data):
            await self._taken.wait(1.0)
            if not self._segments and self._memory_bytes + len(data) <= MEMORY:
                self._memory.append(data)
                self._memory_bytes += len(data)
                break
        self.blocked = ""

    async def _to_disk(self, data: bytes) -> bool:
        if not self._space.room(len(data)):
            self._say_blocked(
                f"the spool holds {self._space.used:,} of {self._space.limit:,} bytes, and its disk has to keep "
                f"{KEEP_FREE // 1024**2} MiB free"
            )
            return False
        if not self._segments or self._segments[-1].written >= SEGMENT:
            self._number += 1
            self._segments.append(_Segment(self._space.directory / f"flow-{self.flow}-{self._number}.spool"))
        segment = self._writing = self._segments[-1]
        try:
            await anyio.to_thread.run_sync(_append, segment.path, segment.written, data)
        except OSError as error:
            if segment.read == segment.written:
                self._finish(segment)
            self._say_blocked(f"the spool can't be written: {error.strerror}")
            return False
        finally:
            self._writing = None
        segment.written += len(data)
        self.bytes += len(data)
        self._space.used += len(data)
        return True

    async def _from_disk(self) -> bytes:
        segment = self._segments[0]
        size = min(CHUNK, segment.written - segment.read)
        try:
            data = await anyio.to_thread.run_sync(_read, segment.path, segment.read, size)
        except OSError as error:
            raise SourceLost(f"FLOW {self.flow}: the spool can't be read: {error.strerror}") from None
        if not data:
            raise SourceLost(f"FLOW {self.flow}: the spool lost its data")
        segment.read += len(data)
        self.bytes -= len(data)
        if segment.read == segment.written and segment is not self._writing:
            self._finish(segment)
        self._taken.set()
        return data

    def _finish(self, segment: _Segment) -> None:
        self._segments.remove(segment)
        self._space.used -= segment.written
        segment.path.unlink(missing_ok=True)

    def _say_blocked(self, why: str) -> None:
        if not self.blocked:
            log.warning("FLOW is not read", extra={"fields": {"flow": self.flow, "reason": why}})
        self.blocked = why


def _append(path: Path, offset: int, data: bytes) -> None:
    descriptor = open_state(path, os.O_WRONLY | os.O_CREAT)
    try:
        # At an offset: a write that failed half-way is simply written again.
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            offset += written
            view = view[written:]
    finally:
        os.close(descriptor)


def _read(path: Path, offset: int, size: int) -> bytes:
    with reading_state(path) as file:
        file.seek(offset)
        return file.read(size)
