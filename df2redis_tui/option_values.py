"""The kinds of value an option can have: how each is read from a flag, a variable or TOML, and written in TOML.

`parse` takes a string, or what TOML gave, and raises ValueError; its text replaces `accepts` in the message to the
operator where it is more exact.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from df2redis_tui.endpoints import looks_like_url, shown
from df2redis_tui.masking import masked

_SIZE_UNITS: Final = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
}  # fmt: skip
_TIME_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_QUANTITY: Final = re.compile(r"([0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?) ?([A-Za-z]*)")
_SWITCH: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


class Unacceptable(ValueError):
    """A value outside what `accepts` says; an empty text leaves the explanation to `accepts`."""


class ValueKind(Protocol):
    """One kind of value. `accepts` completes the sentence "… is accepted"."""

    @property
    def accepts(self) -> str: ...

    @property
    def metavar(self) -> str: ...

    def parse(self, raw: object) -> object: ...

    def to_toml(self, value: object) -> str: ...

    def show(self, raw: object) -> str:
        """A refused value as it may be repeated in an error."""
        ...


@dataclass(frozen=True, slots=True)
class Plain:
    @property
    def accepts(self) -> str:
        return "text"

    @property
    def metavar(self) -> str:
        return "TEXT"

    def to_toml(self, value: object) -> str:
        return json.dumps(str(value), ensure_ascii=False)

    def show(self, raw: object) -> str:
        if isinstance(raw, str) and looks_like_url(raw):
            return repr(shown(raw))
        text = masked(repr(raw))
        return text if len(text) <= 80 else text[:79] + "…"


@dataclass(frozen=True, slots=True)
class Number(Plain):
    """A whole number; `_` may group digits."""

    low: int
    high: int

    @property
    def accepts(self) -> str:
        return f"a whole number from {self.low:,} to {self.high:,}".replace(",", "_")

    @property
    def metavar(self) -> str:
        return "N"

    def parse(self, raw: object) -> int:
        if isinstance(raw, str) and re.fullmatch(r"-?[0-9]+(_[0-9]+)*", raw.strip()) and len(raw) < 40:
            raw = int(raw)
        if not isinstance(raw, int) or isinstance(raw, bool) or not self.low <= raw <= self.high:
            raise Unacceptable
        return raw

    def to_toml(self, value: object) -> str:
        return f"{value:_}" if isinstance(value, int) else str(value)


@dataclass(frozen=True, slots=True)
class Percent(Plain):
    """A whole number of hundredths; the sign may be left out."""

    @property
    def accepts(self) -> str:
        return "a percentage from 0 to 100, such as 50%"

    @property
    def metavar(self) -> str:
        return "PERCENT"

    def parse(self, raw: object) -> int:
        text = str(raw).strip().removesuffix("%").strip()
        if isinstance(raw, bool) or not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > 100:
            raise Unacceptable
        return int(text)

    def to_toml(self, value: object) -> str:
        return json.dumps(f"{value}%")


@dataclass(frozen=True, slots=True)
class Size(Plain):
    """Bytes: a number, or a number with a unit. KiB, MiB … are powers of 1024, KB, MB … of 1000."""

    low: int
    high: int

    @property
    def accepts(self) -> str:
        return f"a size such as 64MiB or 4_000_000, from {size_text(self.low)} to {size_text(self.high)}"

    @property
    def metavar(self) -> str:
        return "SIZE"

    def parse(self, raw: object) -> int:
        if isinstance(raw, bool):
            raise Unacceptable
        number, unit = _quantity(raw)
        if unit.upper() not in _SIZE_UNITS:
            raise Unacceptable
        size = number * _SIZE_UNITS[unit.upper()]
        if not self.low <= size <= self.high:
            raise Unacceptable
        return int(size)

    def to_toml(self, value: object) -> str:
        return json.dumps(size_text(value)) if isinstance(value, int) else str(value)


@dataclass(frozen=True, slots=True)
class Duration(Plain):
    """Seconds, written with a unit: a bare 50 could mean either, so it is refused."""

    low: float
    high: float

    @property
    def accepts(self) -> str:
        return f"a duration with its unit, such as 50ms or 5s, from {time_text(self.low)} to {time_text(self.high)}"

    @property
    def metavar(self) -> str:
        return "TIME"

    def parse(self, raw: object) -> float:
        if isinstance(raw, bool):
            raise Unacceptable
        number, unit = _quantity(raw)
        if not unit and number == 0:
            unit = "s"
        if unit.lower() not in _TIME_UNITS:
            raise Unacceptable
        seconds = number * _TIME_UNITS[unit.lower()]
        if not self.low <= seconds <= self.high:
            raise Unacceptable
        return seconds

    def to_toml(self, value: object) -> str:
        return json.dumps(time_text(value)) if isinstance(value, int | float) else str(value)


@dataclass(frozen=True, slots=True)
class Choice(Plain):
    """One of some words."""

    words: tuple[str, ...]

    @property
    def accepts(self) -> str:
        return " or ".join(self.words) if len(self.words) == 2 else f"one of {', '.join(self.words)}"

    @property
    def metavar(self) -> str:
        return "|".join(self.words)

    def parse(self, raw: object) -> str:
        word = str(raw).strip() if isinstance(raw, str | int) else ""
        if word not in self.words:
            raise Unacceptable
        return word


@dataclass(frozen=True, slots=True)
class Switch(Plain):
    """On or off: `--name` and `--no-name`."""

    @property
    def accepts(self) -> str:
        return "true or false"

    @property
    def metavar(self) -> str:
        return "true|false"

    def parse(self, raw: object) -> bool:
        value = _SWITCH.get(raw.strip().lower()) if isinstance(raw, str) else raw
        if not isinstance(value, bool):
            raise Unacceptable
        return value

    def to_toml(self, value: object) -> str:
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class Text(Plain):
    """Text that matches a pattern."""

    pattern: str
    meaning: str
    word: str = "TEXT"

    @property
    def accepts(self) -> str:
        return self.meaning

    @property
    def metavar(self) -> str:
        return self.word

    def parse(self, raw: object) -> str:
        if not isinstance(raw, str) or not re.fullmatch(self.pattern, raw):
            raise Unacceptable
        return raw


@dataclass(frozen=True, slots=True)
class FilePath(Plain):
    """A path; `~` is the home directory, relative ones begin at the working directory."""

    word: str = "FILE"

    @property
    def accepts(self) -> str:
        return "a path"

    @property
    def metavar(self) -> str:
        return self.word

    def parse(self, raw: object) -> Path:
        if not isinstance(raw, str) or not raw or "\0" in raw:
            raise Unacceptable
        if looks_like_url(raw):
            raise Unacceptable("a path is wanted here, not a URL (./ in front of it makes it a path)")
        try:
            return Path(raw).expanduser()
        except RuntimeError:
            raise Unacceptable("the home directory is not known; write the whole path") from None


@dataclass(frozen=True, slots=True)
class KeyMap(Plain):
    """Pairs action=keys: repeated flags, a table in TOML, semicolons in a variable. Keys are separated by commas."""

    @property
    def accepts(self) -> str:
        return "ACTION=KEY[,KEY...], where nothing after the = takes the key away"

    @property
    def metavar(self) -> str:
        return "ACTION=KEYS"

    def parse(self, raw: object) -> tuple[tuple[str, str], ...]:
        if isinstance(raw, dict):
            items = [(action, keys) for action, keys in raw.items() if isinstance(keys, str)]
            if len(items) != len(raw):
                raise Unacceptable("the keys of an action are one string")
        else:
            parts = raw.split(";") if isinstance(raw, str) else raw
            if not isinstance(parts, list) or not all(isinstance(part, str) and "=" in part for part in parts):
                raise Unacceptable
            items = [(part.partition("=")[0].strip(), part.partition("=")[2].strip()) for part in parts]
        if not all(re.fullmatch(r"[a-z][a-z0-9._-]*", action) for action, _ in items):
            raise Unacceptable("an action's name is made of small letters, digits and dashes")
        return tuple(items)

    def to_toml(self, value: object) -> str:
        pairs = value if isinstance(value, tuple) else ()
        return "{ " + ", ".join(f"{action} = {json.dumps(keys)}" for action, keys in pairs) + " }"


def size_text(size: int) -> str:
    """Bytes in the largest unit that divides them, as `Size` reads them."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return f"{size}B"


def time_text(seconds: float) -> str:
    """Seconds as `Duration` reads them."""
    return f"{seconds * 1000:g}ms" if 0 < seconds < 1 else f"{seconds:g}s"


def _quantity(raw: object) -> tuple[float, str]:
    if isinstance(raw, int | float):
        return raw, ""
    match = _QUANTITY.fullmatch(raw.strip()) if isinstance(raw, str) and len(raw) < 40 else None
    if match is None:
        raise Unacceptable
    return float(match[1].replace("_", "")), match[2]
