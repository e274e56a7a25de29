"""What a connection that is opened anew is asked, by a scripted target."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import hiredis
import pytest

from df2redis_tui.errors import DataLost, TargetError, TargetLost
from df2redis_tui.replication.checkpoint import JobKeys
from df2redis_tui.replication.cluster_ledger import ClusterLedger
from df2redis_tui.replication.known_marks import KnownMarks
from df2redis_tui.replication.lease import Lease
from df2redis_tui.replication.marks import check_connection, check_control
from df2redis_tui.target.pending import decode_command

pytestmark = pytest.mark.anyio
KEYS = JobKeys("df2redis", "j")
OTHERS = b'{"host": "another.host", "pid": 1, "started": 1.0}'


class Connection:
    def __init__(self, values: dict[bytes, object], role: str = "master") -> None:
        self.values = values
        self.role = role
        self.asked: list[bytes] = []

    async def pipeline(self, wires: list[bytes]) -> list[object]:
        return [await self.call(*decode_command(wire)) for wire in wires]

    async def call(self, *args: Any, **_: object) -> object:
        name = args[0].encode() if isinstance(args[0], str) else args[0]
        self.asked.append(name)
        return b"role:%b\r\n" % self.role.encode() if name == b"INFO" else self.values.get(args[1])

    async def aclose(self) -> None: ...


def job_with(connection: Connection, *, cluster: bool = False) -> Any:
    async def connect(node: str) -> Connection:
        return connection

    marks = KnownMarks("run")
    ended: list[BaseException] = []
    return SimpleNamespace(
        target=SimpleNamespace(
            name="host:1",
            router=SimpleNamespace(cluster=cluster, connect=connect),
            node_of=lambda key: "host:1",
            holder=lambda key: "target host:1",
        ),
        marks=marks,
        flows=[],
        keys=KEYS,
        lease=Lease(connection, KEYS.lease, "j", "run"),
        ended=ended,
        end_with=ended.append,
    )


async def test_nothing_is_asked_before_there_is_something_to_lose() -> None:
    connection = Connection({})
    await check_connection(job_with(connection), connection)  # type: ignore[arg-type]
    assert not connection.asked


@pytest.mark.parametrize("held", [None, b"run:11", b"older:99"])
async def test_a_mark_that_is_gone_or_older_is_lost_data(held: bytes | None) -> None:
    connection = Connection({KEYS.mark(): held})
    job = job_with(connection)
    job.marks.stands(KEYS.mark(), 12)
    with pytest.raises(
        DataLost, match=r"it had confirmed 12 batches and has no(ne| more than the first 11) of them"
    ) as it:
        await check_control(job, connection)  # type: ignore[arg-type]
    assert job.ended == [it.value]
    assert "full sync" in (it.value.advice or "")


async def test_a_mark_that_is_as_new_or_newer_will_do() -> None:
    for held in (b"run:12", b"run:13"):
        connection = Connection({KEYS.mark(): held})
        job = job_with(connection)
        job.marks.stands(KEYS.mark(), 12)
        await check_connection(job, connection)  # type: ignore[arg-type]


async def test_a_replica_may_get_it_yet() -> None:
    connection = Connection({}, role="slave")
    job = job_with(connection)
    job.marks.stands(KEYS.mark(), 12)
    with pytest.raises(TargetLost, match="replica"):
        await check_control(job, connection)  # type: ignore[arg-type]
    assert not job.ended


async def test_where_another_run_has_the_job_nothing_is_lost() -> None:
    connection = Connection({KEYS.mark(): b"other:3", KEYS.lease: OTHERS})
    job = job_with(connection)
    job.marks.stands(KEYS.mark(), 12)
    with pytest.raises(TargetError, match="another run took over"):
        await check_connection(job, connection)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", ["MOVED 1 host:2", "ASK 1 host:2"])
async def test_a_master_is_not_asked_for_marks_of_others(error: str) -> None:
    moved = hiredis.ReplyError(error)
    ledger = ClusterLedger(JobKeys("df2redis", "j", one_slot=True), 0, 1, "run")
    ledger.begin("master", 0)
    ledger.passed(70)
    connection = Connection({KEYS.mark(b"a"): moved, KEYS.mark(b"b"): b"run:5", ledger.key: moved})
    job = job_with(connection, cluster=True)
    job.flows = [SimpleNamespace(flow=0, ledger=ledger)]
    job.marks.stands(KEYS.mark(b"a"), 12)
    job.marks.stands(KEYS.mark(b"b"), 5)
    await check_connection(job, connection)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", ["LOADING Redis is loading", "CLUSTERDOWN Hash slot not served"])
async def test_a_server_that_can_not_tell_now_is_asked_again(error: str) -> None:
    connection = Connection({KEYS.mark(): hiredis.ReplyError(error)})
    job = job_with(connection)
    job.marks.stands(KEYS.mark(), 12)
    with pytest.raises(TargetLost):
        await check_connection(job, connection)  # type: ignore[arg-type]


async def test_a_flush_between_question_and_answer_is_no_loss() -> None:
    connection = Connection({})
    job = job_with(connection)
    job.marks.stands(KEYS.mark(), 12)
    answers = connection.pipeline

    async def flushed(wires: list[bytes]) -> list[object]:
        job.marks.removed()
        return await answers(wires)

    connection.pipeline = flushed  # type: ignore[method-assign]
    await check_connection(job, connection)  # type: ignore[arg-type]
