"""Global commands run once behind all FLOWs; re-reads are exact."""

from __future__ import annotations

import time

import anyio
import pytest

from df2redis_tui.dragonfly.records import Value
from df2redis_tui.errors import SourceError
from df2redis_tui.pipeline.block import Global
from df2redis_tui.replication.barrier import GlobalBarrier
from df2redis_tui.replication.checkpoint import Checkpoint, FlowLedger, JobKeys
from df2redis_tui.replication.reread import Reading, Rereads

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def flush(*args: bytes) -> Global:
    return Global(0, args or (b"FLUSHALL",), 5, 6)


async def test_a_global_command_runs_once_when_all_flows_are_there() -> None:
    barrier, log = GlobalBarrier(3), []

    async def execute(arrived: dict[int, Global]) -> None:
        log.append(f"run with {sorted(arrived)}")

    async def flow(number: int) -> None:
        await anyio.sleep(0.01 * number)
        log.append(f"{number} arrives")
        await barrier.arrive(number, flush(), execute)
        log.append("released")

    with anyio.fail_after(2):
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(flow, number)
    assert log == ["0 arrives", "1 arrives", "2 arrives", "run with [0, 1, 2]", *["released"] * 3]


async def test_flows_that_disagree_are_an_error() -> None:
    barrier = GlobalBarrier(2)

    async def execute(arrived: dict[int, Global]) -> None:
        raise AssertionError("must not run")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(barrier.arrive, 0, flush(), execute)
        await anyio.sleep(0.01)
        with pytest.raises(SourceError, match="inconsistent"):
            await barrier.arrive(1, flush(b"FLUSHDB"), execute)
        tasks.cancel_scope.cancel()


class FakeReader:
    """Answers with prepared (A, B) pairs."""

    def __init__(self, *spans: tuple[int, int]) -> None:
        self.spans = list(spans)
        self.asked = self.alone = 0

    async def read(self, keys: list[tuple[int, bytes]]) -> dict[tuple[int, bytes], Reading]:
        self.asked += 1
        a, b = self.spans.pop(0)
        return {(db, key): Reading(a, b, Value(db, key, 0, 0, b"\x01v")) for db, key in keys}

    async def read_alone(self, db: int, key: bytes) -> Reading:
        self.alone += 1
        return (await self.read([(db, key)]))[(db, key)]

    async def aclose(self) -> None: ...


def rereads(*spans: tuple[int, int]) -> tuple[Rereads, FakeReader]:
    reader = FakeReader(*spans)
    return Rereads(0, reader), reader  # type: ignore[arg-type]


async def test_records_below_the_read_position_are_dropped_and_the_value_follows() -> None:
    pending, _ = rereads((10, 12))
    pending.request(0, (b"k",), "why")
    assert pending.covers(0, b"k", 7)
    assert await pending.ask() == []
    assert pending.covers(0, b"k", 9)
    assert pending.cuts(8, 20) == [12]
    assert pending.due(11) == []
    [(db, key, value)] = pending.due(12)
    assert (db, key) == (0, b"k")
    assert value is not None
    assert not pending.active


async def test_a_record_inside_the_span_means_another_read() -> None:
    pending, reader = rereads((10, 12), (20, 20))
    pending.request(0, (b"k",), "why")
    await pending.ask()
    assert pending.covers(0, b"k", 11)
    assert pending.unresolved
    await pending.ask()
    assert reader.asked == 2
    assert pending.due(19) == []
    assert len(pending.due(20)) == 1


async def test_a_key_that_can_t_be_copied_is_removed_behind_what_was_received_and_not_asked_for() -> None:
    pending, reader = rereads()
    pending.request(0, (b"k",), "why")
    pending.remove(0, b"k", "the target does not take it")
    assert pending.covers(0, b"k", 7)
    pending.request(0, (b"k",), "another reason")
    assert not pending.unresolved
    assert pending.open_at(0) == [(0, b"k")]
    assert pending.due(8) == [(0, b"k", None)]
    assert not pending.active
    assert reader.asked == 0


async def test_a_key_that_never_rests_is_read_alone_and_not_at_every_chance() -> None:
    pending, reader = rereads(*[(10, 12)] * 9)
    pending.request(0, (b"k",), "why")
    for tries in range(6):
        while not pending.unresolved:
            await anyio.sleep(0.001)
        began = time.monotonic()
        assert await pending.ask() == []
        assert pending.covers(0, b"k", 11)
        assert pending.unresolved == (tries == 0)
    assert (reader.asked, reader.alone) == (6, 3)
    while not pending.unresolved:
        await anyio.sleep(0.001)
    assert time.monotonic() - began > 0.04


async def test_the_count_of_batches_may_go_while_connections_are_repaired() -> None:
    class Server:
        count = b"5"

        async def call(self, *args: object) -> object:
            return self.count

    server, ledger = Server(), FlowLedger(JobKeys("df2redis", "j"), 0, 1, "run")
    ledger.begin("master", 0)
    assert await ledger.missing(server) == -5  # type: ignore[arg-type]
    with ledger.counting_anew():
        server.count = b""
        assert await ledger.missing(server) == 0  # type: ignore[arg-type]
    assert await ledger.missing(server) == 0  # type: ignore[arg-type]


async def test_other_keys_pass() -> None:
    pending, _ = rereads((10, 12))
    pending.request(0, (b"k",), "why")
    assert not pending.covers(0, b"other", 1)
    assert not pending.covers(1, b"k", 1)


async def test_a_checkpoint_remembers_keys_until_their_value_is_behind_it() -> None:
    pending, _ = rereads((10, 10))
    pending.request(0, (b"k",), "why")
    assert pending.open_at(5) == [(0, b"k")]
    await pending.ask()
    pending.due(10)
    assert pending.open_at(10) == [(0, b"k")]
    pending.confirmed(11)
    assert pending.open_at(11) == []


def test_a_checkpoint_reads_back_as_it_was_written() -> None:
    ledger = FlowLedger(JobKeys("df2redis", "job"), 3, 8, "run")
    ledger.begin("m" * 40, 0)
    ledger.rereads = lambda position: [(1, b"a\x00b")]
    value = ledger.record(77).split(b"\r\n")[-2]
    found = Checkpoint.parse(value)
    assert found == Checkpoint("m" * 40, 8, 3, 77, "run", 0, ((1, b"a\x00b"),), batches=0)


@pytest.mark.parametrize("raw", [None, b"", b"x", b"[]", b'{"lsn": 1}', b'{"master": 1, "flows": "x"}'])
def test_a_foreign_value_is_no_checkpoint(raw: object) -> None:
    assert Checkpoint.parse(raw) is None
