"""Answers of a target x what they answer: nothing counts as applied but what the right answer says."""

from __future__ import annotations

import anyio
import hiredis
import pytest

from df2redis_tui.errors import TargetError, TargetLost
from df2redis_tui.pipeline.block import Block
from df2redis_tui.replication.checkpoint import FlowLedger, JobKeys
from df2redis_tui.streams import encode
from df2redis_tui.target.answers import check, check_each, check_transaction, name_of_command, values_of
from df2redis_tui.target.cluster_router import _answers
from df2redis_tui.target.pending import Fate, mark_overtaken, review
from df2redis_tui.target.replies import Verdict, code_of, verdict
from df2redis_tui.target.router import whole_part
from tests.unit.target.test_transactions import Pipe, batch_of, lane_over

SET, SET_B, INCR = encode("SET", "a", "1"), encode("SET", "b", "1"), encode("INCR", "n")
OK, Q = b"+OK\r\n", b"+QUEUED\r\n"
RIGHT = [OK, Q, Q, Q, Q, b"*4\r\n+OK\r\n:7\r\n+OK\r\n:1\r\n"]  # MULTI, SET, INCR, checkpoint, count, EXEC
PREVIOUS = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
BECAUSE = b"-EXECABORT Transaction discarded because of: %b\r\n"
NOPERM = b"NOPERM User x has no permissions to run the 'exec' command"
UNKNOWN = b"-ERR unknown command 'FOO', with args beginning with: \r\n"

MULTI_AT, SET_AT, INCR_AT, CHECKPOINT_AT, COUNT_AT, EXEC_AT = range(6)
ENDS = "the run ends"
AGAIN = "it is sent again"


def take(replies: list[bytes], size: int = 1 << 20, next_lsn: int = 5, lost: bool = False) -> object:
    """What a transaction of SET and INCR comes to: fates with their errors, or why the run ends."""

    async def main() -> object:
        ledger = FlowLedger(JobKeys("df2redis", "j"), 0, 1, "run")
        ledger.begin("master", 1)
        pipe, done = Pipe(), []
        lane = lane_over(pipe, done.append)
        batch = batch_of(Block(0, [SET, INCR], once=[False, True], lsns=[1, 2], next_lsn=next_lsn), next_lsn=next_lsn)
        part = whole_part(batch, batch.blocks, "n", lane, ledger, 0)
        assert part is not None
        lane.post(part)
        wire = b"".join(replies)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane.run)
            for at in range(0, len(wire), size):
                if lane.lost:
                    break
                await pipe.feed.send(wire[at : at + size])
                for _ in range(4):
                    await anyio.sleep(0)
            with anyio.move_on_after(1):
                while not done and not lane.lost:
                    await anyio.sleep(0)
            tasks.cancel_scope.cancel()
        if lane.fatal is not None:
            assert isinstance(lane.fatal, TargetError)
            return str(lane.fatal)
        assert done or lane.lost, "the answers are not complete"
        return [(p.fate, verdict(p.error) if p.error else None) for p in review(batch.blocks, [part])]

    return anyio.run(main)


def with_answer(at: int, answer: bytes) -> list[bytes]:
    return [*RIGHT[:at], answer, *RIGHT[at + 1 :]]


APPLIED = [(Fate.APPLIED, None)] * 2


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_the_right_answers(size: int) -> None:
    assert take(RIGHT, size) == APPLIED


WRONG_KINDS = [
    b"+OK\r\n", b":1\r\n", b":0\r\n", b"+QUEUED\r\n", b"$-1\r\n", b"$2\r\nhi\r\n", b"*0\r\n", b"*-1\r\n",
    b"*1\r\n:1\r\n", b"+\r\n", b"*999999999\r\n",
    b"%1\r\n+a\r\n+b\r\n", b"~1\r\n+a\r\n", b"#t\r\n", b",1.5\r\n", b"_\r\n", b">2\r\n+a\r\n+b\r\n",
    b"*4294967295\r\n", b"*-2\r\n", b"?\r\n", b"HTTP/1.1 400 Bad Request\r\n", b"\r\n",
]  # fmt: skip
STEPS = [
    ("MULTI", MULTI_AT, b"+OK"),
    ("SET", SET_AT, b"+QUEUED"),
    ("INCR", INCR_AT, b"+QUEUED"),
    ("checkpoint", CHECKPOINT_AT, b"+QUEUED"),
    ("count", COUNT_AT, b"+QUEUED"),
    ("EXEC", EXEC_AT, b""),
]


