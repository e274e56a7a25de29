"""The lease: whose it is, whoever asks how often; whether its holder is known to have ended."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any

import anyio
import hiredis
import psutil
import pytest

from df2redis_tui.errors import TargetError, TargetLost
from df2redis_tui.replication import lease as lease_module
from df2redis_tui.replication.lease import LASTS, Lease, _dead_here, _machine, _started
from df2redis_tui.streams import Arg
from df2redis_tui.target.pending import decode_command

pytestmark = pytest.mark.anyio

KEY = b"df2redis:default:lease"
ELSEWHERE = json.dumps({"host": "another.host", "pid": 1, "started": 1.0}).encode()


class Server:
    """One key of a target. `refused` commands are answered with NOPERM, others with `error` where there is one."""

    def __init__(self, refused: Sequence[str] = (), error: str = "") -> None:
        self.value: bytes | None = None
        self.ends = 0.0
        self.now = 1000.0
        self.refused = set(refused)
        self.error = error
        self.asked: list[str] = []
        self.at_once = 0
        self._busy = 0

    async def call(self, *args: Arg) -> object:
        return (await self.pipeline([args]))[0]  # type: ignore[list-item]

    async def pipeline(self, commands: list[bytes]) -> list[object]:
        self._busy += 1
        self.at_once = max(self.at_once, self._busy)
        await anyio.sleep(0)
        replies = self._run([c if isinstance(c, tuple) else decode_command(c) for c in commands])
        await anyio.sleep(0)
        self._busy -= 1
        return replies

    def _run(self, commands: list[Any]) -> list[object]:
        if self.value is not None and self.now >= self.ends:
            self.value = None
        words = [[w if isinstance(w, bytes) else str(w).encode() for w in command] for command in commands]
        self.asked += [w[0].decode() for w in words]
        if words[0][0] != b"MULTI":
            return [self._reply(w) for w in words]
        inner = [self._reply(w) for w in words[1:-1]]
        broken = any(isinstance(reply, hiredis.ReplyError) for reply in inner)
        queued = [reply if isinstance(reply, hiredis.ReplyError) else b"QUEUED" for reply in inner]
        return [b"OK", *queued, hiredis.ReplyError("EXECABORT discarded") if broken else inner]

    def _reply(self, words: list[bytes]) -> object:
        name = words[0].decode()
        if name in self.refused:
            return hiredis.ReplyError(f"NOPERM this user has no permissions to run the '{name.lower()}' command")
        if self.error:
            return hiredis.ReplyError(self.error)
        if name == "SET":
            if b"NX" in words and self.value is not None:
                return None
            self.value, self.ends = words[2], self.now + LASTS
            return b"OK"
        if name == "GET":
            return self.value
        if name == "PEXPIRE":
            self.ends = self.now + LASTS
            return int(self.value is not None)
        if name == "PTTL":
            return int((self.ends - self.now) * 1000) if self.value is not None else -2
        if name == "DEL" or (name == "EVAL" and self.value == words[4]):
            had, self.value = self.value, None
            return int(had is not None)
        assert name == "EVAL"
        return 0


def lease_of(server: Server, run: str = "a") -> Lease:
    return Lease(server, KEY, "default", run)


async def taken(server: Server, run: str = "a") -> Lease:
    lease = lease_of(server, run)
    await lease.take()
    return lease


async def check_all(lease: Lease, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(lease.check)


@pytest.mark.parametrize("count", [2, 1024])
async def test_connections_that_check_a_lapsed_lease_at_once_are_no_rivals(count: int) -> None:
    server = Server()
    lease = await taken(server)
    server.now += LASTS + 1
    server.asked.clear()
    await check_all(lease, count)
    assert json.loads(server.value or b"")["run"] == "a"
    assert server.at_once == 1
    assert len(server.asked) <= 20, "they share the answer"


async def test_a_check_wants_an_answer_to_a_question_of_after_it() -> None:
    server = Server()
    lease = await taken(server)
    await lease.check()
    server.value = ELSEWHERE
    with pytest.raises(TargetError, match="another run took over"):
        await lease.check()


async def test_a_rival_that_took_the_lapsed_lease_is_one() -> None:
    server = Server()
    lease = await taken(server)
    server.now += LASTS + 1
    await taken(server, "b")
    for ask in (lease.check, lease.renew):
        with pytest.raises(TargetError, match="another run took over"):
            await ask()
    assert json.loads(server.value or b"")["run"] == "b"


@pytest.mark.parametrize("times", [1, 2])
async def test_a_lease_that_the_target_lost_is_taken_again_and_nobody_is_blamed(times: int) -> None:
    """It goes once more between two questions, as where somebody flushes."""
    server = Server()
    lease = await taken(server)
    server.value = None
    answers, left = server._reply, times

    def emptied(words: list[bytes]) -> object:
        nonlocal left
        if words[0] == b"SET" and left:
            left -= 1
            return None  # somebody else had it just then
        return answers(words)

    server._reply = emptied  # type: ignore[method-assign]
    await lease.renew()
    assert json.loads(server.value or b"")["run"] == "a"


async def test_a_lease_that_never_stays_is_no_other_run() -> None:
    server = Server()
    lease = await taken(server)
    server.value = None
    answers = server._reply
    server._reply = lambda words: None if words[0] == b"SET" else answers(words)  # type: ignore[method-assign]
    for ask in (lease.renew, lease.check):
        with pytest.raises(TargetLost, match="gone from the target"):
            await ask()


async def test_renewing_and_checking_at_once_restore_a_lost_lease_without_a_rival() -> None:
    server = Server()
    lease = await taken(server)
    server.value = None
    async with anyio.create_task_group() as tasks:
        for ask in (lease.check, lease.renew, lease.check):
            tasks.start_soon(ask)
    assert json.loads(server.value or b"")["run"] == "a"
    assert server.at_once == 1


async def test_whoever_took_over_is_named_and_nothing_is_said_to_be_lost() -> None:
    server = Server()
    lease = await taken(server)
    server.value = ELSEWHERE
    with pytest.raises(TargetError, match=r"another run took over .*another\.host, process 1") as caught:
        await lease.check()
    assert "goes on" in (caught.value.advice or "")
    for harmless in (None, lease._value):
        lease.must_not_be_of_others(harmless)
    with pytest.raises(TargetError, match="another run"):
        lease.must_not_be_of_others(ELSEWHERE)


async def test_our_own_value_behind_a_failed_set_is_ours() -> None:
    """The connection broke behind the first SET, and the target's side of us sent it again."""
    server = Server()
    lease = lease_of(server)
    once = server._reply

    def twice(words: list[bytes]) -> object:
        if words[0] == b"SET":
            once(words)
        return once(words)

    server._reply = twice  # type: ignore[method-assign]
    await lease.take()
    server.now += LASTS + 1
    await lease.renew()
    assert json.loads(server.value or b"")["run"] == "a"


