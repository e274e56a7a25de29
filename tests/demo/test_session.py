"""Handshake, states, PARTIAL, takeover and faults: as strict as a real master (protocol page §1, §2, §5)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis.asyncio

from df2redis_tui.demo.embedded import EmbeddedValkey
from df2redis_tui.demo.source import LookAlike
from tests.demo.conftest import compared
from tests.demo.replica import Replica, Wire

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client(source: LookAlike) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis(port=source.port, protocol=2) as connection:
        yield connection


async def test_errors_of_the_handshake(source: LookAlike) -> None:
    wire = await Wire.open(source.port)
    assert await wire.ask("REPLCONF", "listening-port", "x") == "-ERR value is not an integer or out of range"
    assert await wire.ask("REPLCONF", "capa") == "-ERR syntax error"
    assert await wire.ask("REPLCONF", "nonsense", "1") == "-ERR syntax error"
    assert await wire.ask("REPLCONF", "capa", "eof", "capa", "psync2") == "OK"
    master_id, sync_id, flows, version, lineage = await wire.ask("REPLCONF", "capa", "dragonfly")
    assert (len(master_id), flows, version, lineage) == (40, 3, 5, master_id)
    assert await wire.ask("DFLY", "SYNC", "nonsense") == "-ERR bad sync id"
    assert await wire.ask("DFLY", "SYNC", "SYNC99") == "-ERR syncid not found"
    assert await wire.ask("DFLY", "SYNC", sync_id) == "-ERR invalid state"
    flow = await Wire.open(source.port)
    assert await flow.ask("DFLY", "FLOW", "0" * 40, sync_id, 0) == "-ERR bad master id"
    assert await flow.ask("DFLY", "FLOW", master_id, sync_id, 3) == "-ERR value is not an integer or out of range"
    assert (await flow.ask("DFLY", "FLOW", master_id, sync_id, 0))[0] == "FULL"
    assert source.crashes == 0


async def test_client_version_before_capa_is_a_crash(source: LookAlike) -> None:
    wire = await Wire.open(source.port)
    wire.send("REPLCONF", "CLIENT-VERSION", 4)
    assert await wire.closed()
    assert source.crashes == 1
    with pytest.raises(OSError, match="Connect"):
        await Wire.open(source.port)


async def test_startstable_without_a_full_sync_is_a_crash(source: LookAlike, replica: Replica) -> None:
    await replica.open_flows(await replica.greet())
    replica.control.send("DFLY", "STARTSTABLE", replica.sync_id)
    assert await replica.control.closed()
    assert source.crashes == 1


@pytest.mark.parametrize("cut", ["flow", "control"])
async def test_a_lost_socket_ends_the_session(source: LookAlike, replica: Replica, cut: str) -> None:
    await replica.full_sync()
    source.cut_flow(1) if cut == "flow" else source.cut_control()
    async with asyncio.timeout(5):
        await asyncio.gather(*replica.tasks, return_exceptions=True)
    assert source.journal.sessions == {}
    if cut == "flow":
        assert await replica.control.ask("DFLY", "STARTSTABLE", replica.sync_id) == "-ERR syncid not found"


async def test_partial_sync_sends_exactly_what_was_missed(
    source: LookAlike, copy: EmbeddedValkey, replica: Replica, client: redis.asyncio.Redis
) -> None:
    await replica.full_sync()
    for number in range(50):
        await client.incr(f"n{number % 7}")
    reached = await replica.caught_up()
    await replica.close()
    for number in range(90):
        await client.incr(f"n{number % 7}")
    again = Replica(source.port, replica.applier)
    await again.resume(source.master_id, reached)
    assert sum(await again.caught_up()) == sum(reached) + 90
    await again.close()
    assert (await compared(source, copy)).same


async def test_partial_sync_is_refused_behind_the_backlog_and_after_a_restart(
    source: LookAlike, replica: Replica, client: redis.asyncio.Redis
) -> None:
    await replica.full_sync()
    assert await replica.control.ask("DFLY", "REPLICAOFFSET") == [1, 1, 1]
    assert await replica.control.ask("DFLY", "SYNC", replica.sync_id) == "-ERR invalid state"
    await replica.close()
    other = Replica(source.port, replica.applier)
    await other.open_flows(await other.greet(), [1, 2, 1])
    assert other.answers == ["PARTIAL", "FULL", "PARTIAL"]
    before = source.master_id
    await source.restart()
    assert source.master_id != before
    flow = await Wire.open(source.port)
    assert await flow.ask("DFLY", "FLOW", before, "SYNC1", 0, 1) == "-ERR bad master id"


async def test_a_reader_that_stops_blocks_writers_and_loses_its_session() -> None:
    async with LookAlike(flows=1, stall_timeout=0.5, output_limit=20_000) as source:
        source.journal.enabled = True
        replica = Replica(source.port, None)  # type: ignore[arg-type]
        await replica.open_flows(await replica.greet())
        assert await replica.control.ask("DFLY", "SYNC", replica.sync_id) == "OK"
        source.hold_flow(0)
        client = redis.asyncio.Redis(port=source.port, protocol=2)
        await client.set("a", random.randbytes(30_000))
        await asyncio.sleep(0.1)
        begin = asyncio.get_running_loop().time()
        await client.set("b", "waits")
        assert asyncio.get_running_loop().time() - begin > 0.2
        assert source.journal.sessions == {}
        await client.aclose()
        await replica.close()


async def test_pause_makes_the_offset_final_and_takeover_waits_for_acks(
    source: LookAlike, replica: Replica, client: redis.asyncio.Redis
) -> None:
    await client.set("k", "v")
    await replica.full_sync()
    assert (await client.info("replication"))["slave0"]["state"] == "online"
    await client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
    writing = asyncio.create_task(client.set("k", "later"))
    await asyncio.sleep(0.1)
    assert not writing.done()
    asking = redis.asyncio.Redis(port=source.port, protocol=2)
    await asking.execute_command("CLIENT", "UNPAUSE")
    await writing
    replica.ack = False
    assert await replica.control.ask("DFLY", "TAKEOVER", 1, replica.sync_id) == "-ERR Takeover failed!"
    replica.ack = True
    await asking.mset({f"k{i}": i for i in range(20)})
    await replica.caught_up()
    assert await replica.control.ask("DFLY", "TAKEOVER", 5, replica.sync_id) == "OK"
    async with asyncio.timeout(5):
        await source.closed.wait()
    await asking.aclose()


async def test_flushall_stands_in_every_flow(
    source: LookAlike, replica: Replica, client: redis.asyncio.Redis, copy: EmbeddedValkey
) -> None:
    await replica.full_sync()
    await client.mset({f"k{i}": i for i in range(20)})
    await client.flushall()
    await replica.caught_up()
    assert sorted(flow for flow, _, args in replica.applier.log if args == [b"FLUSHALL"]) == [0, 1, 2]


async def test_password() -> None:
    async with LookAlike(flows=1, password="secret") as source:
        wire = await Wire.open(source.port)
        assert await wire.ask("PING") == "-NOAUTH Authentication required."
        assert (await wire.ask("AUTH", "wrong")).startswith("-WRONGPASS")
        assert await wire.ask("AUTH", "default", "secret") == "OK"
        assert await wire.ask("PING") == "PONG"


async def test_nothing_stays_behind() -> None:
    async with LookAlike(flows=1) as source:
        directories = [source.backend.directory, source._mirror_server.directory]
        assert all(Path(d).exists() for d in directories)
    assert not any(Path(d).exists() for d in directories)
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", source.port_of_backend)
