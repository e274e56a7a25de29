"""What is asked of the source for a key, and what the answers mean."""

from __future__ import annotations

import time

import hiredis
import pytest

from df2redis_tui.dragonfly import records
from df2redis_tui.errors import SourceError, SourceLost
from df2redis_tui.replication import key_reader
from df2redis_tui.replication.key_reader import KeyReader
from df2redis_tui.settings import Endpoint
from df2redis_tui.target.pending import decode_command
from df2redis_tui.translate.payload import payload
from tests.support.damaged import Damaged, damaged_values

pytestmark = pytest.mark.anyio

DUMP = payload(records.STRING, b"\x01v")
SOON = time.time_ns() // 1_000_000 + 5_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Source:
    """A connection to a source with two databases; `lacks` names a command that it does not know."""

    def __init__(self, lacks: bytes = b"", dump: bytes = DUMP) -> None:
        self.dump = dump
        self.asked: list[list[bytes]] = []
        self.lacks = lacks
        self._db = 0
        self._queued: list[object] | None = None

    async def pipeline(self, wires: list[bytes], timeout: float, most: int) -> list[object]:
        return [self._answer(decode_command(wire)) for wire in wires]

    def _answer(self, args: list[bytes]) -> object:
        self.asked.append(args)
        name = args[0]
        if name == b"MULTI":
            self._queued = []
            return b"OK"
        if name == b"EXEC":
            queued, self._queued = self._queued, None
            if self.lacks and any(item == self.lacks for item in queued or ()):
                return hiredis.ReplyError("EXECABORT Transaction discarded because of previous errors.")
            return [self._value(item) for item in queued or ()]
        if self._queued is not None:
            self._queued.append(name)
            return b"QUEUED"
        if name == b"SELECT":
            self._db = int(args[1])
            return b"OK"
        return [7, 40] if name == b"DFLY" else None if name != b"MEMORY" else 100 * (self._db + 1)

    def _value(self, name: object) -> object:
        return {b"DUMP": self.dump, b"PTTL": 4_000, b"PEXPIRETIME": SOON}[name]  # type: ignore[index]

    async def aclose(self) -> None: ...


def reader(source: Source, monkeypatch: pytest.MonkeyPatch) -> KeyReader:
    async def opened(*_: object) -> Source:
        return source

    monkeypatch.setattr(key_reader, "open_source", opened)
    return KeyReader(Endpoint((("127.0.0.1", 1),)), 1, 2)


async def test_a_key_of_each_database_with_the_positions_around_them(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source()
    asks = reader(source, monkeypatch)
    assert await asks.sizes([(0, b"a"), (0, b"b"), (2, b"c")]) == [100, 100, 300]
    found = await asks.read([(0, b"a"), (2, b"c")])
    assert [(r.a, r.b, r.value and r.value.db, r.value and r.value.expire_ms) for r in found.values()] == [
        (40, 40, 0, SOON),
        (40, 40, 2, SOON),
    ]
    alone = await asks.read_alone((0, b"a"))
    assert (alone.a, alone.b, alone.value and alone.value.raw) == (40, 40, b"\x01v")


async def test_a_release_without_absolute_expiry_times_is_asked_for_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Source(lacks=b"PEXPIRETIME")
    asks = reader(source, monkeypatch)
    value = (await asks.read([(0, b"a")]))[(0, b"a")].value
    assert value is not None
    assert abs(value.expire_ms - time.time_ns() // 1_000_000 - 4_000) < 2_000
    asked = len(source.asked)
    await asks.read_alone((0, b"a"))
    assert [b"PEXPIRETIME", b"a"] not in source.asked[asked:]


async def test_what_the_source_refuses_is_a_problem_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await reader(Source(lacks=b"DUMP"), monkeypatch).read([(0, b"a")])
    assert found[(0, b"a")].problem.startswith("EXECABORT")


class Odd(Source):
    """One whose answers to some commands are others: `answers` maps the command to them."""

    def __init__(self, answers: dict[bytes, object]) -> None:
        super().__init__()
        self._answers = answers

    def _answer(self, args: list[bytes]) -> object:
        usual = super()._answer(args)
        return self._answers.get(args[0], usual)


REFUSED = hiredis.ReplyError("NOPERM this user has no permissions to run the 'select' command")


@pytest.mark.parametrize(
    "answers",
    [
        {b"SELECT": REFUSED},
        {b"SELECT": 1},
        {b"DFLY": [7]},
        {b"DFLY": [7, -1]},
        {b"DFLY": [7, b"40"]},
        {b"DFLY": None},
        {b"EXEC": [DUMP]},
        {b"EXEC": [DUMP, 1, 2, 3]},
        {b"EXEC": [DUMP, b"1", 2]},
        {b"EXEC": [DUMP, -3, 2]},
        {b"EXEC": [7, 1, 2]},
        {b"EXEC": [b"short", 1, 2]},
        {b"EXEC": b"OK"},
    ],
    ids=str,
)
async def test_an_answer_of_another_kind_is_no_value(
    answers: dict[bytes, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Least of all that the key is gone: it would be removed from the target."""
    with pytest.raises(SourceError, match=r"source 127\.0\.0\.1:1 "):
        await reader(Odd(answers), monkeypatch).read([(2, b"a")])
    with pytest.raises(SourceError, match=r"source 127\.0\.0\.1:1 "):
        await reader(Odd(answers), monkeypatch).read_alone((2, b"a"))


@pytest.mark.parametrize("asked", [b"SELECT", b"MULTI", b"DUMP", b"EXEC", b"DFLY"])
@pytest.mark.parametrize(
    "text", ["LOADING Dragonfly is loading the dataset in memory", "ERR source is being TAKEN OVER"]
)
async def test_a_source_that_serves_nobody_now_says_nothing_of_a_key(
    asked: bytes, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is lost, for the time being; the key can be copied later."""
    odd = Odd({asked: hiredis.ReplyError(text)})
    with pytest.raises(SourceLost, match="re-read connection"):
        await reader(odd, monkeypatch).read([(2, b"a")])
    with pytest.raises(SourceLost, match="re-read connection"):
        await reader(odd, monkeypatch).read_alone((2, b"a"))


@pytest.mark.parametrize("size", [b"100", -1, [1]], ids=str)
async def test_a_size_is_a_number(size: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="MEMORY USAGE"):
        await reader(Odd({b"MEMORY": size}), monkeypatch).sizes([(0, b"a")])


@pytest.mark.parametrize(
    "dump", [DUMP[:-1] + b"\x00", b"\x00\x01w" + DUMP[3:], payload(records.HASH_LISTPACK, b"\x00")]
)
async def test_a_damaged_dump_is_a_problem_of_the_key(dump: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await reader(Source(dump=dump), monkeypatch).read([(0, b"a")])
    assert found[(0, b"a")].value is None
    assert found[(0, b"a")].problem


KEPT = {value.type: value for value in damaged_values() if value.type != records.JSON}


@pytest.mark.parametrize("value", KEPT.values(), ids=str)
async def test_a_value_that_the_source_holds_damaged_is_not_read(
    value: Damaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = reader(Source(dump=payload(value.type, value.raw)), monkeypatch)
    assert "damaged" in (await asks.read_alone((0, b"a"))).problem
    asks = reader(Source(dump=payload(value.type, value.intact)), monkeypatch)
    assert (await asks.read_alone((0, b"a"))).problem == ""
