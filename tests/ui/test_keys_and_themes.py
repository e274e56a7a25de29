"""User's keys and themes: what is accepted, what is told, what is readable."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from textual.color import Color

from df2redis_tui.errors import ConfigError
from df2redis_tui.tui.appearance import fallback
from df2redis_tui.tui.keymap import normal_key, resolve_keys, shown
from df2redis_tui.tui.themes import (
    VARIABLES,
    ThemeError,
    css_variables,
    load_themes,
    read_theme,
    shipped_dir,
)
from df2redis_tui.tui.tuning import FLUSH_STEPS, ladder, parse_value, range_text, step

from .drive import driving
from .fake_engine import FakeEngine
from .fake_snapshot import KNOBS

SHIPPED = sorted(path.stem for path in shipped_dir().glob("*.toml"))
NOWHERE = {"XDG_CONFIG_HOME": "/nonexistent"}


# keys


def test_keys_may_be_characters_or_names() -> None:
    assert [normal_key(k) for k in ("+", "plus", "a", "G", "f5", "Enter", "ctrl+k", "?")] == [
        "plus", "plus", "a", "G", "f5", "enter", "ctrl+k", "question_mark",
    ]  # fmt: skip
    assert [shown(k) for k in ("plus", "question_mark", "enter", "ctrl+p", "f1")] == ["+", "?", "Enter", "^p", "F1"]


def test_a_users_key_replaces_the_default_and_empty_takes_it_away() -> None:
    keys = resolve_keys([("tune-batch-up", "w, f5"), ("theme", "")])
    assert keys["tune-batch-up"] == ("w", "f5")
    assert keys["theme"] == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("tune-batch-upp", "w"), "did you mean 'tune-batch-up'"),
        (("pause", "alt+x"), "no such key"),
        (("pause", "q"), "wanted by both"),
        (("quit", ""), "quit needs a key"),
    ],
)
def test_a_wrong_keymap_is_told_in_one_line(change: tuple[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        resolve_keys([change])
    assert "\n" not in str(caught.value)


@pytest.mark.asyncio
async def test_the_users_keys_are_in_force_and_shown() -> None:
    async with driving(keys=(("pause", "f9"), ("tune-batch-up", "w"))) as d:
        await d.press("p")
        assert not d.engine.paused
        await d.press("f9")
        assert d.engine.paused
        assert "F9 pause engine" in d.text("KeyBar")
        assert "F9 goes on" in d.text("Banner")


# steps and exact values


def test_the_ladder_goes_both_ways() -> None:
    assert [ladder(v, True) for v in (1, 9, 10, 50, 2000, 20_000)] == [2, 10, 12, 60, 2500, 25_000]
    for value in (2, 10, 50, 2000, 20_000, 125):
        assert ladder(ladder(value, True), False) == value


def test_steps_end_at_the_ends() -> None:
    import dataclasses

    assert step(dataclasses.replace(KNOBS, batch_size=1), "batch_size", False) == {}
    assert step(dataclasses.replace(KNOBS, flush_interval=FLUSH_STEPS[-1]), "flush_interval", True) == {}
    assert step(KNOBS, "rate_limit", True) == {}
    assert step(KNOBS, "rate_limit", False, rate_now=41_200) == {"rate_limit": 40_000}
    assert step(dataclasses.replace(KNOBS, rate_limit=5_000_000), "rate_limit", True) == {"rate_limit": 0}


@pytest.mark.parametrize(
    ("knob", "text", "value"),
    [
        ("batch_size", "2,500", 2500),
        ("batch_size", "2.5k", 2500),
        ("channel_bytes", "64MiB", 64 * 1024**2),
        ("channel_bytes", "100 MB", 100_000_000),
        ("flush_interval", "50ms", 0.05),
        ("flush_interval", "1.5", 1.5),
        ("rate_limit", "none", 0),
        ("rate_limit", "30k/s", 30_000),
        ("adaptive_flush", "off", 0),
    ],
)
def test_values_as_people_type_them(knob: str, text: str, value: float) -> None:
    assert parse_value(knob, text) == value


@pytest.mark.parametrize(
    ("knob", "text"),
    [("batch_size", "0"), ("batch_size", "many"), ("flush_interval", "61s"), ("adaptive_flush", "maybe"),
     ("max_in_flight", ""), ("batch_size", "nan"), ("batch_size", "inf"), ("batch_size", "1e99")],
)  # fmt: skip
def test_wrong_values_are_refused(knob: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"value|range|on or off"):
        parse_value(knob, text)
    assert range_text(knob)


# themes


def test_the_promised_themes_are_there() -> None:
    assert set(SHIPPED) == {"dark", "light", "high-contrast", "blue-orange", "red-cyan", "mono", "ansi-16"}
    assert load_themes(environ=NOWHERE).errors == ()


def test_they_travel_in_the_wheel() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    forced = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert forced["themes"] == "df2redis_tui/themes"


def contrast(one: str, two: str) -> float:
    """WCAG 2 contrast ratio."""

    def luminance(text: str) -> float:
        parts = [c / 255 for c in Color.parse(text).rgb]
        red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", [n for n in SHIPPED if n not in ("mono", "ansi-16")])
def test_text_and_gauges_can_be_read(name: str) -> None:
    theme = load_themes(environ=NOWHERE).themes[name]
    colors = {**theme.to_color_system().generate(), **css_variables(theme)}
    texts = ("foreground", "text-dim", "text-label", "text-strong", "text-title", "health-ok", "health-warn",
             "health-crit", "accent")  # fmt: skip
    least = 7.0 if name == "high-contrast" else 4.5
    for text in texts:
        for ground in ("background", "bar-background"):
            assert contrast(colors[text], colors[ground]) >= least, (text, ground)
    for gauge in (
        "fill-ok",
        "fill-warn",
        "fill-crit",
        "fill-batch",
        "fill-progress",
        "fill-node",
        "spark",
        "line-focus",
    ):
        assert contrast(colors[gauge], colors["background"]) >= 3, gauge
    for ground in ("flow-rdb", "flow-stable", "flow-wait", "flow-paused", "flow-failed", "ready", "line-focus"):
        assert contrast(colors["badge-text"], colors[ground]) >= 4.5, ground
    assert contrast(colors["pause-text"], colors["pause-background"]) >= 4.5
    assert contrast(colors["freeze-text"], colors["freeze-background"]) >= 4.5


@pytest.mark.parametrize("name", SHIPPED)
def test_every_theme_fills_every_variable(name: str) -> None:
    assert set(VARIABLES) <= set(css_variables(load_themes(environ=NOWHERE).themes[name]))


@pytest.mark.asyncio
@pytest.mark.parametrize("name", [*SHIPPED, "nord", "textual-light", "ansi-dark"])
async def test_the_application_starts_in_every_theme(name: str) -> None:
    async with driving(theme=name) as d:
        assert d.app.theme == name
        await d.press("ctrl+p")
        await d.press("escape", "equals_sign", "escape")


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('primary = "#12"', "primary = '#12' is not a colour"),
        ('primray = "#123456"', "unknown key 'primray'"),
        ('primary = "#123456"\nname = "other"', "must be the file's name"),
        ('primary = "#123456"\ndark = "yes"', "dark = 'yes' must be a bool"),
        ('primary = "#123456"\n[variables]\nfill-okay = "red"', "unknown 'fill-okay'"),
        ("primary = \ndark = true", "line 1"),
        ("dark = true", "primary is missing"),
    ],
)
def test_a_wrong_theme_is_told_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, "mine", text)
    with pytest.raises(ThemeError) as caught:
        read_theme(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    loaded = load_themes(tmp_path, NOWHERE)
    assert "mine" not in loaded.themes
    assert len(loaded.errors) == 1


def test_a_wrong_style_sheet_is_told(tmp_path: Path) -> None:
    write(tmp_path, "mine", 'primary = "#123456"')
    (tmp_path / "mine.tcss").write_text(".role--ok { colour red }")
    assert "mine.tcss" in load_themes(tmp_path, NOWHERE).errors[0]


@pytest.mark.asyncio
async def test_users_themes_come_from_their_directory_with_their_style(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    themes = tmp_path / "df2redis-tui" / "themes"
    themes.mkdir(parents=True)
    write(themes, "mine", 'primary = "#336699"\n[variables]\nhealth-ok = "#00ff00"')
    (themes / "mine.tcss").write_text(".-theme-mine { .role--ok { text-style: italic; } }")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    async with driving(theme="mine") as d:
        style = d.app.role_style("ok")
        assert style is not None
        assert style.italic
        assert style.color is not None
        assert style.color.get_truecolor() == (0, 255, 0)
        await d.press("T")
        await d.settle(0.2)
        switched = d.app.role_style("ok")
        assert switched is not None
        assert not switched.italic


@pytest.mark.asyncio
async def test_a_theme_that_is_not_there_is_told_and_replaced() -> None:
    async with driving(FakeEngine(moving=False), theme="drak") as d:
        assert d.app.theme == "dark"
        assert "there is no theme 'drak'" in d.messages()


def test_the_first_theme_suits_the_terminal() -> None:
    assert fallback("auto", False, None) == "dark"
    assert fallback("auto", True, None) == "mono"
    assert fallback("none", False, None) == "mono"
    assert fallback("16", False, None) == "ansi-16"
    assert fallback("auto", False, 16) == "ansi-16"