@pytest.mark.parametrize("answer", WRONG_KINDS)
@pytest.mark.parametrize(("step", "at", "right"), STEPS, ids=[step for step, _, _ in STEPS])
@pytest.mark.parametrize("size", [1, 1000])
def test_an_answer_of_another_kind_ends_the_run(step: str, at: int, right: bytes, answer: bytes, size: int) -> None:
    if right and answer.startswith(right):
        return
    found = take(with_answer(at, answer), size)
    if at == EXEC_AT and answer in (b"*-1\r\n", b"$-1\r\n", b"_\r\n"):
        # Nil: the transaction did not run. It is sent again, for so long as a server may need.
        assert found == [(Fate.FAILED, Verdict.RETRY)] * 2
        return
    assert isinstance(found, str), found
    assert found.startswith("target n "), found


def test_a_line_without_an_end_ends_the_run() -> None:
    assert "no end" in str(take(with_answer(MULTI_AT, b"+" + b"x" * 70_000), 10_000))


INSIDE = [
    b"*3\r\n+OK\r\n:7\r\n+OK\r\n",
    b"*5\r\n+OK\r\n:7\r\n+OK\r\n:1\r\n:1\r\n",
    b"*4\r\n:1\r\n:7\r\n+OK\r\n:1\r\n",
    b"*4\r\n+QUEUED\r\n:7\r\n+OK\r\n:1\r\n",
    b"*4\r\n$-1\r\n:7\r\n+OK\r\n:1\r\n",
    b"*4\r\n+OK\r\n+OK\r\n+OK\r\n:1\r\n",
    b"*4\r\n+OK\r\n$1\r\n7\r\n+OK\r\n:1\r\n",
    b"*4\r\n+OK\r\n*1\r\n:7\r\n+OK\r\n:1\r\n",
    b"*4\r\n+OK\r\n#t\r\n+OK\r\n:1\r\n",
    b"*4\r\n+OK\r\n:7\r\n$-1\r\n:1\r\n",
    b"*4\r\n+OK\r\n:7\r\n*0\r\n:1\r\n",
    b"*4\r\n+OK\r\n:7\r\n-WRONGTYPE Operation against a key\r\n:1\r\n",
    b"*4\r\n+OK\r\n:7\r\n+OK\r\n-ERR value is not an integer or out of range\r\n",
]


@pytest.mark.parametrize("answer", INSIDE)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_exec_answers_is_looked_at_inside(answer: bytes, size: int) -> None:
    assert isinstance(take(with_answer(EXEC_AT, answer), size), str)


def test_an_error_of_one_command_inside_exec_is_its_own() -> None:
    answer = b"*4\r\n+OK\r\n-WRONGTYPE no\r\n+OK\r\n:1\r\n"
    assert take(with_answer(EXEC_AT, answer)) == [(Fate.APPLIED, None), (Fate.FAILED, Verdict.REFUSED)]


@pytest.mark.parametrize(
    "error", [NOPERM, b"NOAUTH Authentication required.", b"ERR unknown command 'x'", b"ERR no proxy"]
)
@pytest.mark.parametrize("step", ["MULTI", "EXEC", "EXEC because of", "checkpoint"])
def test_what_every_transaction_needs_is_not_asked_for_again(step: str, error: bytes) -> None:
    line = b"-" + error + b"\r\n"
    replies = {
        "MULTI": [line, OK, b":7\r\n", OK, b":1\r\n", b"-ERR EXEC without MULTI\r\n"],
        "EXEC": with_answer(EXEC_AT, line),
        "EXEC because of": with_answer(EXEC_AT, BECAUSE % error),
        "checkpoint": [*with_answer(CHECKPOINT_AT, line)[:-1], PREVIOUS],
    }[step]
    found = take(replies)
    assert isinstance(found, str)
    assert error.decode() in found
    assert step.split()[0] in found


