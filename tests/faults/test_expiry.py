"""The target expires keys by itself, and is always a little behind a source that prolongs them."""

from __future__ import annotations

import time
from collections.abc import Callable

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
