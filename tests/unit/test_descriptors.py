"""Whether there are file descriptors enough."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from df2redis_tui import descriptors
from df2redis_tui.errors import ConfigError


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def lowered(soft: int) -> int:
    """Returns the hard limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return hard


def test_the_soft_limit_is_raised_as_far_as_that_may_be() -> None:
    hard = lowered(256)
    descriptors.raise_limit()
    expected = descriptors.WANTED if hard == resource.RLIM_INFINITY else min(hard, descriptors.WANTED)
    assert descriptors.limit() == expected


def test_a_higher_soft_limit_stays() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors.raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= before[0]


def test_what_can_not_be_enough_is_refused() -> None:
    lowered(256)
    assert descriptors.check(2, 1, spill=False) == ""
    with pytest.raises(ConfigError, match=r"1,024 FLOWs .* 3 target servers need 4,134 .* may have 256"):
        descriptors.check(1024, 3, spill=False)


def test_what_may_not_be_enough_is_said() -> None:
    lowered(256)
    assert "50 FLOWs of the source and 3 target servers may need 288" in descriptors.check(50, 3, spill=False)