TEMPORARY = [
    b"LOADING Redis is loading", b"BUSY Redis is busy", b"OOM no", b"MISCONF no", b"READONLY no", b"MASTERDOWN no",
    b"NOREPLICAS no", b"CLUSTERDOWN no", b"TRYAGAIN no",
]  # fmt: skip


@pytest.mark.parametrize("error", TEMPORARY)
@pytest.mark.parametrize("step", ["SET", "checkpoint", "EXEC", "EXEC because of", "all"])
def test_what_may_pass_is_sent_again(step: str, error: bytes) -> None:
    line = b"-" + error + b"\r\n"
    replies = {
        "SET": [*with_answer(SET_AT, line)[:-1], PREVIOUS],
        "checkpoint": [*with_answer(CHECKPOINT_AT, line)[:-1], PREVIOUS],
        "EXEC": with_answer(EXEC_AT, line),
        "EXEC because of": with_answer(EXEC_AT, BECAUSE % error),
        "all": [line] * 5 + [b"-ERR EXEC without MULTI\r\n"],
    }[step]
    assert take(replies) == [(Fate.FAILED, Verdict.RETRY)] * 2


def test_a_transaction_that_was_not_begun_and_whose_commands_ran_ends_the_run() -> None:
    found = take([b"-LOADING Redis is loading\r\n", OK, b":7\r\n", OK, b":1\r\n", b"-ERR EXEC without MULTI\r\n"])
    assert isinstance(found, str)
    assert "`QUEUED`" in found


def test_a_command_refused_before_it_ran_is_named_and_not_due_behind_others_of_its_key() -> None:
    """The one in front of it on the same key did not run for its sake: it would be so for ever."""
    replies = [OK, Q, UNKNOWN, Q, Q, PREVIOUS]

    async def main() -> list[tuple[Fate, str]]:
        ledger = FlowLedger(JobKeys("df2redis", "j"), 0, 1, "run")
        ledger.begin("master", 1)
        pipe, done = Pipe(), []
        lane = lane_over(pipe, done.append)
        foo = encode("FOO", "a", "1")
        batch = batch_of(Block(0, [SET, foo], once=[False, True], lsns=[1, 2], tolerant=True), next_lsn=0)
        part = whole_part(batch, batch.blocks, "n", lane, ledger, 0)
        assert part is not None
        lane.post(part)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane.run)
            await pipe.feed.send(b"".join([*replies[: part.replies - 1], PREVIOUS]))
            while not done:
                await anyio.sleep(0)
            tasks.cancel_scope.cancel()
        fates = review(batch.blocks, [part])
        assert mark_overtaken(fates) == []
        return [(p.fate, p.error.split(",")[0]) for p in fates]

    first, second = anyio.run(main)
    assert first == (Fate.FAILED, "EXECABORT Transaction discarded because of previous errors.")
    assert second == (Fate.FAILED, "ERR unknown command 'FOO'")


# Plain values of a full sync


def plain(commands: list[bytes], replies: bytes, size: int, *, strings: bool) -> object:
    async def main() -> object:
        pipe, done = Pipe(), []
        lane = lane_over(pipe, done.append)
        block = Block(0, commands, kinds={"string": len(commands)} if strings else {"hash": 1})
        batch = batch_of(block)
        part = whole_part(batch, batch.blocks, "n", lane, None, 0)
        assert part is not None
        lane.post(part)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane.run)
            for at in range(0, len(replies), size):
                if lane.lost:
                    break
                await pipe.feed.send(replies[at : at + size])
                for _ in range(4):
                    await anyio.sleep(0)
            tasks.cancel_scope.cancel()
        return str(lane.fatal) if lane.fatal is not None else [p.fate for p in review(batch.blocks, [part])]

    return anyio.run(main)


@pytest.mark.parametrize("size", [1, 4, 5, 9, 1000])
def test_values_are_applied_by_their_right_answers(size: int) -> None:
    assert plain([SET, SET_B], OK * 2, size, strings=True) == [Fate.APPLIED] * 2
    hset = encode("HSET", "h", "f", "v")
    assert plain([SET, hset, SET_B], b"+OK\r\n:1\r\n+OK\r\n", size, strings=False) == [Fate.APPLIED] * 3


