"""The log file: `log_dir/replicate.log`, written by a thread of its own so that a slow disk never holds up the engine.

Fields travel in the record (`extra={"fields": ...}`) and become `key=value` in text, keys of an object in JSON.
Registered secrets are masked in the finished line, tracebacks included. No handler ever writes to stderr: the display
owns it.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import logging
import logging.handlers
import os
import queue
import re
import stat
import traceback
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from df2redis_tui.errors import ConfigError
from df2redis_tui.files import make_private, open_output
from df2redis_tui.masking import masked, masked_values

LOG_FILE: Final = "replicate.log"
_ROTATE_BYTES: Final = 50 * 1024 * 1024
_ROTATED: Final = 5
_QUEUE_RECORDS: Final = 20_000
_RECENT: Final = 200
_BARE: Final = re.compile(r"[^\s\"'=\\]+")
_PACKAGE: Final = "df2redis_tui"

_Records = queue.SimpleQueue[logging.LogRecord | None]


@dataclass(frozen=True, slots=True)
class Warned:
    """A record of level WARNING or above, as the engine may show it. `level` is warning or error."""

    seq: int
    at: float
    level: str
    text: str
    flow: int | None


class BoundLogger:
    """A logger with fields that every line carries. A call below the level in force costs one comparison."""

    __slots__ = ("_fields", "_logger")

    def __init__(self, logger: logging.Logger, fields: Mapping[str, object]) -> None:
        self._logger = logger
        self._fields = fields

    def bind(self, **fields: object) -> BoundLogger:
        """The same logger with more fields."""
        return BoundLogger(self._logger, {**self._fields, **fields})

    def enabled(self, level: int) -> bool:
        return self._logger.isEnabledFor(level)

    def debug(self, message: str, **fields: object) -> None:
        if self._logger.isEnabledFor(logging.DEBUG):
            self._emit(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: object) -> None:
        if self._logger.isEnabledFor(logging.INFO):
            self._emit(logging.INFO, message, fields)

    def warning(self, message: str, **fields: object) -> None:
        if self._logger.isEnabledFor(logging.WARNING):
            self._emit(logging.WARNING, message, fields)

    def error(self, message: str, *, exc: BaseException | None = None, **fields: object) -> None:
        """`exc` adds its traceback."""
        if self._logger.isEnabledFor(logging.ERROR):
            self._emit(logging.ERROR, message, fields, exc)

    def _emit(self, level: int, message: str, fields: Mapping[str, object], exc: BaseException | None = None) -> None:
        # makeRecord instead of log(): looking up the caller's line costs more than all the rest.
        info = (type(exc), exc, exc.__traceback__) if exc is not None else None
        merged = {**self._fields, **fields} if fields else self._fields
        record = self._logger.makeRecord(self._logger.name, level, "", 0, message, (), info, extra={"fields": merged})
        self._logger.handle(record)


def get_logger(name: str, **fields: object) -> BoundLogger:
    """The logger of a module (`__name__`), with fields for each of its lines."""
    return BoundLogger(logging.getLogger(name), fields)


def setup_logging(log_dir: Path, fmt: Literal["text", "json"] = "text", level: int = logging.INFO) -> Path:
    """Start logging to `log_dir/replicate.log` (0600; a new directory 0700; 50 MiB × 5). ConfigError if it can't."""
    stop_logging()
    path = log_dir / LOG_FILE
    try:
        make_private(log_dir)
        file = _PrivateFile(path)
    except OSError as error:
        raise ConfigError(f"log-dir: {path} can't be written: {error.strerror}") from None
    file.setFormatter(_JsonLines() if fmt == "json" else _TextLines())
    recent = _Recent()
    records: _Records = queue.SimpleQueue()
    front = _QueueFront(records)
    root = logging.getLogger()
    root.addHandler(front)
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger(_PACKAGE).setLevel(level)
    logging.captureWarnings(True)
    listener = logging.handlers.QueueListener(records, file, recent, respect_handler_level=True)
    listener.start()
    _active.running = _Running(front, listener, file, recent, path)
    return path


def stop_logging() -> None:
    """Write what is queued and close the file. May be called at any time, also twice."""
    running, _active.running = _active.running, None
    if running is None:
        return
    logging.getLogger().removeHandler(running.front)
    logging.captureWarnings(False)
    running.listener.stop()
    with contextlib.suppress(OSError):  # a full disk has been counted already
        running.file.close()


