"""Slots of a cluster move from master to master, key by key, while something else goes wrong."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from df2redis_tui.translate.keys import slot_of
from tests.faults.trial import Trial, on_a_cluster
from tests.support.fault_source import FaultSource
from tests.support.program import Program, wait_until
from tests.support.proxy import Proxy
from tests.support.servers import available_targets, start_cluster

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
Begin = Callable[..., Trial]
Rounds = Callable[[int, int], int]


@on_a_cluster
def test_kill_9_while_slots_move(trial: Begin, rounds: Rounds) -> None:
    it = trial(source={"backlog": 200_000})
    it.start()
    with it.cluster.reshard():
        for _ in range(rounds(2, 60)):
            it.pause(0.2, 1.5)
            it.kill()
            it.start()
    it.finish()
    it.assert_resumed()


@pytest.mark.full_only
@on_a_cluster
def test_slots_move_and_connections_break(trial: Begin, rounds: Rounds) -> None:
    it = trial(source={"backlog": 200_000})
    it.start()
    source = it.source.look_alike
    with it.cluster.reshard():
        for _ in range(rounds(5, 60)):
            it.pause(0.1, 0.7)
            it.target.drop_connections()
            if it.rng.random() < 0.3:
                it.source.do(lambda: source.cut_flow(1))
    it.finish()
    it.assert_resumed()


@pytest.mark.full_only
@on_a_cluster
def test_flushall_while_slots_move(trial: Begin, rounds: Rounds) -> None:
    it = trial(source={"backlog": 200_000})
    it.start()
    with it.cluster.reshard(0.003):
        for _ in range(rounds(3, 30)):
            with it.source.client() as client:
                client.flushall()
            it.pause(0.0, 0.1)
            if it.rng.random() < 0.5:
                it.kill()
                it.start()
            it.pause(0.3, 0.6)
    it.finish()
    it.assert_resumed()


@pytest.mark.full_only
@on_a_cluster
def test_a_master_dies_and_so_do_we(trial: Begin, rounds: Rounds) -> None:
    """While a master is away for long, the others refuse everything for a moment: CLUSTERDOWN."""
    it = trial(source={"backlog": 200_000})
    it.start()
    for turn in range(rounds(1, 15)):
        it.target.crash()
        it.pause(*((0.0, 0.5) if turn % 2 else (4.0, 5.0)))
        it.kill()
        it.target.restart()
        it.start()
    it.finish()
    it.assert_resumed()


@pytest.mark.parametrize(
    ("why", "end"),
    [
        ("slot on its way", "killed"),
        pytest.param("out of memory", "cut", marks=pytest.mark.full_only),
        pytest.param("slot on its way", "cut", marks=pytest.mark.full_only),
        pytest.param("out of memory", "killed", marks=pytest.mark.full_only),
    ],
)
def test_a_refused_command_that_was_overtaken_unseen(why: str, end: str, tmp_path: Path) -> None:
    """The first of two commands of a slot is refused, the second runs, and nobody reads the replies: the guard then
    speaks of the second only."""
    with contextlib.ExitStack() as stack:
        nodes = stack.enter_context(start_cluster(available_targets()[0]))
        source = stack.enter_context(FaultSource(flows=1))
        proxies = [stack.enter_context(Proxy(node.port)) for node in nodes]
        pairs = [f"127.0.0.1:{n.port}=127.0.0.1:{p.port}" for n, p in zip(nodes, proxies, strict=True)]
        maps = [word for pair in pairs for word in ("--cluster-map", pair)]
        target = f"redis+cluster://127.0.0.1:{proxies[0].port}"
        arguments = ["--source", source.url, "--target", target, *maps]
        at = slot_of(b"t") * 3 // 16384
        proxy, there = proxies[at], nodes[(at + 1) % 3]
        client, here = stack.enter_context(source.client()), stack.enter_context(nodes[at].client())
        first = Program(arguments, tmp_path / "run")
        stack.enter_context(first)
        first.wait_for("stable sync")
        for _ in range(3):
            client.append("{t}a", "before ")
            client.append("{t}b", "before ")
        source.wait_level()
        time.sleep(1.5)  # a checkpoint, and a look at the servers' counts behind it
        ids = [node.client().execute_command("CLUSTER MYID").decode() for node in (nodes[at], there)]
        slot = slot_of(b"t")
        if why == "out of memory":
            here.config_set("maxmemory", 1)
        else:
            there.client().execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
            here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
            here.execute_command("MIGRATE", "127.0.0.1", there.port, "{t}a", 0, 5_000)
        proxy.hold_replies()
        refused = refusals_of(here)
        client.append("{t}a", "refused ")
        wait_until(lambda: refusals_of(here) > refused)
        here.config_set("maxmemory", 0)
        client.append("{t}b", "ran ")
        wait_until(lambda: b"ran" in (here.get("{t}b") or b""))
        if end == "killed":
            first.process.kill()
            first.process.wait()
        else:
            proxy.cut()
        if why == "slot on its way":
            while keys := here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
                here.execute_command("MIGRATE", "127.0.0.1", there.port, "", 0, 5_000, "KEYS", *keys)
            for node in (there, nodes[at], *nodes):
                with contextlib.suppress(redis.ResponseError):
                    node.client().execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        proxy.release_replies()
        last = stack.enter_context(Program(arguments, tmp_path / "run")) if end == "killed" else first
        client.append("{t}a", "after ")
        client.append("{t}b", "after ")
        source.wait_level()
        owner = stack.enter_context((there if why == "slot on its way" else nodes[at]).client())
        want = [b"before " * 3 + b"refused after ", b"before " * 3 + b"ran after "]
        with contextlib.suppress(AssertionError):
            wait_until(lambda: owner.mget("{t}a", "{t}b") == want, 10)  # one of them may be read from the source again
        assert owner.mget("{t}a", "{t}b") == want
        assert last.process.poll() is None, last.output()


def refusals_of(client: redis.Redis) -> int:
    """How often this server has refused anything."""
    return int(client.info("stats")["total_error_replies"])
