"""How a batch goes to one server, and how its replies are told apart."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from anyio.streams.stapled import StapledByteStream

from df2redis_tui.pipeline.batch import Batch
from df2redis_tui.pipeline.block import Block
from df2redis_tui.replication.checkpoint import FlowLedger, JobKeys
from df2redis_tui.streams import RespConnection, encode
from df2redis_tui.target.lane import Lane
from df2redis_tui.target.part import EXEC, EXTRA, MULTI, Part
from df2redis_tui.target.pending import Fate, decode_command, review
from df2redis_tui.target.router import whole_part


class Pipe:
    """A byte stream whose other side is the test."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.feed, self._replies = anyio.create_memory_object_stream[bytes](100)

    async def send(self, item: bytes) -> None:
        self.sent += item

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._replies.receive()

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None:
        self._replies.close()


def lane_over(pipe: Pipe, on_part: Callable[[Part], None] = lambda part: None) -> Lane:
    return Lane("n", RespConnection(StapledByteStream(pipe, pipe)), on_part)  # type: ignore[arg-type]


def batch_of(*blocks: Block, next_lsn: int = 0) -> Batch:
    count = sum(len(b.commands) for b in blocks)
    return Batch(0, 1, list(blocks), count, count, 0, 0.0, next_lsn=next_lsn, once=any(b.once for b in blocks), seq=1)


def names(part: Part | None) -> list[str]:
    assert part is not None
    found, wire = [], part.wire
    while wire:
        args = decode_command(wire)
        found.append(" ".join(a.decode() for a in args[:2]))
        wire = wire[len(encode(*args)) :]
    return found


@pytest.fixture
def ledger() -> FlowLedger:
    made = FlowLedger(JobKeys("df2redis", "j"), 0, 1, "run")
    made.begin("master", 0)
    return made


SET, INCR = encode("SET", "a", "1"), encode("INCR", "n")


def test_snapshot_values_go_plain(ledger: FlowLedger) -> None:
    batch = batch_of(Block(0, [SET, SET]))
    assert names(whole_part(batch, batch.blocks, "n", lane_over(Pipe()), ledger, 0)) == ["SET a", "SET a"]


def test_pieces_that_would_grow_the_value_go_with_a_sending_number(ledger: FlowLedger) -> None:
    batch = batch_of(Block(0, [INCR], once=[True]))
    part = whole_part(batch, batch.blocks, "n", lane_over(Pipe()), ledger, 0)
    assert names(part) == ["MULTI", "INCR n", "SET df2redis:j:flow:0", "INCR df2redis:j:batches:0", "EXEC"]
    assert part is not None
    assert b'"lsn":0' in part.wire
    assert b'"seq":1' in part.wire


def test_the_journal_goes_in_transactions_even_where_all_commands_converge(ledger: FlowLedger) -> None:
    batch = batch_of(Block(0, [SET], next_lsn=5), next_lsn=5)
    part = whole_part(batch, batch.blocks, "n", lane_over(Pipe()), ledger, 0)
    assert names(part) == ["MULTI", "SET a", "SET df2redis:j:flow:0", "INCR df2redis:j:batches:0", "EXEC"]


def test_a_transaction_begins_and_ends_in_the_base_database(ledger: FlowLedger) -> None:
    lane = lane_over(Pipe())
    lane.db = 7
    batch = batch_of(Block(2, [SET], next_lsn=5), next_lsn=5)
    part = whole_part(batch, batch.blocks, "n", lane, ledger, 1)
    assert names(part) == [
        "SELECT 1",
        "MULTI",
        "SELECT 3",
        "SET a",
        "SELECT 1",
        "SET df2redis:j:flow:0",
        "INCR df2redis:j:batches:0",
        "EXEC",
    ]
    assert lane.db == 1


def test_nothing_to_send_is_no_part() -> None:
    batch = batch_of(Block(0, [], next_lsn=9), next_lsn=9)
    assert whole_part(batch, batch.blocks, "n", lane_over(Pipe()), None, 0) is None


def test_a_transaction_that_did_not_run_has_applied_nothing(ledger: FlowLedger) -> None:
    async def main() -> list[Fate]:
        pipe, done = Pipe(), []
        lane = lane_over(pipe, done.append)
        batch = batch_of(Block(0, [SET, INCR], once=[False, True], lsns=[1, 2], next_lsn=3), next_lsn=3)
        part = whole_part(batch, batch.blocks, "n", lane, ledger, 0)
        assert part is not None
        lane.post(part)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane.run)
            await pipe.feed.send(
                b"+OK\r\n+QUEUED\r\n-OOM no memory\r\n+QUEUED\r\n+QUEUED\r\n-EXECABORT because of before\r\n"
            )
            while not done:
                await anyio.sleep(0)
            tasks.cancel_scope.cancel()
        return [p.fate for p in review(batch.blocks, [part])]

    assert anyio.run(main) == [Fate.FAILED, Fate.FAILED]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64, 1000])
