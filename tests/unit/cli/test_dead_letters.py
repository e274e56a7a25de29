"""What could not be copied: the error under `stop`, the file under `skip`."""

from __future__ import annotations

import base64
import json
import resource
import stat
from pathlib import Path

import pytest

from df2redis_tui.errors import EXIT_NOT_COPIED, NotCopied
from df2redis_tui.telemetry.dead_letters import DeadLetters
from df2redis_tui.translate.refusals import Refusal, RefusalPort

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


def test_a_full_disk_is_an_error_naming_key_and_file() -> None:
    port = DeadLetters(Path("/dev/full"), "skip")
    with pytest.raises(NotCopied, match=r"bloom.*nor recorded in /dev/full: No space left on device"):
        port.refuse(REFUSAL)
    assert port.count == 0


def test_a_disk_that_fills_up_in_the_middle_of_a_line_leaves_whole_lines_only(tmp_path: Path) -> None:
    port = DeadLetters(tmp_path / "d.jsonl", "skip")
    port.refuse(REFUSAL)
    before = (tmp_path / "d.jsonl").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        with pytest.raises(NotCopied, match="File too large"):
            port.refuse(REFUSAL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "d.jsonl").read_bytes() == before
    port.refuse(REFUSAL)
    assert len(letters(tmp_path / "d.jsonl")) == 2


def test_a_state_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotCopied, match="nor recorded in"):
        DeadLetters(tmp_path / "file" / "d.jsonl", "skip").refuse(REFUSAL)


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
