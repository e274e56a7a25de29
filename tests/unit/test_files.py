"""Files that are kept, and files that are asked for: private, whole, and nothing that is there is taken for another."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from df2redis_tui.files import open_output, open_state, reading_state, replace_file, why_not_written, write_output


def left(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text("old")
    path.chmod(0o644)
    replace_file(path, lambda file: file.write(b"new"))
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert left(tmp_path) == ["job.json"]


def test_a_write_that_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            replace_file(path, lambda file: file.write(b"x" * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old"
    assert left(tmp_path) == ["job.json"]


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "directory"])
def test_what_is_no_regular_file_is_neither_followed_nor_waited_for_nor_replaced(tmp_path: Path, kind: str) -> None:
    path, elsewhere = tmp_path / "job.old", tmp_path / "elsewhere"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(elsewhere)
        if kind == "link":
            elsewhere.write_text("mine")
    before = left(tmp_path)
    for use in (
        lambda: open_state(path, os.O_RDONLY),
        lambda: open_state(path, os.O_WRONLY | os.O_CREAT),
        lambda: open_state(path, os.O_RDWR | os.O_CREAT),
        lambda: replace_file(path, lambda file: file.write(b"x")),
        lambda: reading_state(path).__enter__(),
    ):
        with pytest.raises(OSError, match="not a regular file"):
            use()
    assert left(tmp_path) == before
    assert not elsewhere.exists() or elsewhere.read_text() == "mine"


def test_an_output_is_written_where_a_link_leads_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    write_output(tmp_path / "link", b"1")
    write_output(tmp_path / "link", b"2")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "2"
    assert left(tmp_path) == ["link", "real"]


def test_a_fifo_gets_the_output_and_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    assert why_not_written(path) == ""
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    data = b"x" * 200_000  # more than a pipe holds
    while not got:
        with contextlib.suppress(OSError):  # the reader has not come to its open yet
            write_output(path, data)
            break
    reader.join(10)
    assert got == [data]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_fifo_nobody_reads_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for use in (lambda: write_output(tmp_path / "fifo", b"x"), lambda: open_output(tmp_path / "fifo")):
        with pytest.raises(OSError, match="nobody reads it"):
            use()


def test_a_fifo_whose_reader_does_not_read_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("df2redis_tui.files._PATIENCE", 0.1)
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OSError, match="nobody reads it"):
            write_output(tmp_path / "fifo", b"x" * 2_000_000)
    finally:
        os.close(reader)


def test_a_device_is_written_to_and_its_rights_stay() -> None:
    mode = os.stat("/dev/null").st_mode
    write_output(Path("/dev/null"), b"x")
    os.close(open_output(Path("/dev/null")))
    assert os.stat("/dev/null").st_mode == mode
    with pytest.raises(OSError, match="No space left"):
        write_output(Path("/dev/full"), b"x")


OWN = """
import sys
from pathlib import Path
from df2redis_tui.files import write_output
print("first", flush=True)
write_output(Path(sys.argv[1]), b"second\\n")
print("third", flush=True)
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("to", ["file", "pipe"])
def test_standard_output_is_gone_on_with(tmp_path: Path, name: str, to: str) -> None:
    argv = [sys.executable, "-c", OWN, name]
    if to == "pipe":
        said = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    else:
        with (tmp_path / "out").open("w") as file:
            subprocess.run(argv, stdout=file, timeout=60, check=True)
        said = (tmp_path / "out").read_text()
    assert said == "first\nsecond\nthird\n"


def test_what_could_not_be_written_is_told_before_the_run(tmp_path: Path) -> None:
    assert why_not_written(tmp_path / "s.json") == ""
    assert why_not_written(Path("/dev/stdout")) == ""
    assert why_not_written(Path("/dev/null")) == ""
    assert "does not exist" in why_not_written(tmp_path / "none" / "s.json")
    assert "can't be written" in why_not_written(tmp_path)
    assert "File name too long" in why_not_written(tmp_path / ("x" * 300))
    (tmp_path / "s.json").write_text(json.dumps({}))
    assert why_not_written(tmp_path / "s.json") == ""
