"""Files of the state directory know which copy they belong to, and whether they are as they were written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from df2redis_tui.errors import ConfigError
from df2redis_tui.replication.bound_file import Owner, claim, head_of, kept_as, load, save

A = Owner("a" * 16, "job", "10.0.0.1:6379")
B = Owner("b" * 16, "job", "10.0.0.2:6379")
A_AGAIN = Owner("c" * 16, "job", A.target)
CONTENT = bytes(range(96))


def saved(path: Path, owner: Owner, content: bytes = CONTENT) -> Path:
    save(path, owner, len(content) // 8, 8, [content[:40], content[40:]])
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "job.existing"


def test_what_was_saved_is_loaded(path: Path) -> None:
    saved(path, A)
    found = load(path, A, 8)
    assert found is not None
    assert bytes(found) == CONTENT
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    head = head_of(path)
    assert head is not None
    assert (head.id, head.job, head.target, head.count) == (A.id, "job", A.target, 12)


def test_no_file_is_none(path: Path) -> None:
    assert load(path, A, 8) is None
    assert head_of(path) is None


def test_the_file_of_another_copy_is_refused_with_what_to_do(path: Path) -> None:
    saved(path, A)
    with pytest.raises(ConfigError, match=r"belongs to another copy \(job 'job' into 10\.0\.0\.1:6379\).*--state-dir"):
        load(path, B, 8)


def test_every_cut_and_every_changed_byte_is_noticed(path: Path) -> None:
    raw = saved(path, A).read_bytes()
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(ConfigError, match="damaged"):
            load(path, A, 8)
    path.write_bytes(raw + b"x")
    with pytest.raises(ConfigError, match="damaged"):
        load(path, A, 8)
    for at in range(len(raw)):
        for bit in (1, 0x80):
            path.write_bytes(raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :])
            with pytest.raises(ConfigError, match=r"damaged|another copy"):
                load(path, A, 8)


def test_a_file_of_another_kind_is_refused(path: Path) -> None:
    saved(path, A)
    with pytest.raises(ConfigError, match="damaged"):
        load(path, A, 12)


def test_two_targets_take_turns_and_each_finds_its_own(path: Path) -> None:
    for owner, begins in ((A, True), (B, True), (A, False), (B, False), (A, False)):
        claim(path, owner, begins=begins, needed=True)
        if begins:
            saved(path, owner, owner.id.encode() * 2)
        found = load(path, owner, 8)
        assert found is not None
        assert bytes(found) == owner.id.encode() * 2
    assert sorted(p.name for p in path.parent.iterdir()) == ["job.existing", f"job.existing.{B.id}"]


def test_an_earlier_copy_into_the_same_target_is_over(path: Path) -> None:
    saved(path, A)
    claim(path, A_AGAIN, begins=True)
    assert list(path.parent.iterdir()) == []


def test_another_copys_file_stays_where_ours_is_needed_and_missing(path: Path) -> None:
    saved(path, A)
    claim(path, B, begins=False, needed=True)
    with pytest.raises(ConfigError, match="another copy"):
        load(path, B, 8)
    claim(path, B, begins=False)
    assert load(path, B, 8) is None
    assert kept_as(path, A.id).exists()


def test_a_damaged_file_is_kept_where_a_copy_begins_and_refused_where_one_goes_on(path: Path) -> None:
    saved(path, A)
    path.write_bytes(b"nonsense")
    claim(path, A, begins=False)
    with pytest.raises(ConfigError, match="damaged"):
        load(path, A, 8)
    claim(path, A, begins=True)
    assert load(path, A, 8) is None
    assert kept_as(path, "damaged").read_bytes() == b"nonsense"


def test_what_a_killed_run_left_half_written_goes(path: Path) -> None:
    saved(path, A)
    (path.parent / f".{path.name}.123.new").write_bytes(b"half")
    claim(path, A, begins=False)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    saved(tmp_path / "elsewhere", A)
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    for use in (lambda: load(path, A, 8), lambda: saved(path, A), lambda: claim(path, A, begins=True)):
        with pytest.raises(OSError, match="symbolic link"):
            use()
    assert path.is_symlink()


def test_a_fifo_does_not_hang(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    for use in (lambda: load(path, A, 8), lambda: saved(path, A), lambda: claim(path, A, begins=True)):
        with pytest.raises(OSError, match="a FIFO"):
            use()
