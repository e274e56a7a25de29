"""Global commands run once behind all FLOWs; checkpoints are read as they were written."""

from __future__ import annotations

import anyio
import pytest

from df2redis_tui.errors import SourceError
from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Global
from df2redis_tui.replication.barrier import GlobalBarrier
from df2redis_tui.replication.checkpoint import Checkpoint, FlowLedger, JobKeys, Key, key_of
from df2redis_tui.target.pending import decode_command

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


async def test_the_count_of_batches_may_go_while_connections_are_repaired() -> None:
    class Server:
        count: bytes | None = b"5"

        async def call(self, *args: object) -> object:
            return self.count

    server, ledger = Server(), FlowLedger(JobKeys("df2redis", "j"), 0, 1, "run")
    ledger.begin("master", 0)
    assert await ledger.missing(server) == -5  # type: ignore[arg-type]
    with ledger.counting_anew():
        server.count = None
        assert await ledger.missing(server) == 0  # type: ignore[arg-type]
    assert await ledger.missing(server) == 0  # type: ignore[arg-type]


def test_a_checkpoint_reads_back_as_it_was_written() -> None:
    ledger = FlowLedger(JobKeys("df2redis", "job"), 3, 8, "run")
    ledger.begin("m" * 40, 0)
    value = ledger.record(77).split(b"\r\n")[-2]
    assert Checkpoint.parse(value) == Checkpoint("m" * 40, 8, 3, 77, "run", 0, batches=0)


class Open:
    """Keys to be read again."""

    def __init__(self) -> None:
        self.keys: set[Key] = set()
        self.added: list[Key] = []
        self.removed: list[Key] = []
        self.fresh: list[Key] = []

    def open_keys(self) -> list[Key]:
        return sorted(self.keys)

    def changes(self) -> tuple[list[Key], list[Key]]:
        found = self.added, self.removed
        self.added, self.removed = [], []
        return found


def test_keys_to_be_read_again_are_written_as_they_change_and_all_of_them_once_something_failed() -> None:
    ledger, rereads = FlowLedger(JobKeys("df2redis", "job"), 3, 8, "run"), Open()
    ledger.rereads = rereads
    ledger.begin("m" * 40, 7)
    rereads.keys = {(0, b"a"), (1, b"b:\x00")}
    rereads.added = [(0, b"a")]

    def sent() -> list[list[bytes]]:
        batch = Batch(3, 1, [], 1, 1, 1, 0.0, next_lsn=9)
        return [decode_command(wire) for wire in ledger.checkpoint(batch)[1:]]

    name = b"df2redis:job:rereads:3"
    whole = [[b"DEL", name], [b"SADD", name, b"0:a", b"1:b:\x00"]]
    assert sent() == whole
    assert sent() == []
    rereads.added, rereads.removed = [(0, b"c")], [(0, b"a")]
    assert sent() == [[b"SADD", name, b"0:c"], [b"SREM", name, b"0:a"]]
    rereads.fresh = [(0, b"d")]
    assert [decode_command(wire) for wire in ledger.name_now()] == [[b"SADD", name, b"0:d"]]
    assert ledger.name_now() == []
    rereads.removed = [(0, b"a")]
    ledger.name_all()
    assert sent() == whole
    assert [key_of(member) for member in (b"0:a", b"1:b:\x00", b"x", b"x:y")] == [(0, b"a"), (1, b"b:\x00"), None, None]


def test_ten_thousand_keys_to_be_read_again_cost_a_batch_nothing() -> None:
    ledger, rereads = FlowLedger(JobKeys("df2redis", "job"), 3, 8, "run"), Open()
    ledger.rereads = rereads
    ledger.begin("m" * 40, 7)
    rereads.keys = {(0, b"key:%d" % number) for number in range(10_000)}
    batch = Batch(3, 1, [], 1, 1, 1, 0.0, next_lsn=9)
    assert sum(map(len, ledger.checkpoint(batch))) > 100_000
    assert sum(map(len, ledger.checkpoint(batch))) < 500


@pytest.mark.parametrize("raw", [None, b"", b"x", b"[]", b'{"lsn": 1}', b'{"master": 1, "flows": "x"}'])
def test_a_foreign_value_is_no_checkpoint(raw: object) -> None:
    assert Checkpoint.parse(raw) is None
