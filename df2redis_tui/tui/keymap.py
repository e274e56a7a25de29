"""Which key does what: the table's defaults, changed by the user's configuration."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

from df2redis_tui.errors import ConfigError
from df2redis_tui.tui.actions import ACTIONS, BY_ID, key_text

_NAMED = [
    "enter",
    "escape",
    "backspace",
    "space",
    "tab",
    "shift+tab",
    "left",
    "right",
    "up",
    "down",
    "home",
    "end",
    "pageup",
    "pagedown",
    "insert",
    "delete",
    "comma",
]
# Unicode's names, where Textual has others.
_TEXTUAL_NAMES = {
    "plus_sign": "plus",
    "hyphen_minus": "minus",
    "solidus": "slash",
    "low_line": "underscore",
    "commercial_at": "at",
    "reverse_solidus": "backslash",
}


def normal_key(key: str) -> str:
    """A key as Textual names it: "+" → "plus". Raises ValueError for one that no terminal sends."""
    key = key.strip() or ("space" if key == " " else "")
    if len(key) == 1:
        if key.isalnum():
            return key
        name = unicodedata.name(key, "").lower().replace("-", "_").replace(" ", "_")
        if not name:
            raise ValueError
        return _TEXTUAL_NAMES.get(name, name)
    low = key.lower()
    if low in _NAMED or (low[:1] == "f" and low[1:].isdigit() and 1 <= int(low[1:]) <= 24):
        return low
    if low.startswith("ctrl+") and len(low) == 6 and low[5].isalpha():
        return low
    if key.replace("_", "").isalpha() and key.islower():
        character = next((c for c in map(chr, range(33, 127)) if not c.isalnum() and normal_key(c) == key), None)
        if character is not None:
            return key
    raise ValueError


_CHARACTERS = {normal_key(c): c for c in map(chr, range(33, 127))}


def shown(key: str) -> str:
    """A key as Textual names it, as people read it: "plus" → "+"."""
    return key_text(_CHARACTERS.get(key, key))


def resolve_keys(changes: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Action id → its keys, as Textual names them.

    `changes` are (id, keys separated by commas; "" for none). Raises ConfigError for an unknown action, an impossible
    key, or one key for two actions.
    """
    keys = {action.id: action.keys for action in ACTIONS}
    for action_id, wanted in changes:
        if action_id not in BY_ID:
            near = difflib.get_close_matches(action_id, BY_ID, 1, 0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"keys: there is no action {action_id!r}{hint} (the help screen lists them)")
        keys[action_id] = tuple(k.strip() for k in wanted.split(",") if k.strip())
    if not keys["quit"]:
        raise ConfigError("keys: quit needs a key")
    out: dict[str, tuple[str, ...]] = {}
    taken: dict[str, str] = {}
    for action_id, names in keys.items():
        resolved = []
        for name in names:
            try:
                key = normal_key(name)
            except ValueError:
                raise ConfigError(
                    f"keys: {action_id} = {name!r}: no such key; use a character, enter, space, f1 ..., ctrl+letter"
                ) from None
            other = taken.setdefault(key, action_id)
            if other != action_id:
                raise ConfigError(f"keys: {key_text(name)!r} is wanted by both {other} and {action_id}")
            resolved.append(key)
        out[action_id] = tuple(resolved)
    return out
