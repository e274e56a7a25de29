"""Every journalled command, before the copy begins (so that the full sync brings it) and in stable sync."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.real.cases import CASES, Case
from tests.real.copying import Copying
from tests.real.expected import may_fail
from tests.real.sources import source_server
from tests.real.stories import play, verdicts
from tests.real.targets import start_target
from tests.support.real_source import dragonfly_path

pytestmark = [pytest.mark.real, pytest.mark.every_combination(short=2)]


@dataclass(frozen=True, slots=True)
class Played:
    """All cases, after one copy. `refused` and `wrong` by case."""

    real: bool
    refused: dict[str, str]
    wrong: dict[str, list[str]]


@pytest.fixture(scope="module")
def played(
    pair: tuple[int, str], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    path = dragonfly_path(request.config)
    cases = [case for case in CASES if path or not case.lacking]
    arguments = ("--on-error", "skip", "--member-ttl", "drop")
    directory = tmp_path_factory.mktemp("commands")
    with (
        source_server(path, pair[0]) as source,
        start_target(pair[1]) as target,
        Copying(source, target, directory, arguments) as copying,
        source.client() as client,
    ):
        refused = play(client, cases, "full")
        copying.start()
        copying.wait_stable()
        refused |= play(client, cases, "live")
        copying.wait_level()
        copying.differences(patience=2)
        copying.end()
        copying.check_said()
        letters = copying.program.dead_letters()
        # A cluster has one database: what is in others goes there, as --db-policy says.
        dead = [letter["key"].encode() for letter in letters if not (target.cluster and letter["db"])]
        found = copying.differences(patience=1)
        yield Played(source.real, refused, verdicts(cases, found, dead))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_command(case: Case, played: Played, request: pytest.FixtureRequest) -> None:
    if case.lacking and not played.real:
        pytest.skip(case.lacking)
    assert case.name not in played.refused, played.refused[case.name]
    may_fail(request, case.name)
    assert not played.wrong[case.name], "\n".join(played.wrong[case.name])


def test_nothing_else_is_there(played: Played) -> None:
    assert not played.wrong.get("")
