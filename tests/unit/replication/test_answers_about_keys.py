"""What is said of single keys, and of the job: what goes from the target depends on it, so the kind has to be right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import hiredis
import pytest

from df2redis_tui.dragonfly.control import answer_of
from df2redis_tui.errors import Df2RedisError, SourceError, SourceLost, TargetError
from df2redis_tui.replication import cleanup
from df2redis_tui.replication.checkpoint import Checkpoint
from df2redis_tui.replication.job_state import JobState
from df2redis_tui.replication.lease import _dead_here, _described
from df2redis_tui.replication.target_keys import walk
from df2redis_tui.replication.true_times import _ends
from df2redis_tui.settings import Endpoint, Settings
from df2redis_tui.streams import PeerBroken, PeerLost
from df2redis_tui.target.pending import decode_command

HERE = Endpoint((("127.0.0.1", 1),))
NO = hiredis.ReplyError("NOPERM no")


class Peer:
    """A connection that answers each command by its name; a list of answers is used up one after the other."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    async def call(self, *args: Any, timeout: float = 0.0, most: int = 0) -> object:
        return self._answer(str(args[0]))

    async def pipeline(self, wires: list[bytes], timeout: float = 0.0, most: int = 0) -> list[object]:
        return [self._answer(decode_command(wire)[0].decode()) for wire in wires]

    def _answer(self, name: str) -> object:
        answer = self.answers[name]
        if isinstance(answer, PeerLost):
            raise answer
        return answer.pop(0) if name == "SCAN" and len(answer) > 1 else answer[0] if name == "SCAN" else answer

    async def aclose(self) -> None: ...


class Target:
    name = "here"

    async def databases(self) -> list[int]:
        return [3]

    async def scan(self, db: int, on_page: Callable[[Any, list[bytes]], Awaitable[None]]) -> None:
        await on_page(None, [b"a", b"b"])


def absent(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> list[bytes]:
    async def opened(*_: object) -> Peer:
        return Peer(**answers)

    monkeypatch.setattr(cleanup, "open_source", opened)
    found: list[bytes] = []
    anyio.run(lambda: cleanup.find_leftovers(HERE, Target(), lambda db, key: True, lambda db, key: found.append(key)))
    return found


def test_keys_that_the_source_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    assert absent(monkeypatch, SELECT=b"OK", EXISTS=0) == [b"a", b"b"]
    assert absent(monkeypatch, SELECT=b"OK", EXISTS=1) == []


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ({"SELECT": NO, "EXISTS": 0}, SourceError),
        ({"SELECT": 0, "EXISTS": 0}, SourceError),
        ({"SELECT": b"OK", "EXISTS": None}, SourceError),
        ({"SELECT": b"OK", "EXISTS": b""}, SourceError),
        ({"SELECT": b"OK", "EXISTS": NO}, SourceError),
        ({"SELECT": b"OK", "EXISTS": PeerBroken("x")}, SourceError),
        ({"SELECT": b"OK", "EXISTS": PeerLost("x")}, SourceLost),
    ],
    ids=str,
)
def test_none_is_taken_for_absent_otherwise(
    answers: dict[str, Any], kind: type[Df2RedisError], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceError) as caught:
        absent(monkeypatch, **answers)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("answers", "ends"),
    [({"PEXPIRETIME": 7}, 7), ({"PEXPIRETIME": -1}, -1), ({"PEXPIRETIME": NO, "PTTL": -1}, None)],
    ids=str,
)
def test_expiry_times(answers: dict[str, Any], ends: int | None) -> None:
    found = anyio.run(lambda: _ends(Peer(**answers), [b"a"], lambda r, a: answer_of(HERE, r, a), exact=True))  # type: ignore[arg-type]
    assert found.get(b"a") == ends


@pytest.mark.parametrize(
    "answers", [{"PEXPIRETIME": b"7"}, {"PEXPIRETIME": -3}, {"PEXPIRETIME": NO, "PTTL": None}], ids=str
)
def test_no_expiry_times(answers: dict[str, Any]) -> None:
    with pytest.raises(SourceError):
        anyio.run(lambda: _ends(Peer(**answers), [b"a"], lambda r, a: answer_of(HERE, r, a), exact=True))  # type: ignore[arg-type]


def walked(*pages: object) -> list[bytes]:
    found: list[bytes] = []

    async def on_page(_: object, keys: list[bytes]) -> None:
        found.extend(keys)

    anyio.run(lambda: walk(Peer(SCAN=list(pages)), "here", on_page))  # type: ignore[arg-type]
    return found


def test_a_walk_over_all_keys() -> None:
    assert walked([b"7", [b"a"]], [b"3", []], [b"7", [b"b"]], [b"0", [b"c"]]) == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    "page",
    [
        None, [], b"0", [b"0"], [0, []], [b"x", []], [b"0", None], [b"0", [1]], [b"0", [b"a", None]], [b"9" * 30, []],
        [b"-1", []], [b"17", [b"a"]],
    ],
    ids=str,
)  # fmt: skip
def test_a_page_that_is_none_or_does_not_go_on(page: object) -> None:
    with pytest.raises(TargetError, match=r"target here .*SCAN"):
        walked(page)


GOOD = '{"master": "m", "flows": 2, "flow": 1, "lsn": 5, "run": "r", "seq": 3}'


def test_a_checkpoint() -> None:
    assert Checkpoint.parse(GOOD.encode()) == Checkpoint("m", 2, 1, 5, "r", 3)


@pytest.mark.parametrize(
    "odd",
    [
        "[" * 100_000,
        "[]",
        "1",
        "null",
        '"x"',
        "{}",
        *(GOOD.replace('"flow": 1', f'"flow": {n}') for n in ("-1", "2", "1e999", '"x"', "[]", "null")),
        *(GOOD.replace("5", n) for n in ("-5", "1e999", "NaN", "9" * 30, "9" * 9000, "{}")),
        *(GOOD.replace('"flows": 2', f'"flows": {n}') for n in ("0", "-1", "100000")),
    ],
    ids=lambda odd: odd[:80],
)
def test_what_is_no_checkpoint_is_none(odd: str) -> None:
    """A resume asks the source for what is behind it."""
    assert Checkpoint.parse(odd.encode()) is None


@pytest.mark.parametrize(
    "odd",
    ["[" * 100_000, "[]", "1", '"x"', "{", '{"clean_up": false, "started": 1e999}', '{"clean_up": 0, "started": [1]}'],
    ids=lambda odd: odd[:40],
)
def test_of_a_record_that_nobody_can_read_a_clean_up_is_due(odd: str, tmp_path: Path) -> None:
    record = JobState(Settings(HERE, HERE, state_dir=tmp_path)).noted
    record.read(odd.encode())
    assert record.clean_up_due


def test_what_is_shown_of_a_record_is_safe(tmp_path: Path) -> None:
    record = JobState(Settings(HERE, HERE, state_dir=tmp_path)).noted
    record.read(b'{"clean_up": false, "started": 1, "existing": 0, "refusal": "\\u001b[2J\\ud800"}')
    assert record.refusal == "\\x1b[2J\\ud800"
    assert _described(b'{"host": "\\u001b[2J", "pid": 7}') == "host \\x1b[2J, process 7"
    for odd in (b"[" * 100_000, b"1", b'{"host": "a", "pid": 1e999}', b'{"host": "a", "pid": []}'):
        assert _described(odd) == "holder unknown"
        assert not _dead_here(odd)