@pytest.mark.parametrize("size", [1, 4, 5, 9, 1000])
@pytest.mark.parametrize(
    "answer", [b":1\r\n", b":0\r\n", Q, b"+PONG\r\n", b"$-1\r\n", b"*0\r\n", b"%0\r\n", b"+OKAY\r\n"]
)
def test_a_value_that_was_answered_otherwise_ends_the_run(answer: bytes, size: int) -> None:
    assert isinstance(plain([SET, SET_B], OK + answer, size, strings=True), str)
    assert isinstance(plain([SET, SET_B, SET], OK + answer + OK, size, strings=True), str)


@pytest.mark.parametrize("size", [1, 9, 1000])
@pytest.mark.parametrize(
    "answer", [b"-MOVED 1 h:1\r\n", b"-ERR +OK\r\n", b":1:2\r\n", b":x\r\n", b"1+OK\r\n", b"+x+OK\r\n"]
)
def test_a_line_that_only_looks_like_success_is_none(answer: bytes, size: int) -> None:
    hset = encode("HSET", "h", "f", "v")
    found = plain([hset, SET, hset], b":1\r\n" + answer + b":1\r\n", size, strings=False)
    assert isinstance(found, str) or found == [Fate.APPLIED, Fate.FAILED, Fate.APPLIED]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_more_answers_than_questions_end_the_run(size: int) -> None:
    assert isinstance(plain([SET], OK * 2, size, strings=True), str)


def test_an_error_that_nobody_asked_for_costs_the_connection_only() -> None:
    found = plain([SET], OK + b"-ERR max number of clients reached\r\n", 1000, strings=True)
    assert found == [Fate.APPLIED]


# SELECT


def selected(replies: bytes) -> object:
    async def main() -> object:
        pipe, done = Pipe(), []
        lane = lane_over(pipe, done.append)
        batch = batch_of(Block(3, [SET, SET_B], kinds={"string": 2}))
        part = whole_part(batch, batch.blocks, "n", lane, None, 0)
        assert part is not None
        assert part.replies == 3
        lane.post(part)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane.run)
            await pipe.feed.send(replies)
            with anyio.move_on_after(1):
                while not lane.lost and not part.finished:
                    await anyio.sleep(0)
            for _ in range(4):
                await anyio.sleep(0)
            lost = lane.lost
            tasks.cancel_scope.cancel()
        return str(lane.fatal) if lane.fatal is not None else lost

    return anyio.run(main)


def test_a_database_that_is_selected() -> None:
    assert selected(OK * 3) == ""


def test_a_database_that_is_refused_ends_the_run() -> None:
    for line in (b"-ERR DB index is out of range\r\n", b"-NOPERM no\r\n", b":1\r\n", Q):
        assert isinstance(selected(line + OK * 2), str)
        assert "SELECT" in str(selected(line + OK * 2))


def test_a_database_that_is_refused_for_now_costs_the_connection() -> None:
    assert selected(b"-BUSY no\r\n" * 3) == "the target refused SELECT: BUSY no"


def test_what_was_written_to_another_database_ends_the_run() -> None:
    assert "another database" in str(selected(b"-BUSY no\r\n" + OK * 2))


# Others


@pytest.mark.parametrize(
    ("error", "code", "meaning"),
    [
        (PREVIOUS, "EXECABORT", Verdict.RETRY),
        (BECAUSE % NOPERM, "NOPERM", Verdict.FATAL),
        (BECAUSE % b"OOM no", "OOM", Verdict.RETRY),
        (BECAUSE % b"READONLY no", "READONLY", Verdict.RETRY),
        (BECAUSE % b"ERR unknown command", "ERR", Verdict.REFUSED),
    ],
)
def test_what_an_aborted_transaction_says(error: bytes, code: str, meaning: Verdict) -> None:
    text = error[1:-2].decode()
    assert (code_of(text), verdict(text)) == (code, meaning)


@pytest.mark.parametrize("count", [1, 9, 10, 99, 100, 2000])
def test_a_command_is_known_by_its_first_bytes_however_many_arguments_it_has(count: int) -> None:
    for name in (b"DEL", b"HSET", b"PEXPIREAT", b"MSET"):
        command = encode(name, *[b"SET"] * count)
        assert name_of_command(command) == name
        right, wrong = (b"OK", 1) if name == b"MSET" else (1, b"OK")
        check(command, right)
        for reply in (wrong, None, [], True, 1.5, {}):
            with pytest.raises(Exception, match="expected"):
                check(command, reply)