def test_replies_are_counted_however_they_arrive(size: int, ledger: FlowLedger) -> None:
    """Plain batches, a transaction with an array, a failure: in pieces of every size."""

    async def main() -> tuple[list[int], dict[int, str], list[int]]:
        pipe, done = Pipe(), []
        lane = lane_over(pipe, lambda part: done.append(part.batch.number))
        plain, multi, last = (batch_of(Block(0, [SET, SET, INCR], next_lsn=lsn), next_lsn=lsn) for lsn in (0, 5, 0))
        plain.number, multi.number, last.number = 1, 2, 3
        last.position = 0
        parts = [
            whole_part(b, b.blocks, "n", lane, led, 0) for b, led in ((plain, None), (multi, ledger), (last, None))
        ]
        for part in parts:
            assert part is not None
            lane.post(part)
        replies = b"+OK\r\n+OK\r\n:-3\r\n" + b"+OK\r\n" + b"+QUEUED\r\n" * 5
        replies += b"*5\r\n+OK\r\n-WRONGTYPE *3 $5\r\n:12\r\n+OK\r\n:1\r\n" + b"+OK\r\n+OK\r\n:2\r\n"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane.run)
            for at in range(0, len(replies), size):
                await pipe.feed.send(replies[at : at + size])
                await anyio.sleep(0)
            with anyio.move_on_after(2):
                while len(done) < 3:
                    await anyio.sleep(0)
            tasks.cancel_scope.cancel()
        second = parts[1]
        assert second is not None
        return done, second.failures, [len(p.failures) for p in parts if p is not None]

    done, failures, counts = anyio.run(main)
    assert done == [1, 2, 3]
    assert failures == {1: "WRONGTYPE *3 $5"}
    assert counts == [0, 1, 0]


def test_an_array_of_integers_whose_header_came_alone_is_one_reply() -> None:
    """HPEXPIREAT answers so: `*2` in one read, its elements in the next."""

    async def main() -> list[int]:
        pipe, done = Pipe(), []
        lane = lane_over(pipe, lambda part: done.append(part.batch.number))
        fields = encode("HPEXPIREAT", "h", "1", "FIELDS", "2", "f", "g")
        batches = [batch_of(Block(0, [SET, fields])), batch_of(Block(0, [SET]))]
        for number, batch in enumerate(batches):
            batch.number = number
            part = whole_part(batch, batch.blocks, "n", lane, None, 0)
            assert part is not None
            lane.post(part)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane.run)
            for piece in (b"+OK\r\n*2\r\n", b":1\r\n:1\r\n"):
                await pipe.feed.send(piece)
                for _ in range(5):
                    await anyio.sleep(0)
            tasks.cancel_scope.cancel()
        return done

    assert anyio.run(main) == [0]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64, 1000])
def test_an_expiry_of_a_key_that_was_not_there_is_noticed(size: int, ledger: FlowLedger) -> None:
    """Alone and in a transaction; others may answer 0. A part may be posted while an earlier one is being answered."""
    expire = encode("PEXPIREAT", "a", "1")
    early = [[SET, INCR, SET], [INCR, expire, expire]]
    late = [[expire, INCR, expire], [SET, SET, SET], [INCR, INCR, expire]]

    async def main() -> list[list[int]]:
        pipe = Pipe()
        parts: list[Part] = []
        lane = lane_over(pipe)

        def post(commands: list[bytes], transaction: bool) -> None:
            next_lsn = int(transaction)
            lsns = list(range(len(commands)))  # of the journal: a snapshot changes no expiry
            batch = batch_of(Block(0, commands, lsns=lsns, next_lsn=next_lsn), next_lsn=next_lsn)
            part = whole_part(batch, batch.blocks, "n", lane, ledger if transaction else None, 0)
            assert part is not None
            parts.append(part)
            lane.post(part)

        async def answer(replies: bytes) -> None:
            for at in range(0, len(replies), size):
                await pipe.feed.send(replies[at : at + size])
                for _ in range(3):
                    await anyio.sleep(0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane.run)
            post(early[0], False)
            post(early[1], True)
            await answer(b"+OK\r\n:0\r\n+O")
            for commands in late:
                post(commands, False)
            await answer(b"K\r\n+OK\r\n" + b"+QUEUED\r\n" * 5 + b"*5\r\n:0\r\n:0\r\n:1\r\n+OK\r\n:0\r\n")
            await answer(b":1\r\n:0\r\n:0\r\n" + b"+OK\r\n" * 3 + b":0\r\n:0\r\n:0\r\n")
            tasks.cancel_scope.cancel()
        assert all(part.finished for part in parts)
        return [part.no_key for part in parts]

    assert anyio.run(main) == [[], [1], [2], [], [2]]


def test_an_array_outside_of_the_transaction_of_a_part_does_not_swallow_what_follows() -> None:
    """On a cluster a plain HPEXPIREAT may stand in front of a transaction; its `*1` may come alone."""

    async def main() -> tuple[bool, dict[int, str]]:
        pipe = Pipe()
        lane = lane_over(pipe)
        fields = encode("HPEXPIREAT", "h", "1", "FIELDS", "1", "f")
        batch = batch_of(Block(0, [fields, INCR]))
        part = Part(batch, "n", [fields, INCR], b"", 5, [0, MULTI, 1, EXTRA, EXEC])
        lane.post(part)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane.run)
            for piece in (b"*1\r\n", b":1\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n", b"*2\r\n-OOM no\r\n+OK\r\n"):
                await pipe.feed.send(piece)
                for _ in range(5):
                    await anyio.sleep(0)
            tasks.cancel_scope.cancel()
        return part.finished, part.failures

    assert anyio.run(main) == (True, {1: "OOM no"})
