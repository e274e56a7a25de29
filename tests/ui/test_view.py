"""What the view models say, without any screen."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from df2redis_tui.telemetry import format as fmt
from df2redis_tui.telemetry.chart import chart_lines, condense
from df2redis_tui.telemetry.glyphs import ASCII, BLOCK, SETS, UNICODE, Glyphs, choose
from df2redis_tui.telemetry.snapshot import Health, Phase
from df2redis_tui.telemetry.view import (
    batch_line,
    event_line,
    knob_text,
    node_lines,
    node_views,
    totals_line,
    tune_line,
)
from df2redis_tui.telemetry.view_flow import PANEL_ROWS, flow_view, flow_words, grade, panel_lines
from df2redis_tui.telemetry.view_pages import detail_lines, report_lines, target_lines
from df2redis_tui.telemetry.view_status import plain_status, status_lines, status_view
from df2redis_tui.telemetry.view_table import SORTABLE, header_line, row_line, sorted_flows, visible_columns

from .fake_snapshot import KNOBS, make_snapshot

SIZES = (60, 80, 100, 120, 160, 200)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.0 k"),
        (1204, "1.2 k"),
        (41_200, "41.2 k"),
        (99_960, "100 k"),
        (1.2e6, "1.2 M"),
    ],
)
def test_si_numbers(number: float, text: str) -> None:
    assert fmt.si(number) == text


@given(st.floats(min_value=0, max_value=9e17))
def test_numbers_never_grow_out_of_their_column(number: float) -> None:
    assert len(fmt.si(number)) <= 6
    assert len(fmt.rate(number)) <= 8
    assert len(fmt.size(number)) <= 7
    assert len(fmt.size_rate(number)) <= 9


@given(st.floats(min_value=0, max_value=86_400 * 99))
def test_times_never_grow_out_of_their_column(seconds: float) -> None:
    assert len(fmt.span(seconds)) <= 6
    assert len(fmt.millis(seconds * 1000)) <= 6
    assert len(fmt.lag(seconds)) <= 6


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (41, "41 s"), (250, "4 m 10 s"), (7500, "2 h 05 m"), (273_600, "3 d 04 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert fmt.duration(seconds) == text


def test_unknown_is_two_dashes_everywhere() -> None:
    for text in (fmt.si, fmt.count, fmt.rate, fmt.size, fmt.span, fmt.millis, fmt.lag, fmt.duration, fmt.percent):
        assert text(None) == "--"


def test_a_hundred_percent_only_when_whole() -> None:
    assert fmt.percent(0.9999) == "99 %"
    assert fmt.percent(1.0) == "100 %"


@given(
    st.floats(min_value=0, max_value=2), st.integers(min_value=1, max_value=60), st.sampled_from(list(SETS.values()))
)
def test_bars_have_their_width(ratio: float, width: int, glyphs: Glyphs) -> None:
    filled, empty = fmt.bar(round(ratio, 3), width, glyphs)
    assert len(filled) + len(empty) == width


def test_a_bar_shows_anything_above_zero_and_is_full_only_at_one() -> None:
    assert fmt.bar(0.0, 10)[0] == ""
    assert fmt.bar(0.0001, 10)[0] != ""
    assert fmt.bar(0.99, 10)[0] != "█" * 10
    assert fmt.bar(1.0, 10) == ("█" * 10, "")


def test_untrusted_text_loses_its_control_bytes() -> None:
    assert fmt.clean("cart:\x1b[31m8812\n\u202e\ud800") == "cart:?[31m8812??"


def test_wide_text_is_cut_by_cells() -> None:
    assert fmt.cell_len(fmt.fit("日本語のキー", 7)) == 7


def test_a_scale_stays_while_figures_wobble() -> None:
    assert fmt.scale_top([4.1, 4.9]) == 5
    assert fmt.scale_top([5.1]) == 10
    assert fmt.scale_top([0]) == 1


def test_a_spark_is_on_a_fixed_scale() -> None:
    assert fmt.spark([98, 99], 2, 100) == "██"
    assert fmt.spark([0, 10], 4, 100) == "   ▁"


@pytest.mark.parametrize("value", [(0.499, "ok"), (0.5, "warn"), (0.8, "warn"), (0.801, "crit")])
def test_grades_follow_the_health_table(value: tuple[float, str]) -> None:
    assert grade(value[0], (0.5, 0.8)) == value[1]


@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("glyphs", [UNICODE, BLOCK, ASCII], ids=lambda g: g.name)
def test_every_line_has_its_width(width: int, phase: Phase, glyphs: Glyphs) -> None:
    snap = make_snapshot(70, phase=phase, loaded=(1, 2))
    columns = visible_columns(width)
    views = [flow_view(f, glyphs, rates=[1, 2], top=10) for f in snap.flows]
    lines = [*status_lines(status_view(snap, glyphs), width, glyphs, badges=("FROZEN",))]
    lines += [header_line(columns, width, glyphs=glyphs), *(row_line(v, columns, width, glyphs) for v in views)]
    lines += [panel for v in views for panel in panel_lines(v, max(30, width // 3), glyphs)]
    lines += node_lines(node_views(snap.nodes, glyphs), width, 2, glyphs)
    lines += [batch_line(b, width, glyphs) for b in snap.batches[-70:]]
    lines += [event_line(e, width, glyphs) for e in snap.events]
    lines += [tune_line(snap, None, width, "batch size 2,000 → 2,500", glyphs), totals_line(snap, width)]
    for line in lines:
        assert fmt.line_width(line) in (width, max(30, width // 3)), fmt.line_text(line)


@pytest.mark.parametrize("phase", list(Phase))
def test_ascii_is_ascii(phase: Phase) -> None:
    snap = make_snapshot(70, phase=phase, ready_to_cut_over=True, caught_up_for=30.0)
    views = [flow_view(f, ASCII, rates=[1, 5, 9], top=10) for f in snap.flows]
    lines = [*status_lines(status_view(snap, ASCII), 120, ASCII)]
    lines += [line for v in views for line in panel_lines(v, 50, ASCII, selected=True)]
    lines += [row_line(v, visible_columns(160), 160, ASCII, selected=True) for v in views]
    lines += [event_line(e, 120, ASCII) for e in snap.events]
    lines += [batch_line(b, 120, ASCII) for b in snap.batches]
    lines += chart_lines([1, 5, 9], 60, 5, ASCII, title="rate")
    lines += target_lines(snap, 120, ASCII) + detail_lines(snap, snap.flows[2], [1, 2], 120, ASCII)
    lines += report_lines(snap, [1, 2], 120, ASCII)
    text = "\n".join(fmt.line_text(line) for line in lines)
    assert text.isascii(), sorted({c for c in text if not c.isascii()})


def test_figures_keep_their_place() -> None:
    """Whatever the figures are, the words of the status line and of a row stand in the same columns."""
    places = set()
    rows = set()
    for t in range(50, 90):
        snap = make_snapshot(float(t), loaded=())
        line = fmt.line_text(status_lines(status_view(snap), 120)[0])
        places.add((line.index("op/s"), line.index("MB/s")))
        row = fmt.line_text(row_line(flow_view(snap.flows[0]), visible_columns(120), 120))
        rows.add(row.index("● ok"))
    assert len(places) == 1
    assert len(rows) == 1


def test_the_status_of_a_full_sync_says_how_far() -> None:
    view = status_view(make_snapshot(60, phase=Phase.FULL_SYNC))
    assert (view.percent, view.keys.strip(), view.eta) == ("54 %", "11.0 M of ~20.1 M keys", "ETA 49 s")
    assert view.lag == ""


def test_no_eta_and_no_percent_in_stable_sync() -> None:
    view = status_view(make_snapshot(60))
    assert (view.percent, view.eta) == ("", "")
    assert "lag" in view.lag


def test_an_unknown_eta_is_not_made_up() -> None:
    assert status_view(make_snapshot(5, phase=Phase.FULL_SYNC, eta=None)).eta == "ETA --"


def test_ready_to_cut_over_is_said_in_words() -> None:
    snap = make_snapshot(60, ready_to_cut_over=True, caught_up_for=34.0, loaded=())
    assert "READY TO CUT OVER: lag 0 for 30 s" in fmt.line_text(status_lines(status_view(snap), 80)[0])


def test_a_state_that_does_not_run_carries_its_reason() -> None:
    snap = make_snapshot(60, phase=Phase.RECONNECTING, reason="reconnecting in 4 s (attempt 3: connection refused)")
    assert "attempt 3: connection refused" in fmt.line_text(status_lines(status_view(snap), 80)[1])
    assert "attempt 3: connection refused" in plain_status(status_view(snap))


def test_a_failure_comes_before_everything_else() -> None:
    snap = make_snapshot(60, phase=Phase.FAILED, failure="target answered OOM · FLOW 3 batch #41")
    assert fmt.line_text(status_lines(status_view(snap), 80)[1]).startswith(" target answered OOM")


def test_the_plain_status_says_what_the_status_line_says() -> None:
    snap = make_snapshot(60)
    view = status_view(snap)
    shown = " ".join(fmt.line_text(line) for line in status_lines(view, 300))
    for part in (view.lag, view.ops, view.verdict, view.health_word):
        assert part in shown
        assert " ".join(part.split()) in plain_status(view)


@pytest.mark.parametrize("health", list(Health))
def test_health_is_a_colour_a_glyph_and_a_word(health: Health) -> None:
    flow = dataclasses.replace(make_snapshot(60).flows[0], health=health, health_reason="channel 83 % > 80 %")
    view = flow_view(flow)
    marks = {Health.HEALTHY: ("●", "ok", "ok"), Health.WARNING: ("▲", "warning", "warn")}
    assert (view.glyph, view.word, view.role) == marks.get(health, ("■", "critical", "crit"))
    assert len(panel_lines(view, 40)) == PANEL_ROWS
    if health is not Health.HEALTHY:
        assert "channel 83 %" in fmt.line_text(panel_lines(view, 40)[-1])


def test_glyphs_differ_by_health_in_every_set() -> None:
    for glyphs in SETS.values():
        assert len({glyphs.health(h) for h in Health}) == 3


def test_equal_snapshots_give_equal_views() -> None:
    one, two = make_snapshot(60, seq=1), make_snapshot(60, seq=2)
    assert status_view(one) == status_view(two)
    assert [flow_view(f) for f in one.flows] == [flow_view(f) for f in two.flows]


def test_a_full_channel_by_bytes_counts_as_full() -> None:
    flow = dataclasses.replace(make_snapshot(60).flows[0], channel_entries=1, channel_bytes=KNOBS.channel_bytes)
    assert flow_view(flow).channel_percent == "100 %"


def test_a_lowered_limit_shows_more_than_full() -> None:
    flow = dataclasses.replace(
        make_snapshot(60).flows[0], in_flight=31, knobs=dataclasses.replace(KNOBS, max_in_flight=20)
    )
    view = flow_view(flow)
    assert view.limiter_text == "31/20"
    assert view.limiter_role == "crit"


def test_flows_are_sorted_by_any_column_and_ties_by_number() -> None:
    flows = make_snapshot(60).flows
    for column in SORTABLE:
        assert {f.flow for f in sorted_flows(flows, column, False)} == set(range(8))
    assert [f.flow for f in sorted_flows(flows, "flow", True)] == list(range(7, -1, -1))
    assert sorted_flows(flows, "channel", True)[0].flow == 2


def test_shares_of_the_nodes_add_up() -> None:
    views = node_views(make_snapshot(60).nodes)
    assert abs(sum(v.share for v in views) - 1) < 0.02


def test_nodes_without_room_are_counted() -> None:
    lines = node_lines(node_views(make_snapshot(60, nodes=30).nodes), 80, 2)
    assert "+28" in fmt.line_text(lines[-1])


def test_a_node_that_is_down_is_marked() -> None:
    node = dataclasses.replace(make_snapshot(60).nodes[0], connected=False)
    assert (node_views([node])[0].glyph, node_views([node])[0].word) == ("■", "down")


def test_a_node_that_does_not_answer_is_marked() -> None:
    node = dataclasses.replace(make_snapshot(60).nodes[0], detail="no answer for 7 s")
    view = node_views([node])[0]
    assert (view.glyph, view.role, view.word, view.detail) == ("▲", "warn", "silent", "no answer for 7 s")


def test_a_changed_knob_stands_out() -> None:
    snap = make_snapshot(60, knobs=dataclasses.replace(KNOBS, batch_size=3000))
    changed = [s.text for s in tune_line(snap, None, 120) if s.role == "changed"]
    assert changed == ["3,000"]


@pytest.mark.parametrize(
    ("knob", "value", "text"),
    [("batch_size", 2000, "2,000"), ("flush_interval", 0.05, "50 ms"), ("rate_limit", 0, "none"),
     ("adaptive_flush", False, "off"), ("channel_bytes", 64e6, "64.0 MB")],
)  # fmt: skip
def test_knobs_have_units(knob: str, value: float, text: str) -> None:
    assert knob_text(knob, value) == text


def test_a_failed_and_a_slow_flush_are_marked() -> None:
    records = make_snapshot(60).batches
    failed = next(b for b in records if b.failed)
    slow = next(b for b in records if b.ms >= 100)
    assert any(s.role == "crit" for s in batch_line(failed, 120))
    assert any(s.role == "warn" for s in batch_line(slow, 120))


def test_a_chart_keeps_a_run_of_any_length() -> None:
    assert condense([1.0] * 1000, 50) == [1.0] * 50
    assert condense([1.0, 2.0], 50) == [1.0, 2.0]
    lines = chart_lines([float(i) for i in range(1000)], 80, 6, UNICODE, title="rate")
    assert len(lines) == 6
    assert all(fmt.line_width(line) <= 80 for line in lines)


def test_a_flow_in_one_line() -> None:
    words = flow_words(flow_view(make_snapshot(60).flows[2]))
    assert words.startswith("FLOW 2 stable sync: channel")
    assert "limiter" in words


@pytest.mark.parametrize(
    ("wanted", "environ", "encoding", "name"),
    [
        ("auto", {"TERM": "xterm-256color"}, "utf-8", "unicode"),
        ("auto", {"TERM": "linux"}, "UTF-8", "block"),
        ("auto", {"TERM": "xterm"}, "ANSI_X3.4-1968", "ascii"),
        ("ascii", {"TERM": "xterm"}, "utf-8", "ascii"),
    ],
)
def test_the_characters_fit_the_terminal(wanted: str, environ: dict[str, str], encoding: str, name: str) -> None:
    assert choose(wanted, environ, encoding).name == name
