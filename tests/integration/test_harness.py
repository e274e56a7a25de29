"""The harness itself: a player that forgives or a comparison that overlooks would make every other test worthless."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.content import Can, differences, read_content
from tests.support.player import Behaviour, Player, Script
from tests.support.servers import Server, available_targets, start_cluster
from tests.support.synthetic import STRING, entry, flow, record, string

SCRIPT = Script((flow([entry(STRING, b"a", string(b"1"))], [record(b"SET", b"a", b"2")]), flow()))


class Replica:
    """A bare RESP client."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.file = self.socket.makefile("rb")

    def send(self, *words: object) -> None:
        parts = [str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))

    def __call__(self, *words: object) -> Any:
        self.send(*words)
        return self.reply()

    def reply(self) -> Any:
        line = self.file.readline().rstrip().decode()
        if line[:1] == "*":
            return [self.reply() for _ in range(int(line[1:]))]
        return line


@pytest.fixture
def player() -> Iterator[Player]:
    with Player(SCRIPT) as running:
        yield running


def greeted(player: Player) -> Replica:
    control = Replica(player.port)
    assert control("PING") == "+PONG"
    assert control("REPLCONF", "capa", "dragonfly")[:3] == [f"+{SCRIPT.master_id}", "+SYNC1", ":2"]
    return control


def opened(player: Player) -> list[Replica]:
    flows = [Replica(player.port) for _ in SCRIPT.flows]
    for number, connection in enumerate(flows):
        assert connection("DFLY", "FLOW", SCRIPT.master_id, "SYNC1", number)[0] == "+FULL"
    return flows


def test_a_right_handshake_delivers_every_byte(player: Player) -> None:
    control, flows = greeted(player), opened(player)
    assert control("DFLY", "SYNC", "SYNC1") == "+OK"
    first = [c.file.read(SCRIPT.flows[i].full_sync_end) for i, c in enumerate(flows)]
    assert all(part.startswith(b"REDIS0009") for part in first)
    assert control("DFLY", "STARTSTABLE", "SYNC1") == "+OK"
    assert flows[0].file.read(SCRIPT.flows[0].stable_from).endswith(b"f" * 40)
    assert flows[0].file.read(len(record(b"SET", b"a", b"2"))) == record(b"SET", b"a", b"2")
    flows[0].send("REPLCONF", "ACK", 2)
    assert player.played.wait(5)
    assert control("DFLY", "REPLICAOFFSET") == [":2", ":1"]
    assert player.violations == []
    assert player.last_acks() == [2, None]


def test_client_version_before_capa_is_seen(player: Player) -> None:
    assert Replica(player.port)("REPLCONF", "CLIENT-VERSION", 4).startswith("-ERR")
    assert "crashes" in player.violations[0]


def test_sync_before_all_flows_is_seen(player: Player) -> None:
    control = greeted(player)
    only_flow = Replica(player.port)
    assert only_flow("DFLY", "FLOW", SCRIPT.master_id, "SYNC1", 0)[0] == "+FULL"
    assert control("DFLY", "SYNC", "SYNC1") == "-ERR invalid state"
    assert player.violations


def test_startstable_without_a_full_sync_is_seen(player: Player) -> None:
    control, _flows = greeted(player), opened(player)
    assert control("DFLY", "STARTSTABLE", "SYNC1") == "-ERR invalid state"
    assert "crashes" in player.violations[0]


def test_startstable_before_opcode_200_is_seen() -> None:
    with Player(SCRIPT, behaviour=Behaviour(piece=4, delay=0.2)) as player:
        control, _flows = greeted(player), opened(player)
        assert control("DFLY", "SYNC", "SYNC1") == "+OK"
        assert control("DFLY", "STARTSTABLE", "SYNC1") == "-ERR invalid state"
        assert "freezes" in player.violations[0]


