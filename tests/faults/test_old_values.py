"""The target holds keys of the same names: what is new on the source arrives as a bare INCR or HSET (--on-existing)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from tests.faults.trial import Trial
from tests.support.program import wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
Begin = Callable[..., Trial]
Rounds = Callable[[int, int], int]
SLOW = {"snapshot_pace": 0.05}
NAMES = 240
BYSTANDER = "df2redis-bystander"  # the source never has it; the comparison does not look at it


def fill_source(it: Trial) -> None:
    """So much that the full sync takes a second or two."""
    with it.source.client() as client:
        client.mset({f"base:{i}": i for i in range(3_000)})


def fill_target(it: Trial) -> None:
    """Old values of every type under the names that the source will use."""
    with it.standalone.servers[0].client() as client:
        client.set(BYSTANDER, "x")
        for db in (0, 1):
            client.select(db)
            for i in range(NAMES):
                name = f"new:{i}"
                match i % 6:
                    case 0:
                        client.set(name, 1_000)
                    case 1:
                        client.rpush(name, "old", "values")
                    case 2:
                        client.hset(name, mapping={"f": 7, "old": 1})
                    case 3:
                        client.sadd(name, "old")
                    case 4:
                        client.zadd(name, {"old": 1, "m": 5})
                    case 5:
                        client.xadd(name, {"old": 1}, id="1-1")
        client.select(0)


def create(client: redis.client.Pipeline, names: range) -> None:
    """Keys that the source did not have, each by a command that builds on what it finds."""
    for i in names:
        key = f"new:{i}"
        match i % 12:
            case 0:
                client.incr(key)
                client.incrby(key, 5)
            case 1:
                client.append(key, "new")
            case 2:
                client.rpush(key, "new")
                client.lpush(key, "newer")
            case 3:
                client.hset(key, "f", "new")
            case 4:
                client.hincrby(key, "f", 2)
            case 5:
                client.sadd(key, "new", "newer")
            case 6:
                client.zincrby(key, 1, "m")
            case 7:
                client.xadd(key, {"n": i})
            case 8:
                client.set(f"scratch:{i}", i)
                client.rename(f"scratch:{i}", key)
            case 9:
                client.setrange(key, 5, "x")
            case 10:
                client.sadd("scratch:a", "1", "2")
                client.sinterstore(key, "scratch:a", "scratch:a")
            case 11:
                client.setnx(key, i)
                client.expire(key, 5_000)


def create_everywhere(it: Trial, names: range) -> None:
    for db in (0, 1):
        with it.source.client(db) as client:
            pipe = client.pipeline(transaction=False)
            create(pipe, names)
            pipe.execute()


@pytest.mark.parametrize("killed", [pytest.param(False, marks=pytest.mark.full_only), True], ids=["", "killed"])
def test_new_keys_do_not_meet_old_values(trial: Begin, killed: bool) -> None:
    """In the full sync, behind it, and in later runs, which can't know what their predecessor has replaced."""
    it = trial(source=SLOW, flushes=False)
    fill_source(it)
    fill_target(it)
    it.start(wait=False)
    wait_until(lambda: it.source.full_syncs == 1)
    create_everywhere(it, range(60))
    if killed:
        it.kill()
        create_everywhere(it, range(60, 80))
        it.start(wait=False)
        wait_until(lambda: it.source.full_syncs == 2)
    create_everywhere(it, range(60, 120))
    it.wait_moving()
    create_everywhere(it, range(100, 160))
    for names in (range(140, 200), range(180, NAMES)):
        it.pause(0.0, 1.5)
        if killed:
            it.kill()
            it.start(wait=False)
        create_everywhere(it, names)
    create_everywhere(it, range(NAMES))
    it.finish()
    assert it.source.full_syncs == 1 + killed
    with it.standalone.servers[0].client() as client:
        assert client.get(BYSTANDER) == b"x"