async def test_a_user_without_scripts_keeps_its_lease_and_gives_it_back() -> None:
    server = Server(refused=["EVAL"])
    lease = await taken(server)
    for _ in range(5):
        server.now += LASTS - 1
        await lease.renew()
    assert server.value is not None
    await lease.release()
    assert server.value is None


async def test_what_is_another_runs_is_not_released() -> None:
    server = Server()
    lease = await taken(server)
    server.now += LASTS + 1
    await taken(server, "b")
    await lease.release()
    assert json.loads(server.value or b"")["run"] == "b"


@pytest.mark.parametrize(
    ("error", "kind"),
    [("LOADING Redis is loading", TargetLost), ("OOM command not allowed", TargetLost), ("NOPERM no", TargetError)],
)
async def test_an_answer_that_says_nothing_is_no_consent(error: str, kind: type[TargetError]) -> None:
    server = Server()
    lease = await taken(server)
    server.error = error
    for ask in (lease.renew, lease.check):
        with pytest.raises(TargetError, match=error) as caught:
            await ask()
        assert isinstance(caught.value, TargetLost) is (kind is TargetLost)


async def test_a_server_that_takes_no_writes_does_not_hold_up_those_that_find_that_out() -> None:
    """It became a replica, say: the writer says so, and gives up in time."""
    server = Server()
    lease = await taken(server)
    server.now += LASTS + 1
    answers = server._reply

    def read_only(words: list[bytes]) -> object:
        return answers(words) if words[0] == b"GET" else hiredis.ReplyError("READONLY You can't write")

    server._reply = read_only  # type: ignore[method-assign]
    await lease.check()
    with pytest.raises(TargetLost, match="READONLY"):
        await lease.renew()


