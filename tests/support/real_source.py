"""Whether a real Dragonfly takes part in this test run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

OPTION = "--dragonfly"
VARIABLE = "DRAGONFLY"
NOT_TESTED = f"NOT TESTED on a real Dragonfly: {OPTION} PATH or {VARIABLE}=PATH names one; its look-alike stood in"


def add_options(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, metavar="PATH", help=f"a dragonfly binary for tests/real (default: ${VARIABLE})")
    parser.addoption("--real", choices=("short", "full"), default="short", help="how much of tests/real to run")


def dragonfly_path(config: pytest.Config) -> Path | None:
    """The binary that was named. A name that leads to none is an error, not a reason to test less."""
    named = config.getoption(OPTION) or os.environ.get(VARIABLE)
    if not named:
        return None
    path = Path(named).absolute()
    if not os.access(path, os.X_OK) or path.is_dir():
        raise pytest.UsageError(f"{OPTION}: {path} is no program")
    return path


def all_of_it(config: pytest.Config) -> bool:
    return bool(config.getoption("--real") == "full")


def header(config: pytest.Config) -> str:
    path = dragonfly_path(config)
    if path is None:
        return NOT_TESTED
    said = subprocess.run([str(path), "--version"], capture_output=True, text=True).stdout.splitlines()
    return f"source: {said[0] if said else path} ({path})"
