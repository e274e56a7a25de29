"""What a lane counted is not lost with its connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from df2redis_tui.target.lane import Lane


def lane(before: Lane | None = None) -> Lane:
    connection: Any = SimpleNamespace(stream=None)
    return Lane("10.0.0.1:6379", connection, lambda part: None, before)


def test_the_lane_of_a_new_connection_counts_on() -> None:
    first = lane()
    first.bytes_out, first.commands, first.errors = 700, 8, 1
    second = lane(first)
    assert (second.bytes_out, second.commands, second.errors) == (700, 8, 1)
    assert (lane().bytes_out, lane().commands, lane().errors) == (0, 0, 0)
