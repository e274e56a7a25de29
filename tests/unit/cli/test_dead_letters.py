"""What could not be copied: the error under `stop`, the file under `skip`."""

from __future__ import annotations

import base64
import json
import os
import resource
import stat
from pathlib import Path

import pytest

from df2redis_tui.errors import EXIT_NOT_COPIED, ConfigError, NotCopied
from df2redis_tui.telemetry.dead_letters import DeadLetters
from df2redis_tui.telemetry.snapshot import Confirmed, Verdict
from df2redis_tui.telemetry.verdict import Ending, judge
from df2redis_tui.translate.refusals import Refusal, RefusalPort

ALL = Confirmed(True, 1, 1, 0, 0, 0, False, 0, 0, 0, False, "")
REFUSAL = Refusal(3, b"user:\xff\n1", "bloom", "no such type there", flow=2, lsn=77, payload=b"0123456789")


def letters(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_stop_raises_with_key_database_type_and_reason_and_writes_nothing(tmp_path: Path) -> None:
    port: RefusalPort = DeadLetters(tmp_path / "state" / "d.jsonl", "stop")
    with pytest.raises(NotCopied) as caught:
        port.refuse(REFUSAL)
    said = str(caught.value)
    assert r"user:\\xff\\n1" in said
    assert all(part in said for part in ("db 3", "bloom", "FLOW 2", "LSN 77", "no such type there", "--on-error skip"))
    assert "\n" not in said
    assert caught.value.exit_code == EXIT_NOT_COPIED
    assert not (tmp_path / "state").exists()
    assert not port.refused(3, REFUSAL.key)


def test_skip_appends_one_object_and_remembers_the_key(tmp_path: Path) -> None:
    path = tmp_path / "state" / "d.jsonl"
    port = DeadLetters(path, "skip", value_limit=4)
    assert not path.parent.exists()
    port.refuse(REFUSAL)
    port.refuse(Refusal(0, b"k", "json", "no module"))
    first, second = letters(path)
    assert first.pop("time")
    assert first == {
        "db": 3,
        "key": r"user:\xff\n1",
        "key_base64": base64.b64encode(REFUSAL.key).decode(),
        "type": "bloom",
        "reason": "no such type there",
        "flow": 2,
        "lsn": 77,
        "on_target": "untouched",
        "value_base64": base64.b64encode(b"0123").decode(),
        "value_bytes": 10,
        "truncated": True,
    }
    assert (second["lsn"], second["value_base64"], second["truncated"]) == (None, "", False)
    assert port.count == 2
    assert port.refused(3, REFUSAL.key)
    assert port.refused(0, b"k")
    assert not port.refused(1, b"k")
    port.close()
    port.close()


def test_file_and_directory_are_private(tmp_path: Path) -> None:
    path = tmp_path / "state" / "d.jsonl"
    DeadLetters(path, "skip").refuse(REFUSAL)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_second_run_appends_also_after_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"whole": 1}\n{"half')
    DeadLetters(path, "skip").refuse(REFUSAL)
    lines = path.read_text().splitlines()
    assert lines[:2] == ['{"whole": 1}', '{"half']
    assert json.loads(lines[2])["type"] == "bloom"


def test_what_a_full_disk_does_not_take_is_counted_and_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    port = DeadLetters(Path("/dev/full"), "skip")
    port.refuse(REFUSAL)
    port.refuse(REFUSAL)
    assert (port.count, port.unrecorded) == (2, 2)
    assert port.why_unrecorded == "No space left on device"
    assert port.refused(3, REFUSAL.key)
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 2
    assert all("bloom" in text and "nor recorded in /dev/full: No space left" in text for text in said)
    outcome = judge(ALL, Ending(dead_letters=port.count, unrecorded=2, why_unrecorded=port.why_unrecorded))
    assert outcome.verdict is Verdict.INCOMPLETE
    assert "2 of the keys or commands could not be copied, 2 of which are in no dead letter" in outcome.text
    assert "2 that could not be recorded (No space left on device)" in outcome.not_copied


def test_a_disk_that_fills_up_in_the_middle_of_a_line_leaves_whole_lines_only(tmp_path: Path) -> None:
    port = DeadLetters(tmp_path / "d.jsonl", "skip")
    port.refuse(REFUSAL)
    before = (tmp_path / "d.jsonl").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        port.refuse(REFUSAL)
        assert port.why_unrecorded == "File too large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "d.jsonl").read_bytes() == before
    port.refuse(REFUSAL)
    assert len(letters(tmp_path / "d.jsonl")) == 2
    assert (port.count, port.unrecorded) == (3, 1)


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_what_is_no_file_is_told_before_the_run_and_never_followed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "d.jsonl"
    DeadLetters(path, "skip").check()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.mkdir()
    port = DeadLetters(path, "skip")
    with pytest.raises(ConfigError, match="not a regular file"):
        port.check()
    DeadLetters(path, "stop").check()
    port.refuse(REFUSAL)
    assert (port.count, port.unrecorded) == (1, 1)
    assert not (tmp_path / "elsewhere").exists()


def test_the_memory_of_refused_keys_is_bounded_and_forgets_the_oldest(tmp_path: Path) -> None:
    port = DeadLetters(tmp_path / "d.jsonl", "skip", remember=3)
    for number in range(5):
        port.refuse(Refusal(0, b"%d" % number, "json", "no module"))
    assert [port.refused(0, b"%d" % number) for number in range(5)] == [False, False, True, True, True]


def test_a_key_that_is_there_incompletely_or_was_copied_later_is_followed_on(tmp_path: Path) -> None:
    port = DeadLetters(tmp_path / "d.jsonl", "skip")
    port.refuse(Refusal(0, b"stream", "stream", "pending entries are missing", on_target="incomplete"))
    assert not port.any_refused
    port.refuse(Refusal(0, b"k", "json", "no module", on_target="removed"))
    assert port.refused(0, b"k")
    port.copied(1, b"k")
    assert port.refused(0, b"k")
    port.copied(0, b"k")
    assert not port.any_refused
    assert [letter["on_target"] for letter in letters(port.path)] == ["incomplete", "removed"]
