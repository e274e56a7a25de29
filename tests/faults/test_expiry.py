"""The target expires keys by itself, and is always a little behind a source that prolongs them."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.faults.trial import Trial, both_targets
from tests.support.program import wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
Begin = Callable[..., Trial]

KEYS = 1_500
TTL_MS = 1_000


def prolong_some(client: redis.Redis, it: Trial) -> None:
    """Each key is prolonged about once in its lifetime, so one in a hundred of them within its last 10 ms."""
    asked = [it.rng.randrange(KEYS) for _ in range(20)]
    with client.pipeline(transaction=False) as pipe:
        for number in asked:
            pipe.pexpire(f"session:{number}", TTL_MS)
            pipe.incr(f"rate:{number}")
            pipe.pexpire(f"rate:{number}", TTL_MS)
        alive = pipe.execute()[::3]
        for number, lives in zip(asked, alive, strict=True):
            if not lives:
                pipe.set(f"session:{number}", f"of {number}", px=TTL_MS)
        pipe.execute()


@both_targets
def test_prolonged_in_the_last_moment(trial: Begin, rounds: Callable[[int, int], int]) -> None:
    it = trial(rate=200, flushes=False)
    it.start()
    with it.source.client(0) as client:
        end = time.monotonic() + rounds(8, 60)
        while time.monotonic() < end:
            prolong_some(client, it)
            time.sleep(0.01)
        with client.pipeline(transaction=False) as pipe:
            for number in range(KEYS):
                pipe.persist(f"session:{number}")
                pipe.persist(f"rate:{number}")
            assert sum(pipe.execute()) > 50  # fewer are alive where the machine is slow
    it.finish()
    it.assert_resumed()


@both_targets
def test_gone_on_the_target_although_the_source_prolongs_it(trial: Begin) -> None:
    it = trial(rate=200, flushes=False)
    it.start()
    with it.source.client(0) as client:
        for number in range(20):
            client.set(f"session:{number}", number, px=600_000)
        it.source.wait_level()
        for server in it.target.servers:
            with server.client() as target:
                gone = target.keys("session:*")
                for key in gone:  # as if it had been its time
                    target.delete(key)
                assert gone
        for number in range(20):
            key = f"session:{number}"
            assert client.persist(key) if number % 2 else client.pexpire(key, 40_000)
        wait_until(lambda: it.source.compare(it.target.endpoint).missing == 0)
    it.finish()
    it.assert_resumed()


@contextlib.contextmanager
def stalled(it: Trial) -> Iterator[None]:
    """The target's servers stand still; what is sent to them waits."""
    for server in it.target.servers:
        server.process.send_signal(signal.SIGSTOP)
    yield
    for server in it.target.servers:
        server.process.send_signal(signal.SIGCONT)


def use_in_time(client: redis.Redis, n: int) -> None:
    """What an application does with keys of 3 s while they live; each fails or does nothing where the key is gone."""
    client.lset(f"brief:list:{n}", 0, "x")
    client.xgroup_create(f"brief:stream:{n}", "group", 0)
    client.rename(f"brief:old:{n}", f"brief:new:{n}")
    client.persist(f"brief:kept:{n}")
    client.copy(f"brief:from:{n}", f"brief:to:{n}")
    client.incr(f"brief:count:{n}")
    client.hset(f"brief:hash:{n}", "second", 2)
    client.append(f"brief:text:{n}", "def")
    client.sunionstore(f"brief:union:{n}", f"brief:set:{n}")
    for kind in ("list", "stream", "new", "to", "count", "hash", "text"):
        client.pexpire(f"brief:{kind}:{n}", 400_000)


KINDS_USED = ("list", "stream", "old", "kept", "from", "count", "hash", "text", "set")


def begin_short(client: redis.Redis, n: int, ttl_ms: int) -> None:
    client.rpush(f"brief:list:{n}", "a", "b")
    client.xadd(f"brief:stream:{n}", {"f": 1})
    for kind in ("old", "kept", "from"):
        client.set(f"brief:{kind}:{n}", kind)
    client.incrby(f"brief:count:{n}", 41)
    client.hset(f"brief:hash:{n}", "first", 1)
    client.set(f"brief:text:{n}", "abc")
    client.sadd(f"brief:set:{n}", "m")
    for kind in KINDS_USED:
        client.pexpire(f"brief:{kind}:{n}", ttl_ms)


