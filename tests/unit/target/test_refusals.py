"""What the counts of refused commands tell, and which one belongs to a position."""

from __future__ import annotations

import pytest

from df2redis_tui.target.refusals import KEPT_MOST, Baseline, count_of, digest

SERVER = b"# Server\r\nredis_version:7.0.0\r\nrun_id:abc\r\n"
NONE = b"# Errorstats\r\n"


def test_only_refusals_for_the_time_being_count() -> None:
    before = count_of(SERVER, NONE)
    assert before
    assert count_of(SERVER, NONE + b"errorstat_WRONGTYPE:count=3\r\nerrorstat_ERR:count=1\r\n") == before
    for code in (b"MOVED", b"ASK", b"TRYAGAIN", b"CLUSTERDOWN", b"OOM", b"MISCONF", b"LOADING", b"READONLY"):
        assert count_of(SERVER, NONE + b"errorstat_%b:count=1\r\n" % code) not in ("", before)


def test_a_restarted_server_is_another_one() -> None:
    assert count_of(SERVER, NONE) != count_of(SERVER.replace(b"abc", b"abd"), NONE)


@pytest.mark.parametrize(
    ("server", "stats"),
    [
        (SERVER, b""),  # older than 6.2
        (SERVER, None),
        (b"", NONE),
        (SERVER, NONE + b"errorstat_ERRORSTATS_OVERFLOW:count=1\r\n"),
    ],
)
def test_a_server_that_does_not_count_makes_everything_uncertain(server: bytes, stats: bytes | None) -> None:
    assert count_of(server, stats) == ""
    assert digest({"a:1": count_of(SERVER, NONE), "b:2": count_of(server, stats)}) == ""


def test_a_digest_is_of_all_masters() -> None:
    counts = {"a:1": "x", "b:2": "y"}
    assert digest(counts) == digest(dict(reversed(counts.items())))
    assert digest(counts) != digest({"a:1": "y", "b:2": "x"})
    assert digest(counts) != digest({"a:1": "x"})
    assert digest({}) == ""


def test_a_count_is_good_for_what_was_sent_behind_it() -> None:
    baseline = Baseline()
    baseline.posted(100)
    baseline.read("early")
    baseline.posted(200)
    baseline.read("late")
    assert [baseline.at(lsn) for lsn in (99, 100, 199, 200, 300)] == ["", "early", "early", "late", "late"]
    baseline.confirmed(200)
    assert [baseline.at(lsn) for lsn in (199, 200)] == ["", "late"]


def test_counts_nobody_asks_for_do_not_pile_up() -> None:
    baseline = Baseline()
    for number in range(10 * KEPT_MOST):
        baseline.read(f"{number}")
        baseline.posted(number + 1)
    assert baseline.at(0) == "0"
    assert int(baseline.at(10**6)) < KEPT_MOST
