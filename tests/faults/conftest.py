"""Fault tests: a short seeded subset by default, all of them with `--faults full`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.targets import KINDS
from tests.faults.trial import Trial
from tests.support.servers import available_targets


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", choices=("short", "full"), default="short", help="how much of tests/faults to run")
    parser.addoption("--fault-seed", type=int, default=20, help="seed of tests/faults")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--faults", default="short") == "full":
        return
    left_out = [item for item in items if item.get_closest_marker("full_only")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """rounds(short, full): how often a fault is made."""
    full = request.config.getoption("--faults", default="short") == "full"
    return lambda short, many: many if full else short


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(f"{request.config.getoption('--fault-seed', default=20)} {request.node.name}")


@pytest.fixture
def target_kind(request: pytest.FixtureRequest) -> str:
    """`both_targets` in test modules runs a test once with each; without it the target is a single server."""
    return str(getattr(request, "param", "standalone"))


@pytest.fixture
def trial(tmp_path: Path, rng: random.Random, target_kind: str) -> Iterator[Callable[..., Trial]]:
    """Start a source, a real target and a workload; everything ends with the test."""
    running: list[Trial] = []

    def begin(*arguments: str, **how: Any) -> Trial:
        target = KINDS[target_kind](available_targets()[0], tmp_path, rng)
        made = Trial(tmp_path, rng, target, arguments, **how)
        running.append(made)
        return made.__enter__()

    yield begin
    for made in running:
        made.__exit__()
