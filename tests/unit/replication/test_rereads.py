"""Keys that are read again: exact at a position of the FLOW, and asked for without holding anything up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from df2redis_tui.dragonfly.records import Value
from df2redis_tui.errors import SourceLost
from df2redis_tui.replication.key_reader import Key, Reading
from df2redis_tui.replication.reread import Rereads
from df2redis_tui.replication.rereading import TOGETHER, TOGETHER_BYTES, Rereading

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def reading(a: int, b: int, key: bytes = b"k", raw: bytes = b"\x01v") -> Reading:
    return Reading(a, b, Value(0, key, 0, 0, raw))


def answer(rereads: Rereads, *spans: tuple[int, int]) -> list[str]:
    """The source answers for the keys that wait, one after the other."""
    return [
        rereads.read(wanted, reading(a, b, wanted.key[1]))
        for wanted, (a, b) in zip(rereads.next(1e9, 99), spans, strict=False)
    ]


def test_records_below_the_read_position_are_dropped_and_the_value_follows() -> None:
    rereads = Rereads(0)
    rereads.request(0, (b"k",), "why")
    assert rereads.covers(0, b"k", 7)
    assert answer(rereads, (10, 12)) == [""]
    assert rereads.covers(0, b"k", 9)
    assert rereads.cuts(8, 20) == [12]
    assert rereads.due(11) == []
    [(db, key, value)] = rereads.due(12)
    assert (db, key) == (0, b"k")
    assert value is not None
    assert not rereads.active


def test_a_record_inside_the_span_means_another_read() -> None:
    rereads = Rereads(0)
    rereads.request(0, (b"k",), "why")
    answer(rereads, (10, 12))
    assert rereads.covers(0, b"k", 11)
    assert rereads.due(20) == []
    answer(rereads, (20, 20))
    assert rereads.due(19) == []
    assert len(rereads.due(20)) == 1


def test_the_flow_goes_on_while_a_key_is_asked_for() -> None:
    """A record that was dropped meanwhile is in the value only when its LSN is below A."""
    rereads = Rereads(0)
    rereads.request(0, (b"k",), "why")
    [wanted] = rereads.next(0.0, 9)
    assert rereads.covers(0, b"k", 10)
    rereads.read(wanted, reading(10, 12))
    assert rereads.due(30) == []
    assert rereads.next(1e9, 9) == [wanted]
    assert rereads.covers(0, b"k", 14)
    rereads.read(wanted, reading(15, 16))
    assert len(rereads.due(30)) == 1


def test_what_was_dropped_inside_a_full_sync_has_no_position() -> None:
    rereads = Rereads(0)
    rereads.request(0, (b"k",), "why", 7_000)
    assert rereads.covers(0, b"k", 8_000)
    rereads.begin()
    answer(rereads, (10, 10))
    assert len(rereads.due(10)) == 1


def test_a_record_that_has_to_be_in_the_value_asks_for_another_one() -> None:
    rereads = Rereads(0)
    rereads.request(0, (b"k",), "why")
    answer(rereads, (10, 20))
    rereads.request(0, (b"k",), "a doubt about what was sent before")
    rereads.request(0, (b"k",), "a record that the value contains", 9)
    assert rereads.cuts(1, 99) == [20]
    rereads.request(0, (b"k",), "a record that it may not contain", 10)
    assert rereads.cuts(1, 99) == []
    assert rereads.next(1e9, 9)


def test_a_flush_forgets_what_is_being_asked_for() -> None:
    rereads = Rereads(0)
    rereads.request(0, (b"k",), "why")
    [wanted] = rereads.next(0.0, 9)
    rereads.forget(0)
    rereads.read(wanted, reading(10, 10))
    assert not rereads.active
    assert rereads.due(99) == []


def test_a_key_that_can_t_be_copied_is_removed_behind_what_was_received_and_not_asked_for() -> None:
    rereads = Rereads(0)
    rereads.request(0, (b"k",), "why")
    rereads.remove(0, b"k", "the target does not take it")
    assert rereads.covers(0, b"k", 7)
    rereads.request(0, (b"k",), "another reason")
    assert rereads.next(0.0, 10) == []
    assert rereads.open_keys() == [(0, b"k")]
    assert rereads.due(8) == [(0, b"k", None)]
    assert not rereads.active
    assert rereads.done == 0


def test_other_keys_pass() -> None:
    rereads = Rereads(0)
    rereads.request(0, (b"k",), "why")
    assert not rereads.covers(0, b"other", 1)
    assert not rereads.covers(1, b"k", 1)


def test_a_checkpoint_names_keys_until_their_value_is_behind_it() -> None:
    rereads = Rereads(0)
    rereads.request(0, (b"k",), "why")
    assert rereads.changes() == ([(0, b"k")], [])
    answer(rereads, (10, 10))
    rereads.due(10)
    rereads.confirmed(10)
    assert rereads.open_keys() == [(0, b"k")]
    assert rereads.changes() == ([(0, b"k")], [])  # again: nothing is lost by saying so
    rereads.confirmed(11)
    assert rereads.open_keys() == []
    assert rereads.changes() == ([], [(0, b"k")])
    assert rereads.changes() == ([], [])


def test_doubts_are_bounded_and_what_must_be_read_is_not() -> None:
    rereads = Rereads(0, flows=20_000)  # room for two
    assert [rereads.doubt(0, key, "why") for key in (b"a", b"b", b"c", b"a")] == [True, True, False, True]
    assert rereads.left_out == 1
    rereads.request(0, (b"d",), "why", 5)
    assert rereads.count == 3


# The task


class FakeReader:
    """A source that answers at once, or not at all."""

    def __init__(self, sizes: dict[bytes, int | None] | None = None, lost: int = 0) -> None:
        self.position = 10
        self.asked: list[list[bytes]] = []
        self.alone = 0
        self.patience: list[float] = []
        self._sizes = sizes or {}
        self._lost = lost

    async def sizes(self, keys: list[Key]) -> list[int | None]:
        return [self._sizes.get(key, 10) for _, key in keys]

    async def read(self, keys: list[Key], size: int = 0, patience: float = 0) -> dict[Key, Reading]:
        self.asked.append([key for _, key in keys])
        self.patience.append(patience)
        await anyio.sleep(0)
        if self._lost:
            self._lost -= 1
            raise SourceLost("no answer within 30 s")
        return {key: reading(self.position, self.position, key[1]) for key in keys}

    async def read_alone(self, key: Key, size: int = 0, patience: float = 0) -> Reading:
        self.alone += 1
        return (await self.read([key]))[key]

    async def aclose(self) -> None: ...


@asynccontextmanager
async def running(rereads: Rereads, reader: FakeReader, lag: float = 0.0) -> AsyncIterator[list[str]]:
    problems: list[str] = []
    task = Rereading(
        rereads,
        reader,
        lag=lambda: lag,
        confirmed=lambda: 0,
        failed=lambda db, key, why: problems.append(why),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(task.run)
        yield problems
        tasks.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.001)


async def test_small_values_come_together_and_large_ones_alone_and_last() -> None:
    keys = [b"%d" % number for number in range(TOGETHER)]
    reader = FakeReader({b"3": TOGETHER_BYTES + 1, b"5": None, b"9": TOGETHER_BYTES - 5})
    rereads = Rereads(0)
    rereads.request(0, keys, "why")
    async with running(rereads, reader):
        await until(lambda: rereads.waits(time.monotonic()) is None)
    assert reader.asked[-1] == [b"3"]
    assert [b"5"] in reader.asked
    assert len(reader.asked) == 4 + 1
    assert len(rereads.due(10)) == len(keys)


async def test_a_source_that_does_not_answer_is_asked_again_with_more_patience() -> None:
    reader, rereads = FakeReader(lost=2), Rereads(0)
    rereads.request(0, (b"a", b"b"), "why")
    async with running(rereads, reader) as problems:
        await until(lambda: rereads.cuts(0, 99))
    assert problems == []
    assert [len(keys) for keys in reader.asked[:2]] == [2, 1]
    assert reader.patience[1] > reader.patience[0]


async def test_while_the_flow_lags_keys_are_asked_for_slowly() -> None:
    reader, rereads = FakeReader(), Rereads(0)
    rereads.request(0, [b"%d" % number for number in range(5_000)], "why")
    async with running(rereads, reader, lag=20.0):
        await anyio.sleep(0.5)
    assert sum(map(len, reader.asked)) <= 2


async def test_values_that_wait_for_their_position_are_bounded() -> None:
    keys = [b"%d" % number for number in range(1_000)]
    reader = FakeReader()
    rereads = Rereads(0)
    rereads.held_most = 100
    rereads.request(0, keys, "why")
    async with running(rereads, reader):
        await until(lambda: rereads.held >= 100)
        await anyio.sleep(0.2)
        assert rereads.held < 100 + TOGETHER * 2
        assert len(rereads.due(10)) >= 50
        assert rereads.held == 0


async def test_a_key_that_never_rests_is_read_alone_and_not_at_every_chance() -> None:
    reader, rereads = FakeReader(), Rereads(0)
    rereads.request(0, (b"k",), "why")
    began = time.monotonic()
    async with running(rereads, reader):
        for tries in range(1, 7):
            await until(lambda: len(reader.asked) >= tries and rereads.cuts(0, 99))  # noqa: B023
            assert rereads.covers(0, b"k", 10)
            reader.position = 10
            rereads.begin()
    assert reader.alone >= 3
    assert time.monotonic() - began > 0.04


async def test_what_the_source_refuses_is_reported() -> None:
    class Refusing(FakeReader):
        async def read(self, keys: list[Key], size: int = 0, patience: float = 0) -> dict[Key, Reading]:
            return {key: Reading(0, 0, None, "NOPERM") for key in keys}

    rereads = Rereads(0)
    rereads.request(0, (b"k",), "the target answered WRONGTYPE")
    async with running(rereads, Refusing()) as problems:
        await until(lambda: problems)
    assert problems == ["the target answered WRONGTYPE; a re-read failed: NOPERM"]
    assert not rereads.active
