"""The final report as text and JSON."""

from __future__ import annotations

import dataclasses
import json
import re
import stat
from pathlib import Path

import pytest

from df2redis_tui.errors import Df2RedisError
from df2redis_tui.telemetry.report import SUMMARY_KEYS, Report
from df2redis_tui.telemetry.snapshot import (
    Confirmed,
    EngineSnapshot,
    Health,
    Knobs,
    Phase,
    SourceInfo,
    TargetInfo,
    Totals,
    Verdict,
)
from df2redis_tui.telemetry.verdict import Ending, judge, running

KNOBS = Knobs(2000, 50, 0.05, True, 2_000_000, 64 << 20, 0)
TOTALS = Totals(
    entries=1_000_000,
    commands=1_000_100,
    bytes_in=130_000_000,
    bytes_out=140_000_000,
    batches=500,
    retries=3,
    redirects=0,
    errors=0,
    dead_letters=0,
    entries_per_s=0.0,
    bytes_in_per_s=0.0,
    bytes_out_per_s=0.0,
    keys_copied=900_000,
    keys_by_type=(("string", 800_000), ("hash", 100_000), ("set", 0)),
    rereads=17,
)
ALL = Confirmed(True, 900_000, 900_000, 0, 0, 0, False, 0, 0, 0, False, "")
FILE = "state/dead-letters.jsonl"
LAST = EngineSnapshot(
    seq=9,
    at=1_700_000_020.5,
    started_at=1_700_000_000.0,
    elapsed=20.5,
    job="default",
    phase=Phase.DONE,
    phase_since=1_700_000_020.0,
    reason="",
    health=Health.HEALTHY,
    health_reason="",
    bottleneck="idle",
    source=SourceInfo("src:6379", "df-v1.40.1", 4, "abc", 900_000, False, "closed"),
    target=TargetInfo("dst:6379", "valkey", "9.1.0", False, (), (), 12, "closed"),
    flows=(),
    nodes=(),
    totals=TOTALS,
    knobs=KNOBS,
    configured=KNOBS,
    paused=False,
    progress=1.0,
    eta=None,
    lag_records=0,
    lag_seconds=0.0,
    caught_up_for=1.2,
    ready_to_cut_over=True,
    batches=(),
    events=(),
    rss_bytes=90_000_000,
    peak_rss_bytes=120_000_000,
    phase_seconds=(("full sync", 10.0), ("stable sync", 5.0), ("full sync", 2.5)),
    dead_letter_file="state/dead-letters.jsonl",
    log_file="log/replicate.log",
    outcome=judge(ALL, Ending()),
    exit_code=0,
    failure="",
    spool_bytes=0,
    spool_limit=0,
    checkpoint="",
    extra=(),
)


def ended(code: int | None, **changes: object) -> EngineSnapshot:
    return dataclasses.replace(LAST, exit_code=code, **changes)  # type: ignore[arg-type]


def failed(failure: str, hint: str = "") -> EngineSnapshot:
    return ended(3, failure=failure, outcome=judge(ALL, Ending(failed=True, advice=hint)))


def with_letters(number: int) -> Totals:
    return dataclasses.replace(TOTALS, dead_letters=number)


def test_the_verdict_is_the_snapshots_whatever_the_exit_code() -> None:
    interrupted = judge(dataclasses.replace(ALL, snapshot=False, keys=14_001, keys_at_start=30_203), Ending())
    report = Report.of(ended(6, outcome=interrupted), 143)
    assert (report.verdict, report.exit_code) == (Verdict.INTERRUPTED, 143)
    lines = report.as_text(80).splitlines()
    assert lines[0] == "! Stopped after 20 s, interrupted: 14,001 of ~30,203 keys"
    assert "  not copied not known: the full sync had not ended" in lines
    assert report.as_json()["verdict"] == "interrupted"
    assert report.as_json()["outcome"] == "interrupted: 14,001 of ~30,203 keys"


def test_nothing_is_promised_while_it_runs() -> None:
    report = Report.of(ended(None, phase=Phase.FULL_SYNC, outcome=running(ALL, Ending())))
    assert report.verdict is Verdict.RUNNING
    assert "none so far" in report.as_text(80)


def test_the_text_answers_what_how_much_and_how_long() -> None:
    text = Report.of(LAST).as_text(80)
    assert text.splitlines()[0] == "✔ Done in 20 s: everything was copied"
    for part in (
        "Dragonfly v1.40.1 at src:6379, 4 FLOWs",
        "valkey 9.1.0 at dst:6379",
        "900,000 in the full sync: string 800,000, hash 100,000",
        "read again 17 keys",
        "not copied none",
        "1,000,000 confirmed, 48.8 k/s",
        "full sync 12.5 s, stable sync 5.0 s",
        "3 retries",
        "120 MB at most",
        "log/replicate.log",
    ):
        assert part in text
    assert "\x1b" not in text


def test_a_failure_says_why_and_what_next() -> None:
    text = Report.of(failed("the source closed FLOW 2", "start again")).as_text(80)
    assert text.startswith("✘ Failed after")
    assert re.search(r"why +the source closed FLOW 2\n +next +start again", text)


def test_dead_letters_are_named_with_their_file() -> None:
    letters = judge(ALL, Ending(dead_letters=1234, dead_letter_file=FILE))
    text = Report.of(ended(5, totals=with_letters(1234), outcome=letters)).as_text(80)
    assert "1,234 of the keys or commands could not be copied" in text
    assert "1,234 in state/dead-letters.jsonl" in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_text_keeps_to_the_width(width: int) -> None:
    text = Report.of(failed("word " * 40)).as_text(width)
    assert max(map(len, text.splitlines())) <= width


def test_color_adds_codes_only() -> None:
    plain, colored = (Report.of(LAST).as_text(80, color=color) for color in (False, True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert colored != plain


def test_text_from_servers_cannot_control_the_terminal() -> None:
    snapshot = failed("x\x1b[2Jy\nz")
    assert "\x1b" not in Report.of(snapshot).as_text(80)
    assert "\x1b" not in str(Report.of(snapshot).as_json()["failure"])


def test_json_has_exactly_the_documented_keys_in_order() -> None:
    summary = Report.of(LAST).as_json()
    assert list(summary) == list(SUMMARY_KEYS)
    assert summary["version"] == 1
    assert summary["phase_seconds"] == {"full sync": 12.5, "stable sync": 5.0}
    assert summary["keys_by_type"] == {"string": 800_000, "hash": 100_000, "set": 0}
    assert summary["entries_per_second"] == pytest.approx(48780.5)
    assert json.loads(json.dumps(summary)) == summary


def test_the_summary_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text("old")
    Report.of(LAST).write_summary(path)
    assert json.loads(path.read_text())["verdict"] == "complete"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["s.json"]


def test_a_summary_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(Df2RedisError, match=r"the summary .*s\.json can't be written: No such file"):
        Report.of(LAST).write_summary(tmp_path / "none" / "s.json")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "x").touch()
    with pytest.raises(Df2RedisError, match="can't be written"):
        Report.of(LAST).write_summary(tmp_path / "dir")
    assert [p.name for p in tmp_path.iterdir()] == ["dir"]
