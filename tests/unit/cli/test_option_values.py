"""Numbers, sizes, durations and the other kinds of value."""

from __future__ import annotations

from pathlib import Path

import pytest

from df2redis_tui.option_addresses import Address, AddressMap
from df2redis_tui.option_values import (
    Choice,
    Duration,
    FilePath,
    KeyMap,
    Number,
    Percent,
    Size,
    Switch,
    ValueKind,
)

NUMBER, SIZE, TIME = Number(1, 1_000_000), Size(1, 1 << 40), Duration(0.0, 60.0)


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (NUMBER, "2000", 2000),
        (NUMBER, "2_000", 2000),
        (NUMBER, 2000, 2000),
        (SIZE, "64MiB", 64 << 20),
        (SIZE, "64 mib", 64 << 20),
        (SIZE, "1.5KiB", 1536),
        (SIZE, "10MB", 10_000_000),
        (SIZE, "4_000_000", 4_000_000),
        (SIZE, 4096, 4096),
        (TIME, "50ms", 0.05),
        (TIME, "5s", 5.0),
        (TIME, "0.5m", 30.0),
        (TIME, "250us", 0.00025),
        (TIME, "0", 0.0),
        (TIME, 0, 0.0),
        (Percent(), "50%", 50),
        (Percent(), "0", 0),
        (Percent(), 100, 100),
        (Switch(), "on", True),
        (Switch(), "FALSE", False),
        (Switch(), True, True),
        (Choice(("auto", "256")), 256, "256"),
        (FilePath(), "a/b", Path("a/b")),
        (Address(), "[::1]:9121", "[::1]:9121"),
        (AddressMap(), "a:1=b:2, c=d", (("a:1", "b:2"), ("c:6379", "d:6379"))),
        (AddressMap(), ["a:1=[::1]:2"], (("a:1", "[::1]:2"),)),
        (KeyMap(), {"help": "f1,?"}, (("help", "f1,?"),)),
        (KeyMap(), ["help=f1", "quit="], (("help", "f1"), ("quit", ""))),
        (KeyMap(), "help=f1,?;quit=q", (("help", "f1,?"), ("quit", "q"))),
    ],
)
def test_accepted(kind: ValueKind, raw: object, value: object) -> None:
    parsed = kind.parse(raw)
    assert parsed == pytest.approx(value) if isinstance(value, float) else parsed == value
    assert type(parsed) is type(value) or isinstance(parsed, Path)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (NUMBER, "0"),
        (NUMBER, "1_000_001"),
        (NUMBER, "1e3"),
        (NUMBER, "2,000"),
        (NUMBER, "_1"),
        (NUMBER, ""),
        (NUMBER, True),
        (NUMBER, 1.0),
        (NUMBER, "9" * 5000),
        (SIZE, "64M"),
        (SIZE, "64 parsec"),
        (SIZE, "-1"),
        (SIZE, "0"),
        (SIZE, True),
        (SIZE, float("nan")),
        (TIME, "50"),
        (TIME, 50),
        (TIME, 0.05),
        (TIME, "61s"),
        (TIME, "-1s"),
        (TIME, "ms"),
        (TIME, float("inf")),
        (Switch(), "maybe"),
        (Switch(), 1),
        (Switch(), None),
        (Choice(("a", "b")), "c"),
        (Choice(("a", "b")), ["a"]),
        (Percent(), "101%"),
        (Percent(), "-1"),
        (Percent(), "0.5"),
        (Percent(), True),
        (FilePath(), ""),
        (FilePath(), "a\0b"),
        (FilePath(), 3),
        (Address(), "host"),
        (Address(), "host:99999"),
        (Address(), 9121),
        (AddressMap(), "a:1"),
        (AddressMap(), "a=b,a=c"),
        (AddressMap(), {"a": "b"}),
        (KeyMap(), "help"),
        (KeyMap(), {"help": 3}),
        (KeyMap(), {"Help me": "x"}),
    ],
)
def test_refused(kind: ValueKind, raw: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (any text: the caller completes it)
        kind.parse(raw)
