"""A real Dragonfly where one is named (`--dragonfly PATH`), else the look-alike; each target that this machine has."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.copying import Copying
from tests.real.sources import LookAlike, RealDragonfly, source_server
from tests.real.targets import Target, start_target, target_kinds
from tests.support.real_source import all_of_it, dragonfly_path

THREADS = (3, 1, 8)


def combinations(config: pytest.Config, marker: pytest.Mark | None) -> list[tuple[int, str]]:
    """(threads, target) of a test. `every_combination(short=N)`: all of them where the source is real, and with the
    look-alike the first N targets; without it the first two where the source is real, else the first.
    """
    kinds = target_kinds()
    real = dragonfly_path(config) is not None
    if all_of_it(config) or (marker and real):
        return [(threads, kind) for threads in THREADS for kind in kinds]
    count = 2 if real else marker.kwargs["short"] if marker else 1
    return [(THREADS[0], kind) for kind in kinds[:count]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" in metafunc.fixturenames:
        pairs = combinations(metafunc.config, metafunc.definition.get_closest_marker("every_combination"))
        what = "dragonfly" if dragonfly_path(metafunc.config) else "look-alike"
        names = [f"{what}-{threads}-{kind}" for threads, kind in pairs]
        metafunc.parametrize("pair", pairs, ids=names, indirect=True, scope="module")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if all_of_it(config) or dragonfly_path(config):
        return
    left_out = [item for item in items if item.get_closest_marker("real_or_full")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


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
def copying(source: RealDragonfly | LookAlike, real_target: Target, tmp_path: Path) -> Iterator[Callable[..., Copying]]:
    """Make a copy between both, with further arguments; it ends with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(Copying(source, real_target, tmp_path / "run", arguments))
