"""THE table of actions: keys, footer, help, palette, keymap, read-only mode, the README's table come from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from df2redis_tui.telemetry.snapshot import EngineSnapshot, Phase

Enabled = Callable[[EngineSnapshot], "str | None"]

TUNING = "Tuning"
ENGINE = "Engine"
SCREENS = "Screens"
VIEW = "View"
BATCHES = "Batch log"


def _always(snap: EngineSnapshot) -> str | None:
    return None


def _running(snap: EngineSnapshot) -> str | None:
    if snap.exit_code is not None or snap.phase in (Phase.DONE, Phase.FAILED):
        return "the run has ended"
    return "it is draining and about to end" if snap.phase is Phase.DRAINING else None


def _has_flows(snap: EngineSnapshot) -> str | None:
    return None if snap.flows else "there is no FLOW yet"


@dataclass(frozen=True, slots=True)
class Action:
    """`keys` are the default keys as characters or Textual's names; `enabled` gives the reason why not, or None.

    `title` stands in the footer and the palette, `help` on the help screen. `screens` limits an action to some screens.
    `footer` is its rank in the footer, 0 for none. `mutates` is whether it changes the engine.
    """

    id: str
    keys: tuple[str, ...]
    title: str
    help: str
    group: str
    mutates: bool = False
    enabled: Enabled = _always
    screens: tuple[str, ...] = ()
    footer: int = 0
    palette: str = ""  # prefix in the command palette, "" keeps it out


def _tune(id: str, key: str, title: str, help: str, footer: int = 0) -> Action:
    return Action(id, (key,), title, help, TUNING, True, _running, footer=footer, palette="tune")


ACTIONS: tuple[Action, ...] = (
    _tune("tune-batch-up", "+", "larger batches", "batch size: larger", 3),
    _tune("tune-batch-down", "-", "smaller batches", "batch size: smaller", 3),
    _tune("tune-in-flight-up", "]", "more in flight", "batches in flight per FLOW: more", 4),
    _tune("tune-in-flight-down", "[", "fewer in flight", "batches in flight per FLOW: fewer", 4),
    _tune("tune-flush-up", ">", "flush later", "flush interval: longer"),
    _tune("tune-flush-down", "<", "flush sooner", "flush interval: shorter"),
    _tune("tune-channel-up", "}", "larger channel", "channel (entries and bytes): twice"),
    _tune("tune-channel-down", "{", "smaller channel", "channel (entries and bytes): half"),
    _tune("tune-rate-up", ")", "raise rate limit", "rate limit of all: higher, then none"),
    _tune("tune-rate-down", "(", "lower rate limit", "rate limit of all: lower"),
    _tune("tune-adaptive", "a", "adaptive flush", "adaptive flush on or off"),
    _tune("tune-exact", "=", "exact value", "an exact value for any of these"),
    Action(
        "tune-scope",
        ("s",),
        "scope",
        "tune all FLOWs or the selected one",
        TUNING,
        enabled=_has_flows,
        palette="tune",
    ),
    _tune("tune-undo", "u", "undo", "undo the last change"),
    _tune("tune-reset", "0", "reset", "everything as configured"),
    Action(
        "pause",
        ("p",),
        "pause engine",
        "pause the engine (send nothing) or go on",
        ENGINE,
        True,
        _running,
        footer=2,
        palette="engine",
    ),
    Action(
        "quit",
        ("q", "ctrl+q", "ctrl+c"),
        "quit",
        "drain, confirm, leave; again: leave now",
        ENGINE,
        footer=1,
        palette="engine",
    ),
    Action(
        "suspend",
        ("ctrl+z",),
        "suspend",
        "let the source go and stop; fg goes on",
        ENGINE,
        palette="engine",
    ),
    Action("overview", ("1",), "overview", "FLOWs, target nodes, newest flushes", SCREENS, palette="go"),
    Action("batches", ("2", "b"), "batches", "the log of flushes, with filters", SCREENS, footer=6, palette="go"),
    Action(
        "errors",
        ("3", "e"),
        "errors",
        "retries, error replies, dead letters",
        SCREENS,
        footer=8,
        palette="go",
    ),
    Action("target", ("4",), "target", "both ends: nodes, memory, capabilities", SCREENS, palette="go"),
    Action("report", ("5", "r"), "report", "what has been copied, phases, rate", SCREENS, palette="go"),
    Action(
        "flow",
        ("enter",),
        "FLOW",
        "everything about the selected FLOW",
        SCREENS,
        enabled=_has_flows,
        footer=5,
        palette="go",
    ),
    Action("help", ("?", "f1"), "help", "this page", SCREENS, footer=1, palette="go"),
    Action("back", ("escape", "backspace"), "back", "back to where you came from", SCREENS),
    Action("next-flow", ("right", "tab"), "next FLOW", "select the next FLOW", VIEW, enabled=_has_flows),
    Action(
        "previous-flow", ("left", "shift+tab"), "previous FLOW", "select the previous FLOW", VIEW, enabled=_has_flows
    ),
    Action("down", ("down", "j"), "down", "a row of FLOWs, or a line, down", VIEW),
    Action("up", ("up", "k"), "up", "a row of FLOWs, or a line, up", VIEW),
    Action("page-down", ("pagedown",), "page down", "a page down", VIEW),
    Action("page-up", ("pageup",), "page up", "a page up", VIEW),
    Action("first", ("home", "g"), "first", "to the first line", VIEW),
    Action("last", ("end", "G"), "last", "to the last line, and follow", VIEW),
    Action(
        "freeze",
        ("space",),
        "freeze view",
        "hold the picture; the engine goes on",
        VIEW,
        footer=9,
        palette="view",
    ),
    Action(
        "table",
        ("t",),
        "table",
        "FLOWs as panels or as a table",
        VIEW,
        screens=("overview",),
        footer=7,
        palette="view",
    ),
    Action("sort", ("o",), "sort", "sort the table by the next column", VIEW, screens=("overview",), palette="view"),
    Action("sort-reverse", ("O",), "reverse", "reverse the order", VIEW, screens=("overview",), palette="view"),
    Action("theme", ("T",), "theme", "next theme (the palette lists them)", VIEW, palette="view"),
    Action("glyphs", ("c",), "characters", "Unicode, blocks or ASCII", VIEW, palette="view"),
    Action("copy", ("y",), "copy", "copy what is selected (OSC 52)", VIEW, palette="export"),
    Action("screenshot", ("S",), "screenshot", "write the screen to a file (SVG)", VIEW, palette="export"),
    Action("palette", ("ctrl+p", ":"), "commands", "find a command by its name", VIEW, footer=10),
    Action(
        "filter-text",
        ("/",),
        "find",
        "find text (a regex; ! before it inverts)",
        BATCHES,
        screens=("batches", "errors"),
        footer=2,
        palette="filter",
    ),
    Action(
        "filter-flow",
        ("f",),
        "FLOW",
        "show one FLOW, the next, all",
        BATCHES,
        screens=("batches", "errors"),
        footer=3,
        palette="filter",
    ),
    Action(
        "filter-slow",
        ("l",),
        "slow",
        "show slow flushes only",
        BATCHES,
        screens=("batches",),
        footer=3,
        palette="filter",
    ),
    Action(
        "filter-failed",
        ("x",),
        "failed",
        "show failed flushes only",
        BATCHES,
        screens=("batches",),
        footer=3,
        palette="filter",
    ),
    Action(
        "filter-clear",
        ("z",),
        "clear",
        "clear all filters",
        BATCHES,
        screens=("batches", "errors"),
        footer=4,
        palette="filter",
    ),
)

BY_ID = {action.id: action for action in ACTIONS}

KEY_WORD = {
    "enter": "Enter",
    "escape": "Esc",
    "backspace": "Backspace",
    "space": "Space",
    "right": "Right",
    "left": "Left",
    "up": "Up",
    "down": "Down",
    "tab": "Tab",
    "shift+tab": "Shift+Tab",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "home": "Home",
    "end": "End",
    "comma": ",",
}


def key_text(key: str) -> str:
    """A key as people read it: +, Enter, ^p, F1."""
    if key in KEY_WORD:
        return KEY_WORD[key]
    if key.startswith("ctrl+"):
        return "^" + key[5:]
    return key.upper() if len(key) > 1 and key[0] == "f" and key[1:].isdigit() else key


def disabled_reason(action: Action, snap: EngineSnapshot, screen: str, read_only: bool) -> str | None:
    """Why `action` can't be done now, or None."""
    if read_only and action.mutates:
        return "read-only mode: nothing here changes the engine"
    if action.screens and screen not in action.screens:
        return f"it belongs to the screen {' and '.join(action.screens)}"
    return action.enabled(snap)


def key_table() -> str:
    """The README's table of keys, as Markdown."""
    rows = ["| key | does | id in `keys` |", "|---|---|---|"]
    for action in ACTIONS:
        keys = ", ".join(f"`{key_text(k)}`" for k in action.keys)
        rows.append(f"| {keys} | {action.help} | `{action.id}` |")
    return "\n".join(rows) + "\n"