def test_a_command_on_a_flow_is_seen(player: Player) -> None:
    _control, flows = greeted(player), opened(player)
    assert flows[0]("PING").startswith("-ERR")
    assert player.violations


def test_a_flow_needs_the_password_too() -> None:
    with Player(SCRIPT, behaviour=Behaviour(password="geheim")) as player:
        control = Replica(player.port)
        assert control("PING").startswith("-NOAUTH")
        assert control("AUTH", "falsch").startswith("-WRONGPASS")
        assert control("AUTH", "geheim") == "+OK"
        control("REPLCONF", "capa", "dragonfly")
        assert Replica(player.port)("DFLY", "FLOW", SCRIPT.master_id, "SYNC1", 0).startswith("-NOAUTH")


def test_losing_one_connection_ends_the_session(player: Player) -> None:
    control, flows = greeted(player), opened(player)
    player.lose(flow=1)
    assert flows[0].file.read() == b""
    assert control("DFLY", "SYNC", "SYNC1") == "-ERR syncid not found"


def test_what_needs_data_answers_an_error(player: Player) -> None:
    for words in (("MULTI",), ("DUMP", "a"), ("PTTL", "a")):
        assert "recording" in Replica(player.port)(*words)


CHANGES: dict[str, tuple[tuple[str, ...], str]] = {
    "another string": (("SET", "string", "two"), "value"),
    "a lost key": (("DEL", "string"), "absent"),
    "a key too many": (("SET", "more", "1"), "unexpected"),
    "another type": (("SET", "list", "x"), "type"),
    "list order": (("LMOVE", "list", "list", "LEFT", "RIGHT"), "value"),
    "a score's last digit": (("ZADD", "zset", "0.30000000000000004", "m"), "value"),
    "a set member": (("SADD", "set", "z"), "value"),
    "a hash value": (("HSET", "hash", "f", "w"), "value"),
    "a lost expiry": (("PERSIST", "ttl"), "ttl"),
    "an expiry too many": (("PEXPIREAT", "string", "2035000000000"), "ttl"),
    "an expiry a little later": (("PEXPIREAT", "ttl", "2035000002500"), "ttl"),
    "a stream entry": (("XADD", "stream", "9-9", "f", "v"), "value"),
    "a stream's last id": (("XSETID", "stream", "8-8"), "ids"),
    "a stream's count of entries": (("XADD", "stream", "9-9", "f", "v"), "counters"),
    "a pending entry": (("XACK", "stream", "group", "1-1"), "groups"),
    "a consumer": (("XGROUP", "CREATECONSUMER", "stream", "group", "d"), "groups"),
}


@pytest.mark.real
def test_comparison_sees_each_kind_of_change(target: Server) -> None:
    client, can = target.client(), Can.of(target.kind)
    for change, (command, aspect) in CHANGES.items():
        client.flushall()
        for setup in (
            "SET string one", "RPUSH list a b c", "ZADD zset 0.3 m", "SADD set a b", "HSET hash f v g w",
            "SET ttl x PXAT 2035000000000", "XADD stream 1-1 f v", "XGROUP CREATE stream group 0",
            "XREADGROUP GROUP group c STREAMS stream >",
        ):  # fmt: skip
            client.execute_command(*setup.split())
        before = read_content(client)
        assert differences(before, read_content(client), can) == []
        client.execute_command(*command)
        assert aspect in {d.aspect for d in differences(before, read_content(client), can)}, change


@pytest.mark.real
@pytest.mark.parametrize("kind", available_targets())
def test_a_cluster_of_three_masters_serves_all_slots(kind: str) -> None:
    with start_cluster(kind) as nodes:
        owners = {nodes[0].client().execute_command("CLUSTER", "KEYSLOT", f"key:{i}") * 3 // 16384 for i in range(50)}
        assert owners == {0, 1, 2}
        assert len({n.port for n in nodes}) == 3
    assert all(n.process.poll() is not None for n in nodes)