@both_targets
def test_a_target_that_stands_still_longer_than_keys_have_to_live(trial: Begin) -> None:
    it = trial(rate=200, flushes=False)
    it.start()
    with it.source.client(0) as client:
        for n in range(5):
            begin_short(client, n, 600_000)
        it.source.wait_level()
        began = time.monotonic()
        with client.pipeline(transaction=False) as pipe:
            for kind in KINDS_USED:
                for n in range(5):
                    pipe.pexpire(f"brief:{kind}:{n}", 3_000)
            assert all(pipe.execute())
        time.sleep(0.3)
        with stalled(it):
            for n in range(5):
                use_in_time(client, n)
            time.sleep(6.0 - (time.monotonic() - began))
        it.source.wait_level()
        assert client.lrange("brief:list:0", 0, -1) == [b"x", b"b"]
    it.finish()
    it.assert_resumed()


@both_targets
def test_what_the_target_refuses_because_it_expired_the_key_is_read_again(trial: Begin) -> None:
    """As after a standstill of any length: the keys are gone when the commands come."""
    it = trial("--on-error", "stop", rate=200, flushes=False)
    it.start()
    with it.source.client(0) as client:
        for n in range(5):
            begin_short(client, n, 600_000)
        it.source.wait_level()
        for server in it.target.servers:
            with server.client() as target:
                for kind in ("list", "stream", "old", "kept"):
                    for key in target.keys(f"brief:{kind}:*"):
                        target.delete(key)
        for n in range(5):
            use_in_time(client, n)
        wait_until(lambda: it.source.compare(it.target.endpoint).missing == 0)
        assert client.lrange("brief:list:0", 0, -1) == [b"x", b"b"]
    it.finish()
    it.assert_resumed()


@both_targets
def test_sessions_that_the_source_renews_live_on_a_target_that_lags(trial: Begin) -> None:
    """The lag is longer than a session has to live; and renewals that come late cost no re-reads."""
    it = trial(rate=100, flushes=False)
    it.start("--rate-limit", "1500")
    names = [f"session:{number}" for number in range(300)]
    stop = threading.Event()

    def renew() -> None:
        with it.source.client(0) as client, client.pipeline(transaction=False) as pipe:
            while not stop.is_set():
                for name in names:
                    pipe.expire(name, 4)
                assert all(pipe.execute())
                stop.wait(1.0)

    with it.source.client(0) as client, client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.set(name, "v", ex=60)
        pipe.execute()
        it.source.wait_level()
        renewing = threading.Thread(target=renew, daemon=True)
        renewing.start()
        try:
            for number in range(9_000):  # six seconds of the rate limit, or more
                pipe.incr(f"other:{number % 50}")
            pipe.execute()
            for _ in range(16):
                assert alive_of(it, names) == len(names)
                time.sleep(0.5)
        finally:
            stop.set()
            renewing.join(20)
    it.source.wait_level()
    with redis.Redis(port=it.source.look_alike.port_of_backend) as backend:
        asked = backend.info("commandstats").get("cmdstat_dump", {"calls": 0})["calls"]
    it.finish()
    it.assert_resumed()
    # Thousands of late renewals of keys that are there need no look at the source (a cluster's RENAMEs do).
    assert asked < 300


def alive_of(it: Trial, names: list[str]) -> int:
    """How many of these keys the target has."""
    alive = 0
    for server in it.target.servers:
        with server.client() as client, client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.exists(name)
            alive += sum(reply == 1 for reply in pipe.execute(raise_on_error=False))
    return alive