@pytest.mark.full_only
def test_again_in_a_resync(trial: Begin) -> None:
    """What the job replaced is old once more when the source has lost it and has it anew."""
    it = trial(source=SLOW, flushes=False)
    fill_source(it)
    fill_target(it)
    it.start()
    create_everywhere(it, range(NAMES))
    it.pause(0.5, 1.0)
    it.kill()
    for db in (0, 1):
        with it.source.client(db) as client:
            client.delete(*(f"new:{i}" for i in range(NAMES)))
    it.source.do(lambda: setattr(it.source.look_alike, "refuse_partial", True))
    it.start(wait=False)
    wait_until(lambda: it.source.full_syncs == 2)
    create_everywhere(it, range(NAMES // 2))
    it.wait_moving()
    create_everywhere(it, range(NAMES))
    it.finish()


@pytest.mark.full_only
def test_without_the_list_of_what_was_there(trial: Begin) -> None:
    """What the job wrote and the source has lost since can't be told from the operator's keys then, and stays."""
    it = trial(source=SLOW, flushes=False)
    fill_source(it)
    fill_target(it)
    it.start()
    create_everywhere(it, range(NAMES // 2))
    it.workload.stop()
    it.source.wait_level()
    it.kill()
    (it.directory / "run" / "state" / "default.existing").unlink()
    it.source.do(lambda: setattr(it.source.look_alike, "refuse_partial", True))
    it.start(wait=False)
    wait_until(lambda: it.source.full_syncs == 2)
    create_everywhere(it, range(NAMES * 3 // 4))
    wait_until(lambda: it.position() > 0)
    create_everywhere(it, range(NAMES))
    it.source.wait_level()
    compared = it.source.compare(it.target.endpoint)
    assert not compared.different, compared.samples
    assert not compared.missing


@pytest.mark.full_only
def test_of_a_target_of_ours_what_the_source_lacks_goes(trial: Begin) -> None:
    it = trial("--target-owned", source=SLOW, flushes=False)
    fill_source(it)
    fill_target(it)
    it.start(wait=False)
    wait_until(lambda: it.source.full_syncs == 1)
    create_everywhere(it, range(NAMES // 2))
    it.program.wait_for("keys looked at")
    it.finish()
    with it.standalone.servers[0].client() as client:
        assert not client.exists(BYSTANDER)


def test_skip_leaves_every_old_value_alone(trial: Begin) -> None:
    it = trial("--on-existing", "skip", source=SLOW, flushes=False)
    fill_source(it)
    fill_target(it)
    names = [f"new:{i}" for i in range(NAMES)]
    with it.standalone.servers[0].client() as client:
        before = [client.dump(name) for name in names]
    it.start(wait=False)
    wait_until(lambda: it.source.full_syncs == 1)
    create_everywhere(it, range(NAMES // 2))
    it.wait_moving()
    create_everywhere(it, range(NAMES))
    it.kill()
    it.start()
    create_everywhere(it, range(NAMES))
    it.workload.stop()
    it.source.wait_level(60)
    with it.standalone.servers[0].client() as client:
        assert [client.dump(name) for name in names] == before
        assert client.get(BYSTANDER) == b"x"
        assert client.get("base:77") == b"77"


def test_flushes_and_kills_leave_what_is_of_others(trial: Begin, rounds: Rounds) -> None:
    """The workload flushes a database now and then; each key of before the copy stays, all of the copy's go."""
    it = trial()
    with it.standalone.servers[0].client() as client:
        for db in (0, 1):
            client.select(db)
            client.mset({f"{BYSTANDER}:{i}": i for i in range(50)})
    it.start()
    for _ in range(rounds(2, 20)):
        with it.source.client(1) as client:
            client.flushdb()
        it.pause(0.0, 0.3)
        it.kill()
        with it.source.client(1) as client:
            client.flushdb()
        it.start()
    it.finish()
    for db in (0, 1):
        with it.standalone.servers[0].client(db) as client:
            assert sum(1 for _ in client.scan_iter(f"{BYSTANDER}:*")) == 50
