"""The log file: its lines, its masking, its bounds, and that it never touches stderr."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from df2redis_tui.errors import ConfigError
from df2redis_tui.masking import forget_secrets, register_secret
from df2redis_tui.settings import Secret
from df2redis_tui.telemetry import logs


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    root, before = logging.getLogger(), logging.getLogger().level
    forget_secrets()
    yield
    logs.stop_logging()
    forget_secrets()
    root.setLevel(before)


def written(tmp_path: Path, fmt: Literal["text", "json"] = "text", level: int = logging.INFO) -> Written:
    return Written(logs.setup_logging(tmp_path / "log", fmt, level))


class Written:
    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[str]:
        logs.stop_logging()
        return self.path.read_text().splitlines()


log = logs.get_logger("df2redis_tui.test")


def test_a_line_has_time_level_fields_and_message(tmp_path: Path) -> None:
    file = written(tmp_path)
    log.bind(flow=0).info("Flushing batch", batch=12, entries=2000, bytes=4096, nodes=1, ms=3.1)
    (line,) = file.lines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO flow=0 batch=12 entries=2000 bytes=4096 nodes=1 ms=3\.1 "
        r"Flushing batch",
        line,
    )


def test_odd_values_are_quoted_and_a_message_stays_one_line(tmp_path: Path) -> None:
    file = written(tmp_path)
    log.info("a\nb\x1b[31m", key="two words", empty="", other='q"=')
    (line,) = file.lines()
    assert line.endswith(r'INFO key="two words" empty="" other="q\"=" a\nb\x1b[31m')


def test_json_is_one_object_per_line(tmp_path: Path) -> None:
    file = written(tmp_path, "json")
    log.warning("channel full", flow=3, level="x", ratio=0.5)
    got = json.loads(file.lines()[0])
    assert got.pop("time").endswith("Z")
    assert got == {
        "level": "warning",
        "logger": "df2redis_tui.test",
        "message": "channel full",
        "flow": 3,
        "level_": "x",
        "ratio": 0.5,
    }


@pytest.mark.parametrize("fmt", ["text", "json"])
def test_secrets_are_masked_everywhere(tmp_path: Path, fmt: Literal["text", "json"]) -> None:
    register_secret(Secret('sek"rit é'))
    file = written(tmp_path, fmt)
    log.info('said sek"rit é', value='sek"rit é')
    logging.getLogger("another.library").warning("%s and %s", 'sek"rit é', "redis://u:other@h")
    try:
        raise ValueError('sek"rit é')
    except ValueError as error:
        log.error("broken", exc=error)
    text = "\n".join(file.lines())
    assert "rit" not in text.replace("written", "").replace("test_secrets", "")
    assert "other@" not in text
    assert "Traceback" in text
    assert text.count("***") >= 4


def test_a_device_or_fifo_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_ROTATE_BYTES", 100)
    (tmp_path / "log").mkdir()
    path = tmp_path / "log" / "replicate.log"
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="nobody reads it"):
        logs.setup_logging(tmp_path / "log")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        logs.setup_logging(tmp_path / "log")
        for number in range(10):
            log.info("a line of some length", number=number)
        logs.stop_logging()
        assert os.read(reader, 10_000).count(b"\n") == 10
    finally:
        os.close(reader)
    assert [p.name for p in path.parent.iterdir()] == ["replicate.log"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_level_that_is_off_costs_no_record(tmp_path: Path) -> None:
    file = written(tmp_path)
    log.debug("unseen")
    assert not log.enabled(logging.DEBUG)
    assert file.lines() == []


def test_file_and_directory_are_private(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "replicate.log").touch(mode=0o644)
    path = logs.setup_logging(tmp_path / "log")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path = logs.setup_logging(tmp_path / "new" / "deep")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_used_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"log-dir: .* can't be written: Not a directory"):
        logs.setup_logging(tmp_path / "file" / "log")


def test_the_file_rotates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_ROTATE_BYTES", 2000)
    file = written(tmp_path)
    for number in range(200):
        log.info("a line of some length", number=number)
    assert len(file.lines()) < 60
    assert len(list(file.path.parent.iterdir())) == 6
    assert all(stat.S_IMODE(part.stat().st_mode) == 0o600 for part in file.path.parent.iterdir())


def test_a_slow_disk_never_blocks_and_losses_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_QUEUE_RECORDS", 10)
    gate = threading.Event()
    emit = logging.handlers.RotatingFileHandler.emit

    def slow(self: logging.handlers.RotatingFileHandler, record: logging.LogRecord) -> None:
        gate.wait(10)
        emit(self, record)

    monkeypatch.setattr(logs._PrivateFile, "emit", slow)
    file = written(tmp_path)
    began = time.perf_counter()
    for number in range(100):
        log.info("line", number=number)
    assert time.perf_counter() - began < 1
    lost = logs.log_losses()
    assert 80 <= lost <= 90
    gate.set()
    while not file.path.read_text():
        time.sleep(0.01)
    time.sleep(0.1)
    log.info("after")
    told = re.findall(r"WARNING lines=(\d+) log lines dropped", "\n".join(file.lines()))
    assert sum(map(int, told)) == lost


def test_a_full_disk_is_counted_and_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path)
    assert logs._active.running is not None
    logs._active.running.file.stream.close()
    logs._active.running.file.stream = open("/dev/full", "w")  # noqa: SIM115 (the handler closes it)
    log.info("lost")
    deadline = time.monotonic() + 5
    while not logs.log_losses() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert logs.log_losses() >= 1
    assert capfd.readouterr() == ("", "")
    del file


def test_warnings_and_errors_stay_readable_in_memory(tmp_path: Path) -> None:
    register_secret(Secret("sekrit"))
    file = written(tmp_path)
    log.info("unseen")
    log.warning("first sekrit", flow=2)
    log.error("second")
    deadline = time.monotonic() + 5
    while len(logs.recent_warnings()) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    first, second = logs.recent_warnings()
    assert (first.seq, first.level, first.text, first.flow) == (1, "warning", "first ***", 2)
    assert (second.seq, second.level, second.text, second.flow) == (2, "error", "second", None)
    assert len(file.lines()) == 3


def test_arguments_are_merged_when_the_line_is_made(tmp_path: Path) -> None:
    file = written(tmp_path)
    mutable = [1]
    logging.getLogger("df2redis_tui.x").info("value %s", mutable)
    mutable.append(2)
    assert file.lines()[0].endswith("value [1]")