@both_targets
def test_killed_while_many_keys_wait_to_be_read_again(trial: Begin) -> None:
    """While the copy lags they are read slowly; the next run has to know of all that are left."""
    it = trial(rate=100, flushes=False)
    it.start("--rate-limit", "1200")
    names = [f"session:{number}" for number in range(900)]
    with it.source.client(0) as client, client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.set(name, "v", px=600_000)
        pipe.execute()
        it.source.wait_level()
        for server in it.target.servers:
            with server.client() as target:
                for name in target.keys("session:*"):  # as if it had been their time
                    target.delete(name)
        for name in names:
            pipe.pexpire(name, 500_000)
        for number in range(9_000):
            pipe.incr(f"other:{number % 50}")
        pipe.execute()
        wait_until(lambda: open_rereads(it) + alive_of(it, names) >= len(names))
        it.kill()
        assert open_rereads(it) > 300
        it.start()
        it.source.wait_level()
        wait_until(lambda: alive_of(it, names) == len(names))
    it.finish()
    it.assert_resumed()


def counted_of(it: Trial, kind: str) -> list[int]:
    """The field "ends" of ten hashes on the target, those that have it."""
    found = []
    for server in it.target.servers:
        with server.client() as client, client.pipeline(transaction=False) as pipe:
            for number in range(10):
                pipe.hget(f"{kind}:{number}", "ends")
            found += [int(reply) for reply in pipe.execute(raise_on_error=False) if isinstance(reply, bytes)]
    return found


def open_rereads(it: Trial) -> int:
    """How many keys the checkpoints on the target name as to be read again."""
    count = 0
    for server in it.target.servers:
        with server.client() as client:
            for name in client.keys("df2redis:*rereads:*"):
                count += client.scard(name)
    return count


@both_targets
def test_fields_that_expire_on_a_target_that_stands_still_are_read_again(trial: Begin) -> None:
    """A field that is counted up in its last moment would begin anew, and never end."""
    it = trial(rate=100, flushes=False)
    it.start()
    with it.source.client(0) as client:
        for number in range(10):
            client.hset(f"fields:{number}", mapping={"ends": 41, "stays": 1})
        it.source.wait_level()
        for number in range(10):
            client.hexpire(f"fields:{number}", 3, "ends")
        time.sleep(0.3)
        with stalled(it):
            for number in range(10):
                client.hincrby(f"fields:{number}", "ends", 1)
                client.hexpire(f"fields:{number}", 600, "ends")
            time.sleep(4.0)
        it.source.wait_level()
        wait_until(lambda: counted_of(it, "fields") == [42] * 10)  # keys of the load may be held all the time
    it.finish()
    it.assert_resumed()


def expiry_of(it: Trial, key: str) -> int:
    """Unix ms, asked of the server that has the key's slot."""
    for server in it.target.servers:
        with server.client() as client, contextlib.suppress(redis.ResponseError):
            return int(client.pexpiretime(key))
    raise AssertionError(key)


@both_targets
def test_what_a_killed_run_has_held_gets_its_true_time_from_the_next_one(trial: Begin) -> None:
    it = trial(rate=200, flushes=False)
    it.start()
    with it.source.client(0) as client:
        client.set("short", 1, ex=50)
        client.set("long", 1, ex=5_000)
        client.set("kept", 1)
        it.source.wait_level()
        it.kill()
        it.start()
        it.finish()
        ends = {key: client.pexpiretime(key) for key in ("short", "long", "kept")}
    assert expiry_of(it, "short") == ends["short"] > 0
    assert expiry_of(it, "long") == ends["long"]
    assert expiry_of(it, "kept") == ends["kept"] == -1
    it.assert_resumed()


@both_targets
def test_what_a_run_has_held_gets_its_true_time_when_it_is_stopped_while_it_lags(trial: Begin) -> None:
    it = trial(rate=200, flushes=False)
    it.start()
    it.workload.stop()
    it.source.wait_level()
    keys = [f"held:{number}" for number in range(50)]
    with it.source.client(0) as client:
        with stalled(it):
            for key in keys:
                client.set(key, 1, ex=100)
            time.sleep(2)
            it.program.signal(signal.SIGTERM)
            time.sleep(1)
        assert it.program.wait(40) == 0, it.program.output()[-3000:]
        ends = {key: client.pexpiretime(key) for key in keys}
    assert {key: expiry_of(it, key) for key in keys} == ends
