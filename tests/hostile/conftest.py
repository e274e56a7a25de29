"""Hostile peers: some of the table by default, chosen by a seed, all of it with `--hostile full`."""

from __future__ import annotations

import pytest

SHORT = 8  # cases of each part of the table


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hostile", choices=("short", "full"), default="short", help="how much of tests/hostile to run")
    parser.addoption("--hostile-seed", type=int, default=7, help="seed of tests/hostile")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--hostile", default="short") == "full":
        return
    left_out = [item for item in items if item.get_closest_marker("hostile_full")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
