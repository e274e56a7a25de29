"""How many colours there are, and which theme the application starts with."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console

from df2redis_tui.settings import Settings
from df2redis_tui.tui.themes import Loaded

_SYSTEMS = {"truecolor": "truecolor", "256": "256", "16": "standard"}


def choose_console(found: Console, settings: Settings) -> Console:
    """`found` is Textual's, with the colours the terminal says it has; the settings may ask for others."""
    system = _SYSTEMS.get(settings.color)
    if system is None and settings.low_bandwidth and found.color_system == "truecolor":
        system = "256"
    if system is None:
        return found
    return Console(
        color_system=system,  # type: ignore[arg-type]
        file=found.file,
        highlight=False,
        emoji=False,
        legacy_windows=False,
        force_terminal=True,
    )


def choose_theme(
    settings: Settings, available: Collection[str], loaded: Loaded, console: Console, no_color: bool
) -> tuple[str, str]:
    """(theme, what was wrong with the wanted one or "")."""
    colors = {"standard": 16, "windows": 16, None: 16}.get(console.color_system)
    first = fallback(settings.color, no_color, colors)
    if first not in available:
        first = "textual-dark"
    if settings.theme is None or settings.theme in available:
        return settings.theme or first, ""
    return first, f"there is no theme {settings.theme!r}; there are {', '.join(loaded.themes)}"


def fallback(color: str, no_color: bool, colors: int | None) -> str:
    """The theme to start with when none is asked for: `colors` is how many the terminal has."""
    if no_color or color == "none":
        return "mono"
    return "ansi-16" if color == "16" or (colors is not None and colors <= 16) else "dark"