RUN = [encode("SET", "c", "1"), encode("DEL", "d")]


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ([b"OK", b"QUEUED", b"QUEUED", [b"OK", 0]], None),
        ([b"OK", b"QUEUED", b"QUEUED", [b"OK"]], TargetError),
        ([b"OK", b"QUEUED", b"QUEUED", [0, 0]], TargetError),
        ([b"OK", b"QUEUED", b"QUEUED", b"OK"], TargetError),
        ([b"OK", b"QUEUED", b"QUEUED", 1], TargetError),
        ([b"OK", b"QUEUED", b"QUEUED", []], TargetError),
        ([b"OK", b"QUEUED", b"QUEUED", None], TargetLost),
        ([b"OK", b"OK", 0, [b"OK", 0]], TargetError),
        ([b"QUEUED", b"QUEUED", b"QUEUED", [b"OK", 0]], TargetError),
        ([b"OK", b"QUEUED", hiredis.ReplyError("LOADING x"), hiredis.ReplyError("EXECABORT y")], TargetLost),
        ([b"OK", b"QUEUED", hiredis.ReplyError("NOPERM x"), hiredis.ReplyError("EXECABORT y")], TargetError),
        ([b"OK", b"QUEUED", b"QUEUED", [b"OK", hiredis.ReplyError("WRONGTYPE x")]], TargetError),
    ],
)
def test_a_transaction_of_our_own_keys_ran_or_did_not(replies: list[object], error: type | None) -> None:
    if error is None:
        check_transaction("n", "a checkpoint", RUN, replies)
        return
    with pytest.raises(TargetError) as raised:
        check_transaction("n", "a checkpoint", RUN, replies)
    assert type(raised.value) is error


def test_a_value_that_can_not_be_read_is_not_taken_for_none() -> None:
    assert values_of("n", "GET", [None, b"x"]) == [None, b"x"]
    for reply in (1, [], {}, True):
        with pytest.raises(TargetError, match="GET"):
            values_of("n", "GET", [reply])
    with pytest.raises(TargetLost):
        values_of("n", "GET", [hiredis.ReplyError("LOADING x")])
    with pytest.raises(TargetError, match="NOPERM"):
        values_of("n", "GET", [hiredis.ReplyError("NOPERM x")])
    with pytest.raises(TargetError, match="job's record"):
        check_each("n", "the job's record", [SET], [hiredis.ReplyError("NOPERM x")])


GUARDED = [INCR, SET]


@pytest.mark.parametrize(
    "replies",
    [
        [b"OK", b"QUEUED", b"QUEUED", None],
        [b"OK", b"QUEUED", b"QUEUED", b"OK"],
        [b"OK", b"QUEUED", b"QUEUED", []],
        [b"OK", b"QUEUED", b"QUEUED", [7]],
        [b"OK", b"QUEUED", b"QUEUED", [b"OK", b"OK"]],
        [b"OK", b"QUEUED", b"QUEUED", [7, 7]],
        [b"OK", 7, b"OK", hiredis.ReplyError("ERR EXEC without MULTI")],
        [hiredis.ReplyError("ERR unknown command 'MULTI'"), 7, b"OK", hiredis.ReplyError("ERR EXEC without MULTI")],
        [b"OK", b"QUEUED", b"QUEUED", hiredis.ReplyError("EXECABORT Transaction discarded because of: NOPERM x")],
    ],
)
def test_a_transaction_of_one_slot_is_looked_at_as_closely(replies: list[object]) -> None:
    with pytest.raises(TargetError):
        _answers(replies, GUARDED)


def test_the_answers_of_a_transaction_of_one_slot() -> None:
    assert _answers([b"OK", b"QUEUED", b"QUEUED", [7, b"OK"]], GUARDED) == [7]
    assert _answers([], GUARDED) == [None]
    refused = hiredis.ReplyError("ERR unknown command 'FOO'")
    aborted = hiredis.ReplyError("EXECABORT Transaction discarded because of previous errors.")
    assert _answers([b"OK", refused, b"QUEUED", aborted], GUARDED) == [refused]
