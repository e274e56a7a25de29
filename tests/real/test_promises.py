"""What is promised when something goes wrong: no early expiry, no loss of what is on the target, no false verdict."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
import redis

from tests.real.copying import Copying
from tests.real.expected import may_fail
from tests.real.sources import SourceServer
from tests.real.targets import Target

pytestmark = pytest.mark.real


@pytest.fixture
def on_target(real_target: Target) -> Callable[..., object]:
    """Run a command on the target, on the node that has its key."""

    def run(*command: object) -> object:
        if not real_target.cluster:
            with real_target.servers[0].client() as client:
                return client.execute_command(*command)
        with redis.RedisCluster("127.0.0.1", real_target.servers[0].port, protocol=2) as client:
            return client.execute_command(*command)

    return run


def test_ttls_shorter_than_the_lag(
    source: SourceServer, real_target: Target, copying: Callable[..., Copying], request: pytest.FixtureRequest
) -> None:
    may_fail(request, "lag-longer-than-ttls")
    copy = copying()
    copy.start()
    copy.wait_stable()
    with source.client() as client:
        names = ("set", "persist", "rename", "copy", "group")
        for name in names:
            client.rpush(f"{name}:list", "a", "b")
            client.set(f"{name}:string", "v")
            client.xadd(f"{name}:stream", {"f": "v"})
        copy.wait_level()
        # Every server of a cluster has some of the keys; the first one stops.
        for name in names:
            for kind in ("list", "string", "stream"):
                client.pexpire(f"{name}:{kind}", 3_000)
        copy.wait_level()
        with real_target.stopped():
            time.sleep(1)
            client.lset("set:list", 0, "x")
            client.append("set:string", "w")
            for kind in ("list", "string", "stream"):
                client.persist(f"persist:{kind}")
                client.rename(f"rename:{kind}", f"renamed:{kind}")
                client.persist(f"renamed:{kind}")
                client.copy(f"copy:{kind}", f"copied:{kind}")
                client.pexpire(f"copied:{kind}", 600_000)
            client.xgroup_create("group:stream", "g", "0")
            client.pexpire("group:stream", 600_000)
            time.sleep(4)
    copy.finish(least=9)


def test_a_source_that_restarts_empty_empties_nothing(
    source: SourceServer,
    copying: Callable[..., Copying],
    on_target: Callable[..., object],
    request: pytest.FixtureRequest,
) -> None:
    may_fail(request, "restarts-empty")
    with source.client() as client:
        for number in range(500):
            client.set(f"k:{number}", "v")
    copy = copying()
    program = copy.start()
    copy.wait_stable()
    copy.wait_level()
    source.restart(empty=True)
    assert program.wait(15) == 3
    assert on_target("GET", "k:7") == b"v"


def test_a_flush_leaves_what_the_copy_does_not_own(
    source: SourceServer,
    copying: Callable[..., Copying],
    on_target: Callable[..., object],
    request: pytest.FixtureRequest,
) -> None:
    may_fail(request, "flush-leaves-others")
    on_target("SET", "somebody else's", "v")
    with source.client() as client:
        client.set("ours", "v")
        copy = copying()
        copy.start()
        copy.wait_stable()
        copy.wait_level()
        client.flushdb()
        client.set("ours, later", "v")
    copy.wait_level()
    copy.end()
    assert on_target("GET", "ours") is None
    assert on_target("GET", "ours, later") == b"v"
    assert on_target("GET", "somebody else's") == b"v"


def test_a_run_that_ends_early_says_so(
    source: SourceServer, copying: Callable[..., Copying], request: pytest.FixtureRequest
) -> None:
    may_fail(request, "ended-early")
    with source.client() as client:
        client.mset({f"k:{number}": "v" for number in range(4_000)})
    copy = copying()
    program = copy.start("--rate-limit", "300")
    program.wait_for("full sync")
    time.sleep(2)
    program.signal(signal.SIGTERM)
    assert program.wait(60) != 0
    said = program.output()
    summary = program.summary()
    assert "everything was copied" not in said
    assert "not copied none" not in " ".join(said.split())
    assert summary["verdict"] == "interrupted"
    assert summary["keys_copied"] < 4_000
    copy.run_until_caught_up()
    copy.check_equal(4_000)
