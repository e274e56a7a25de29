"""Themes: one TOML file each, with an optional TCSS file beside it. A bad file is told about, never fatal."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli
from textual.color import Color, ColorParseError
from textual.css.stylesheet import Stylesheet
from textual.theme import Theme

COLORS = (
    "primary",
    "secondary",
    "accent",
    "foreground",
    "background",
    "surface",
    "panel",
    "boost",
    "success",
    "warning",
    "error",
)
# Variables a theme may set in [variables]; what it doesn't set comes from its base colours.
VARIABLES = (
    "health-ok", "health-warn", "health-crit", "fill-ok", "fill-warn", "fill-crit", "fill-batch", "fill-progress",
    "fill-node", "fill-track", "spark", "chart-body", "text-dim", "text-label", "text-strong", "text-title",
    "line", "line-focus",
    "flow-rdb", "flow-stable", "flow-wait", "flow-paused", "flow-failed", "badge-text", "ready", "bar-background",
    "selected-background", "pause-background", "pause-text", "freeze-background", "freeze-text",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ThemeError(Exception):
    """What is wrong with a theme file: file, key, reason."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Every theme found, the style sheets that belong to them, and what couldn't be read."""

    themes: dict[str, Theme]
    styles: tuple[Path, ...]
    errors: tuple[str, ...]


def shipped_dir() -> Path:
    """The themes of the package: beside this module in a wheel, at the top of a checkout."""
    inside = Path(__file__).parents[1] / "themes"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "themes"


def user_dir(environ: Mapping[str, str] | None = None) -> Path:
    """$XDG_CONFIG_HOME/df2redis-tui/themes"""
    env = os.environ if environ is None else environ
    base = env.get("XDG_CONFIG_HOME") or os.path.join(env.get("HOME", "~"), ".config")
    return Path(base).expanduser() / "df2redis-tui" / "themes"


def load_themes(extra: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """The shipped ones, then the user's, then those of `extra`; a later one replaces an earlier of the same name."""
    themes: dict[str, Theme] = {}
    styles: dict[str, Path] = {}
    errors: list[str] = []
    if extra is not None and not extra.is_dir():
        errors.append(f"{extra}: no such directory")
    for directory in (shipped_dir(), user_dir(environ), extra):
        if directory is None or not directory.is_dir():
            continue
        for path in sorted(directory.glob("*.toml")):
            try:
                theme = read_theme(path)
                style = path.with_suffix(".tcss")
                if style.exists():
                    check_style(style, theme)
                    styles[theme.name] = style
                else:
                    styles.pop(theme.name, None)
                themes[theme.name] = theme
            except ThemeError as error:
                errors.append(str(error))
    return Loaded(themes, tuple(styles.values()), tuple(errors))


def read_theme(path: Path) -> Theme:
    """One theme. Raises ThemeError naming the file, the key and the reason."""
    try:
        data = tomli.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ThemeError(f"{path}: can't be read: {error}") from None
    except tomli.TOMLDecodeError as error:
        raise ThemeError(f"{path}: {error}") from None
    known = {"name", "dark", "ansi", "variables", *COLORS}
    for key in data:
        if key not in known:
            raise ThemeError(f"{path}: unknown key {key!r}; there are {', '.join(sorted(known))}")
    name = _typed(path, data, "name", str, path.stem)
    if name != path.stem or not _NAME.fullmatch(name):
        raise ThemeError(f"{path}: name = {name!r} must be the file's name, {path.stem!r}")
    variables = _typed(path, data, "variables", dict, {})
    for key in variables:
        if key not in VARIABLES:
            raise ThemeError(f"{path}: [variables] unknown {key!r}; there are {', '.join(VARIABLES)}")
    if "primary" not in data:
        raise ThemeError(f"{path}: primary is missing")
    colors = {key: _color(path, key, data[key]) for key in COLORS if key in data}
    return Theme(
        name=name,
        primary=colors.pop("primary"),
        dark=_typed(path, data, "dark", bool, True),
        ansi=_typed(path, data, "ansi", bool, False),
        variables={key: _color(path, f"variables.{key}", value) for key, value in variables.items()},
        **colors,  # type: ignore[arg-type]
    )


def _typed(path: Path, data: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = data.get(key, default)
    if not isinstance(value, kind):
        raise ThemeError(f"{path}: {key} = {value!r} must be a {kind.__name__}")
    return value


def _color(path: Path, key: str, value: object) -> str:
    try:
        if not isinstance(value, str):
            raise ColorParseError(str(value))
        Color.parse(value)
    except ColorParseError:
        raise ThemeError(f'{path}: {key} = {value!r} is not a colour (like "#5aa9e6" or "ansi_blue")') from None
    return value


def check_style(path: Path, theme: Theme) -> None:
    """Parse a theme's TCSS. Raises ThemeError with the place."""
    sheet = Stylesheet(variables={**theme.to_color_system().generate(), **css_variables(theme)})
    try:
        text = path.read_text(encoding="utf-8")
        sheet.add_source(text, (str(path), ""))
        sheet.parse()
    except Exception as error:
        first = str(error).strip().splitlines()
        raise ThemeError(f"{path}: {first[0] if first else type(error).__name__}") from None


def css_variables(theme: Theme) -> dict[str, str]:
    """Every variable of `VARIABLES` for a theme: its own, or one made of its base colours."""
    base = theme.to_color_system().generate()
    ok, warn, crit = base["success"], base["warning"], base["error"]
    primary, accent = base["primary"], base["accent"]
    foreground, background = base["foreground"], base["background"]
    dim = _blend(foreground, background, 0.36)
    made = {
        "health-ok": ok, "health-warn": warn, "health-crit": crit,
        "fill-ok": ok, "fill-warn": warn, "fill-crit": crit,
        "fill-batch": primary, "fill-progress": primary, "fill-node": primary,
        "fill-track": _blend(foreground, background, 0.78),
        "spark": accent, "chart-body": _blend(theme.variables.get("spark", accent), background, 0.6),
        "text-dim": dim, "text-label": dim, "text-strong": foreground, "text-title": foreground,
        "line": _blend(foreground, background, 0.72), "line-focus": accent,
        "flow-rdb": primary, "flow-stable": ok, "flow-wait": dim, "flow-paused": warn, "flow-failed": crit,
        "badge-text": background, "ready": ok, "bar-background": base["panel"],
        "selected-background": _blend(foreground, background, 0.86),
        "pause-background": warn, "pause-text": background, "freeze-background": primary, "freeze-text": background,
    }  # fmt: skip
    if theme.ansi:
        made["ansi-background"] = "ansi_default"  # Textual asks for it and makes none
    return {**made, **theme.variables}


def _blend(first: str, second: str, factor: float) -> str:
    """`first` with `factor` of `second` in it; the terminal's own colours can't be mixed and stay as they are."""
    one, two = Color.parse(first), Color.parse(second)
    if one.ansi is not None or two.ansi is not None:
        return "ansi_bright_black" if factor > 0.6 else first
    return one.blend(two, factor, alpha=1).hex