def log_path() -> Path | None:
    """The file in use."""
    return _active.running.path if _active.running else None


def log_losses() -> int:
    """Lines that never reached the file: the disk refused them, or the queue was full."""
    running = _active.running
    return running.file.failed + running.front.dropped_ever if running else 0


def recent_warnings() -> tuple[Warned, ...]:
    """The newest records of level WARNING and above, oldest first; `seq` grows by one with each."""
    return tuple(_active.running.recent.ring) if _active.running else ()


class _QueueFront(logging.handlers.QueueHandler):
    """Hands records to the writer's thread; drops (and counts) rather than waits or grows without bound."""

    def __init__(self, records: _Records) -> None:
        super().__init__(records)
        self._records = records
        self.dropped = 0
        self.dropped_ever = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # Arguments may change after the call, so foreign records are merged here; our own have none.
        if record.args:
            record.msg = record.getMessage()
            record.args = None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        record.exc_info = None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._records.qsize() >= _QUEUE_RECORDS:
            self.dropped += 1
            self.dropped_ever += 1
            return
        if self.dropped:
            lost, self.dropped = self.dropped, 0
            note = logging.makeLogRecord(
                {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "fields": {"lines": lost}}
            )
            note.msg = "log lines dropped, the disk is too slow"
            self._records.put(note)
        self._records.put(record)

    def handleError(self, record: logging.LogRecord) -> None:
        self.dropped_ever += 1


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """A rotating file only its owner can read; errors are counted, never printed."""

    def __init__(self, path: Path) -> None:
        self.failed = 0
        self._regular = True  # a FIFO or a device stays what it is
        super().__init__(path, maxBytes=_ROTATE_BYTES, backupCount=_ROTATED, encoding="utf-8", errors="replace")
        self._characters = path.stat().st_size

    def emit(self, record: logging.LogRecord) -> None:
        # Instead of the inherited one, which formats every record twice to find out whether it still fits.
        try:
            line = self.format(record) + "\n"
            if self._characters + len(line) > self.maxBytes and self._regular:
                self.doRollover()
                self._characters = 0
            if self.stream is None:  # a rotation that failed left none
                self.stream = self._open()
            self.stream.write(line)
            self.stream.flush()
            self._characters += len(line)
        except Exception:
            self.handleError(record)

    def _open(self) -> io.TextIOWrapper:
        descriptor = open_output(Path(self.baseFilename))
        self._regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return open(descriptor, "a", encoding=self.encoding, errors=self.errors)

    def handleError(self, record: logging.LogRecord) -> None:
        self.failed += 1


class _Recent(logging.Handler):
    """A ring of the newest warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.ring: deque[Warned] = deque(maxlen=_RECENT)
        self._seq = 0

    def emit(self, record: logging.LogRecord) -> None:
        self._seq += 1
        flow = _fields(record).get("flow")
        level = "error" if record.levelno >= logging.ERROR else "warning"
        text = masked(_one_line(record.getMessage()))
        self.ring.append(Warned(self._seq, record.created, level, text, flow if isinstance(flow, int) else None))


class _TextLines(logging.Formatter):
    """`2026-01-31T10:20:30.123Z INFO flow=0 batch=12 Flushing batch`, a traceback indented below."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f"{key}={_text_value(value)} " for key, value in _fields(record).items())
        line = f"{_timestamp(record.created)} {record.levelname} {fields}{_one_line(record.getMessage())}"
        if record.exc_text:
            line += "\n" + "\n".join(f"  {part}" for part in record.exc_text.splitlines())
        return masked(line)


class _JsonLines(logging.Formatter):
    """One object per line: time, level, logger, message, the fields, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in _fields(record).items():
            line[f"{key}_" if key in line else key] = value
        if record.exc_text:
            line["traceback"] = record.exc_text
        text: str = json.dumps(masked_values(line), ensure_ascii=False, default=lambda value: masked(str(value)))
        return text


@dataclass(slots=True)
class _Running:
    front: _QueueFront
    listener: logging.handlers.QueueListener
    file: _PrivateFile
    recent: _Recent
    path: Path


@dataclass(slots=True)
class _Active:
    running: _Running | None = None


_active = _Active()
atexit.register(stop_logging)


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, Mapping) else {}


def _text_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    text = str(value)
    return text if _BARE.fullmatch(text) and text.isprintable() else json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