async def test_the_second_run_is_refused_at_once() -> None:
    server = Server()
    await taken(server)
    with pytest.raises(TargetError, match="already running"):
        await taken(server, "b")
    assert "PTTL" not in server.asked


def other_container(**changes: object) -> bytes:
    """A holder with our host's name and our process number, in a container of its own."""
    process = psutil.Process()
    who = {**_machine(), "pids": "pid:[1]", "pid": process.pid, "started": _started(process.pid) - 500}
    return json.dumps(who | changes).encode()


async def test_the_same_process_number_in_another_container_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "LOOK_EVERY", 0.0)
    server = Server()
    server.value, server.ends = other_container(), server.now + LASTS
    assert not _dead_here(server.value)
    looks = server._reply

    def renewed(words: list[bytes]) -> object:
        if words[0] == b"PTTL":
            server.now += 4.0
            if server.ends - server.now < 8.0:
                server.ends = server.now + LASTS
        return looks(words)

    server._reply = renewed  # type: ignore[method-assign]
    with pytest.raises(TargetError, match="already running"):
        await taken(server)


@pytest.mark.parametrize("refused", [[], ["EVAL"]])
async def test_a_container_that_was_started_anew_waits_for_its_old_lease(
    refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "LOOK_EVERY", 0.0)
    server = Server(refused)
    server.value, server.ends = other_container(), server.now + LASTS
    looks = server._reply

    def later(words: list[bytes]) -> object:
        reply = looks(words)
        if words[0] == b"PTTL":
            server.now += 4.0
            server.value = server.value if server.now < server.ends else None
        return reply

    server._reply = later  # type: ignore[method-assign]
    await taken(server)
    assert json.loads(server.value or b"")["run"] == "a"


async def test_without_scripts_a_dead_run_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "LOOK_EVERY", 0.0)
    server = Server(["EVAL"])
    server.value, server.ends = other_container(pids=_machine()["pids"], pid=2**22 + 1), server.now + 0.001
    assert _dead_here(server.value)
    looks = server._reply

    def later(words: list[bytes]) -> object:
        reply = looks(words)
        if words[0] == b"PTTL":
            server.value = None
        return reply

    server._reply = later  # type: ignore[method-assign]
    await taken(server)


def holder(process: psutil.Process, **changes: object) -> bytes:
    return json.dumps({**_machine(), "pid": process.pid, "started": _started(process.pid), **changes}).encode()


def test_a_process_that_was_killed_is_dead_before_and_after_its_parent_has_noticed() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        process = psutil.Process(child.pid)
        mine, elsewhere = holder(process), holder(process, host="another.host")
        assert not _dead_here(mine)
        child.kill()
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert _dead_here(mine)
        assert not _dead_here(elsewhere), "nobody here can know"
        child.wait()
        assert _dead_here(mine)


def test_a_process_number_that_is_used_again_is_another_process() -> None:
    process = psutil.Process()
    assert not _dead_here(holder(process))
    assert _dead_here(holder(process, started=_started(process.pid) - 500))


def test_what_is_not_a_lease_is_not_known_to_be_dead() -> None:
    assert not _dead_here(b"\xff")
    assert not _dead_here(b'{"host": 1}')
    assert not _dead_here(ELSEWHERE)
