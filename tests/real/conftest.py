"""A real Dragonfly where one is named (`--dragonfly PATH`), else the look-alike; each target that this machine has."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.copying import Copying
from tests.real.sources import LookAlike, RealDragonfly, source_server
from tests.real.targets import CLUSTER, Target, start_target, target_kinds
from tests.support.real_source import all_of_it, dragonfly_path

THREADS = (3, 1, 8)


def combinations(config: pytest.Config, *, many: bool) -> list[tuple[int, str]]:
    """(threads, target) of a test; `many`: of one whose combinations all matter."""
    kinds = target_kinds()
    every = [(threads, kind) for threads in THREADS for kind in kinds]
    if all_of_it(config) or (many and dragonfly_path(config)):
        return every
    if many:
        return [(3, kind) for kind in kinds]
    return [(3, kinds[0])] if not dragonfly_path(config) else [(3, kinds[0]), (3, CLUSTER)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    many = metafunc.definition.get_closest_marker("every_combination") is not None
    if "pair" in metafunc.fixturenames:
        pairs = combinations(metafunc.config, many=many)
        what = "dragonfly" if dragonfly_path(metafunc.config) else "look-alike"
        names = [f"{what}-{threads}-{kind}" for threads, kind in pairs]
        metafunc.parametrize("pair", pairs, ids=names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> tuple[int, str]:
    """(threads of the source, kind of the target)."""
    chosen: tuple[int, str] = request.param
    return chosen


@pytest.fixture
def source(pair: tuple[int, str], request: pytest.FixtureRequest) -> Iterator[RealDragonfly | LookAlike]:
    with source_server(dragonfly_path(request.config), pair[0]) as server:
        yield server


@pytest.fixture
def real_target(pair: tuple[int, str]) -> Iterator[Target]:
    with start_target(pair[1]) as target:
        yield target


@pytest.fixture
def copying(
    source: RealDragonfly | LookAlike, real_target: Target, tmp_path: Path
) -> Iterator[Callable[..., Copying]]:
    """Make a copy between both, with further arguments; it ends with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(Copying(source, real_target, tmp_path / "run", arguments))
