"""Which keys of a target are of before a full sync, as the next run finds it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from df2redis_tui.replication.bound_file import Owner
from df2redis_tui.replication.existing import ExistingKeys, OldValues

pytestmark = pytest.mark.anyio


class Target:
    name = "target"

    def __init__(self, *keys: bytes) -> None:
        self.keys = list(keys)

    async def databases(self) -> list[int]:
        return [0]

    async def scan(self, db: int, on_page: Callable[[Any, list[bytes]], Awaitable[None]]) -> None:
        await on_page(None, self.keys)


def of_job(directory: Path) -> OldValues:
    old = OldValues(directory / "default.old", ExistingKeys())
    old.owner = Owner("id", "default", "target")
    return old


async def test_a_run_that_is_killed_right_behind_a_full_sync_leaves_what_may_be_old(tmp_path: Path) -> None:
    """Once its checkpoints are written the next run resumes, before anything behind the full sync was kept here."""
    first = of_job(tmp_path)
    assert await first.begin_full_sync(Target(b"old", b"sent again"), lambda db, key: True) == 2
    first.keys.replaced(0, b"sent again")
    again = of_job(tmp_path)
    await again.resume()
    assert again.keys.holds(0, b"old")
    assert not again.keys.certain
    assert not again.lost


async def test_behind_a_full_sync_only_what_is_left_is_kept(tmp_path: Path) -> None:
    first = of_job(tmp_path)
    await first.begin_full_sync(Target(b"old", b"sent again"), lambda db, key: True)
    first.keys.replaced(0, b"sent again")
    await first.full_sync_done()
    again = of_job(tmp_path)
    await again.resume()
    assert again.keys.holds(0, b"old")
    assert not again.keys.holds(0, b"sent again")


async def test_where_nothing_was_there_nothing_is_old(tmp_path: Path) -> None:
    await of_job(tmp_path).begin_full_sync(Target(), lambda db, key: True)
    again = of_job(tmp_path)
    await again.resume()
    assert not again.keys.holds(0, b"new")
