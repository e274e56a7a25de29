"""Hostile peers: some of the table by default, chosen by a seed, all of it with `--hostile full`."""

from __future__ import annotations

import pytest

SHORT = 10  # cases of each part of the table


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hostile", choices=("short", "full"), default="short", help="how much of tests/hostile to run")
    parser.addoption("--hostile-seed", type=int, default=7, help="seed of tests/hostile")
