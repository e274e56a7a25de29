"""A Redis Cluster of three masters as the target: content, moving slots, lost masters and connections, user errors."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import redis

from df2redis_tui.translate.keys import slot_of
from tests.integration.test_replay import BOOKKEEPING, SESSIONS, assert_acknowledged, session_id
from tests.support.content import Can, Content, differences, expected_content, read_content, report
from tests.support.exceptions import RELATIVE, judge
from tests.support.player import FlowScript, Player, Script, script_of
from tests.support.program import Program, copy_arguments, wait_until
from tests.support.proxy import Proxy
from tests.support.recordings import load
from tests.support.servers import Server, available_targets, start_cluster, start_server
from tests.support.synthetic import LIST, STRING, TOKEN, entry, flow, journal_blob, list_payload, record, string

pytestmark = pytest.mark.real


@dataclass(frozen=True, slots=True)
class Cluster:
    """Masters that share all slots."""

    kind: str
    nodes: list[Server]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def content(self) -> Content:
        """Everything in it except the program's own keys; no key may be on two nodes."""
        everything: Content = {}
        for node in self.nodes:
            found = read_content(node.client(), databases=1, skip_prefix=BOOKKEEPING).get(0, {})
            assert not everything.get(0, {}).keys() & found.keys()
            everything.setdefault(0, {}).update(found)
        return everything

    def client(self) -> redis.RedisCluster:
        return redis.RedisCluster(
            startup_nodes=[redis.cluster.ClusterNode("127.0.0.1", node.port) for node in self.nodes], protocol=2
        )


@pytest.fixture(params=available_targets())
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with start_cluster(request.param) as nodes:
        yield Cluster(request.param, nodes)


@pytest.fixture
def any_cluster() -> Iterator[Cluster]:
    with start_cluster(available_targets()[0]) as nodes:
        yield Cluster(available_targets()[0], nodes)


def test_recorded_sessions_are_equal(cluster: Cluster, run: Callable[..., Program]) -> None:
    """One after the other, since a cluster takes seconds to form; all of them on the newest kind. Database 0 counts."""
    for session in SESSIONS if cluster.kind == available_targets()[0] else SESSIONS[::4]:
        recording = load(session[0], resumed=session[1])
        for node in cluster.nodes:
            node.client().flushall()
        with Player(script_of(recording)) as player:
            program = run(
                copy_arguments(player.url, cluster.url, "--member-ttl", "drop", "--db-policy", "skip"),
                name=session_id(session).replace("/", "-"),
            )
        assert program.process.returncode in (0, 5), program.output()
        assert "Traceback" not in program.output() + program.log()
        assert player.violations == []
        expected = {0: expected_content(recording.expected()).get(0, {})}
        found = differences(
            expected,
            cluster.content(),
            Can.of(cluster.kind),
            expiry_known_to=recording.expiry_known_to,
            relative=RELATIVE.get(recording.name, frozenset()),
        )
        unexplained, _ = judge(recording.name, cluster.kind, found)
        told = {base64.b64decode(letter["key_base64"]) for letter in program.dead_letters() if letter["db"] == 0}
        # The player has no live data: a command over several slots, which needs a re-read here, is told instead.
        silent = [d for d in unexplained if d.key not in told]
        assert not silent, f"{session_id(session)}: {len(silent)} differences:\n{report(silent)}"
        assert_acknowledged(recording, player)


TAGS = [b"t%d" % i for i in range(16)]
ROUNDS = 120


def history(rounds: range) -> list[tuple[bytes, ...]]:
    """Commands none of which may be applied twice, on three keys of each of 16 slots."""
    return [
        command
        for i in rounds
        for tag in TAGS
        for command in (
            (b"INCR", b"{%b}n" % tag),
            (b"RPUSH", b"{%b}l" % tag, b"%d" % i),
            (b"APPEND", b"{%b}s" % tag, b"%d," % i),
            (b"SET", b"{%b}last" % tag, b"%d" % i),
        )
    ]


def in_full_sync() -> Script:
    """The history as the journal inside a full sync, half of it on keys that have a value before."""
    values = [entry(STRING, b"plain:%d" % i, string(b"x" * 50)) for i in range(4_000)]
    blobs = [journal_blob(*(record(*c) for c in history(range(i, i + 4)))) for i in range(0, ROUNDS, 4)]
    return Script((flow([*values[:2_000], *blobs, *values[2_000:]]),))


def in_stable_sync() -> Script:
    return Script((flow([], [record(*c) for c in history(range(ROUNDS))]), flow([], [record(b"INCR", b"other")])))


def wrong(cluster: Cluster) -> list[str]:
    """What differs from the history applied exactly once."""
    content = cluster.content()[0]
    want: dict[bytes, object] = {}
    for tag in TAGS:
        numbers = [b"%d" % i for i in range(ROUNDS)]
        want[b"{%b}n" % tag] = b"%d" % ROUNDS
        want[b"{%b}l" % tag] = numbers
        want[b"{%b}s" % tag] = b"".join(n + b"," for n in numbers)
        want[b"{%b}last" % tag] = numbers[-1]
    return [
        f"{key!r}: {content[key].value!r}" if key in content else f"{key!r} is absent"
        for key, value in want.items()
        if key not in content or content[key].value != value
    ]


def move_slot(cluster: Cluster, slot: int, *, pause: float) -> None:
    """As `redis-cli --cluster reshard` does it, with a pause at every step."""
    clients = [node.client() for node in cluster.nodes]
    ids = [client.execute_command("CLUSTER MYID").decode() for client in clients]
    ranges = clients[0].execute_command("CLUSTER", "SLOTS")
    port = next(int(r[2][1]) for r in ranges if r[0] <= slot <= r[1]) if isinstance(ranges, list) else 0
    port = port or next(int(v["primary"][1]) for (a, b), v in ranges.items() if a <= slot <= b)
    here = next(i for i, node in enumerate(cluster.nodes) if node.port == port)
    there = (here + 1) % len(clients)
    clients[there].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here])
    clients[here].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[there])
    time.sleep(pause)
    while keys := clients[here].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
        clients[here].execute_command("MIGRATE", "127.0.0.1", cluster.nodes[there].port, keys[0], 0, 5000)
        time.sleep(pause)
    for client in (clients[there], clients[here], *clients):
        with contextlib.suppress(redis.ResponseError):
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[there])
    for client in clients:
        client.close()


@contextlib.contextmanager
def meanwhile(trouble: Callable[[], None], program: Program, *, often: bool = True) -> Iterator[None]:
    """Make trouble again and again while the program runs."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while program.process.poll() is None:
                trouble()
                if not often:
                    return
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join(60)
    assert not errors, errors


SYNCS = {"full": in_full_sync, "stable": in_stable_sync}
SLOWLY = ("--rate-limit", "1500", "--batch-size", "100")


@pytest.mark.parametrize("sync", SYNCS)
def test_slots_move_while_copying(sync: str, cluster: Cluster, start: Callable[..., Program]) -> None:
    slots = [slot_of(b"{%b}n" % tag) for tag in TAGS]
    turn = iter(slots * 100)
    with Player(SYNCS[sync]()) as player:
        program = start(copy_arguments(player.url, cluster.url, *SLOWLY))
        program.wait_for("Flushing batch")
        with meanwhile(lambda: move_slot(cluster, next(turn), pause=0.02), program):
            assert program.wait(120) == 0, program.output()
    assert wrong(cluster) == []
    assert program.summary()["dead_letters"] == 0
    assert program.summary()["redirects"] > 0


def kill_clients(cluster: Cluster) -> None:
    time.sleep(0.15)
    for node in cluster.nodes:
        client = node.client()
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        client.close()


@pytest.mark.parametrize("sync", SYNCS)
def test_our_connections_are_killed(sync: str, cluster: Cluster, start: Callable[..., Program]) -> None:
    with Player(SYNCS[sync]()) as player:
        program = start(copy_arguments(player.url, cluster.url, *SLOWLY))
        program.wait_for("Flushing batch")
        with meanwhile(lambda: kill_clients(cluster), program):
            assert program.wait(120) == 0, program.output()
    assert wrong(cluster) == []
    assert "Target connection lost" in program.log()


def test_a_slot_without_an_owner_for_some_seconds(any_cluster: Cluster, start: Callable[..., Program]) -> None:
    slot = slot_of(b"{t3}n")

    def down() -> None:
        clients = [node.client() for node in any_cluster.nodes]
        owner = next(c for c in clients if c.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot))
        values = {key: (owner.dump(key)) for key in owner.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)}
        assert values
        for client in clients:
            client.execute_command("CLUSTER", "DELSLOTS", slot)
        time.sleep(3)
        for client in clients:
            with contextlib.suppress(redis.ResponseError):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", owner.execute_command("CLUSTER MYID"))
        for key, value in values.items():
            if not owner.exists(key):
                owner.restore(key, 0, value)

    with Player(in_stable_sync()) as player:
        program = start(copy_arguments(player.url, any_cluster.url, *SLOWLY))
        program.wait_for("Flushing batch")
        wait_until(
            lambda: any(node.client().execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) for node in any_cluster.nodes)
        )
        with meanwhile(down, program, often=False):
            assert program.wait(120) == 0, program.output()
    assert wrong(any_cluster) == []
    assert "CLUSTERDOWN" in program.log()


@contextlib.contextmanager
def replica_of(cluster: Cluster, master: Server) -> Iterator[Server]:
    with start_server(cluster.kind, cluster=True) as spare, spare.client() as replica:
        replica.execute_command("CLUSTER", "MEET", "127.0.0.1", master.port)
        owner = master.client().execute_command("CLUSTER MYID")
        wait_until(lambda: knows(replica, owner))
        replica.execute_command("CLUSTER", "REPLICATE", owner)
        wait_until(lambda: replica.info("replication").get("master_link_status") == "up")
        yield spare


@pytest.mark.parametrize("announced", [True, False], ids=["planned", "killed"])
def test_a_replica_takes_over(announced: bool, any_cluster: Cluster, start: Callable[..., Program]) -> None:
    first = any_cluster.nodes[0]
    with replica_of(any_cluster, first) as spare, Player(in_stable_sync()) as player:
        program = start(copy_arguments(player.url, any_cluster.url, *SLOWLY))
        program.wait_for("Flushing batch")
        time.sleep(1)
        replica = spare.client()
        if announced:
            replica.execute_command("CLUSTER", "FAILOVER")
            wait_until(lambda: replica.info("replication")["role"] == "master")
            time.sleep(0.5)
            first.process.kill()
        else:
            # A master confirms before its replica has it: the last milliseconds could be lost by design.
            program.signal(signal.SIGSTOP)
            offset = first.client().info("replication")["master_repl_offset"]
            wait_until(lambda: replica.info("replication")["slave_repl_offset"] >= offset)
            first.process.kill()
            program.signal(signal.SIGCONT)
        assert program.wait(120) == 0, program.output()
        assert wrong(Cluster(any_cluster.kind, [spare, *any_cluster.nodes[1:]])) == []


def knows(client: redis.Redis, node_id: bytes) -> bool:
    nodes = client.execute_command("CLUSTER", "NODES")
    return node_id.decode() in str(nodes)


def ends_with(program: Program, code: int) -> str:
    """The line it says when it ends so."""
    assert program.process.returncode == code, program.output()
    assert "Traceback" not in program.output() + program.log()
    return " ".join(program.output().split())


def test_what_a_user_meets(any_cluster: Cluster, run: Callable[..., Program], unused_port: int) -> None:
    """Each is one line that says what to do, with exit code 4, and nothing is copied."""
    first, second, third = any_cluster.nodes
    client = first.client()
    flows = (flow([entry(STRING, b"k", string(b"v"))], [record(b"SET", b"k", b"w", db=3)]),)
    with (
        Player(Script(flows, databases={0: 1, 3: 2})) as player,
        start_server(any_cluster.kind) as alone,
        start_server(any_cluster.kind, password="sesame") as closed,
    ):  # fmt: skip

        def said(target: str, *more: str) -> str:
            return ends_with(run(copy_arguments(player.url, target, *more), name=f"run{time.monotonic_ns()}"), 4)

        here = f"127.0.0.1:{alone.port}"
        assert f"{here} is not a cluster: use redis://{here}" in said(f"redis+cluster://{here}")
        assert f"use redis+cluster://127.0.0.1:{first.port}" in said(f"redis://127.0.0.1:{first.port}")
        assert "refused the password" in said(f"redis+cluster://:open@127.0.0.1:{closed.port}")
        nobody = said(f"redis+cluster://127.0.0.1:{unused_port}")
        assert f"127.0.0.1:{unused_port}" in nobody
        assert "refused" in nobody
        away = f"127.0.0.1:{second.port}"
        behind = said(any_cluster.url, "--cluster-map", f"{away}=127.0.0.1:{unused_port}")
        assert f"node 127.0.0.1:{unused_port}, which 127.0.0.1:{first.port} names" in behind
        merge = said(any_cluster.url)
        assert "database 3" in merge
        assert "--db-policy" in merge
        client.execute_command("CLUSTER", "DELSLOTS", 5, 6, 9)
        assert "3 of 16,384 slots have no owner (5-6, 9)" in said(f"redis+cluster://127.0.0.1:{first.port}")
        client.execute_command("CLUSTER", "ADDSLOTS", 5, 6, 9)
        third.process.kill()
        wait_until(lambda: "cluster_state:fail" in str(client.execute_command("CLUSTER", "INFO")).replace("': '", ":"))
        assert "is down (cluster_state:fail)" in said(f"redis+cluster://127.0.0.1:{first.port}")
    assert not client.keys("k")


def test_announced_addresses_are_reached_by_the_map(any_cluster: Cluster, run: Callable[..., Program]) -> None:
    with contextlib.ExitStack() as stack:
        player = stack.enter_context(Player(in_stable_sync()))
        proxies = [stack.enter_context(Proxy(node.port)) for node in any_cluster.nodes]
        pairs = [f"127.0.0.1:{n.port}=127.0.0.1:{p.port}" for n, p in zip(any_cluster.nodes, proxies, strict=True)]
        maps = [word for pair in pairs for word in ("--cluster-map", pair)]
        program = run(copy_arguments(player.url, f"redis+cluster://127.0.0.1:{proxies[0].port}", *maps))
        assert program.process.returncode == 0, program.output()
        assert all(proxy.bytes_to_server > 10_000 for proxy in proxies)
    assert wrong(any_cluster) == []


def test_flushall_reaches_every_master(any_cluster: Cluster, run: Callable[..., Program]) -> None:
    before = [record(*c) for c in history(range(3))]
    after = [record(b"INCR", b"k%d" % i) for i in range(30)]
    flush = record(b"FLUSHALL")
    with Player(
        Script((flow([], [*before, flush, *after]), flow([], [record(b"SET", b"gone", b"1"), flush])))
    ) as player:
        program = run(copy_arguments(player.url, any_cluster.url))
    assert program.process.returncode == 0, program.output()
    assert {k: e.value for k, e in any_cluster.content()[0].items()} == {b"k%d" % i: b"1" for i in range(30)}


def test_a_killed_run_goes_on_where_it_was(cluster: Cluster, start: Callable[..., Program]) -> None:
    """kill -9 again and again, with the same journal resumed from what the checkpoint says."""
    records = [record(*c) for c in history(range(ROUNDS))]

    def resumed(lsn: int) -> Script:
        rest = b"".join(records[lsn - 1 :])
        return Script(
            (
                FlowScript(
                    lambda: [],
                    lambda: [rest],
                    token=TOKEN,
                    stable_from=0,
                    lsn_start=len(records) + 1,  # all of it was written before the program comes back
                    lsn_end=len(records) + 1,
                    resumes_from=lsn,
                ),
            )
        )

    client = cluster.client()

    def position() -> int:
        checkpoint = client.get("df2redis:default:{job}:flow:0")
        return int(json.loads(checkpoint)["lsn"]) if checkpoint else 1

    script = Script((flow([], records),))
    for number in range(30):
        began = position()
        with Player(script) as player:
            arguments = copy_arguments(player.url, cluster.url, "--rate-limit", "1000", "--batch-size", "100")
            program = start(arguments, name=f"run{number}")
            until = began + len(records) // 8 if number < 4 else len(records) + 2
            wait_until(
                lambda of=program, until=until: of.process.poll() is not None or position() >= until, timeout=120
            )
            last = program.process.poll() is not None
            program.process.kill()
            program.process.wait()
            assert player.violations == []
        if last:
            assert program.process.returncode == 0, program.output()
            break
        script = resumed(position())
    client.close()
    assert number > 1, "it was never killed"
    assert wrong(cluster) == []


def test_a_value_in_pieces_survives_lost_connections(any_cluster: Cluster, start: Callable[..., Program]) -> None:
    """Pieces of a list are appended: sent twice they would be in it twice."""
    elements = [b"%d:" % i + b"x" * 100 for i in range(60_000)]
    script = Script((flow([entry(LIST, b"big", list_payload(elements))]),))
    with contextlib.ExitStack() as stack:
        player = stack.enter_context(Player(script))
        proxies = [stack.enter_context(Proxy(node.port, rate=1_500_000, delay=0.1)) for node in any_cluster.nodes]
        pairs = [f"127.0.0.1:{n.port}=127.0.0.1:{p.port}" for n, p in zip(any_cluster.nodes, proxies, strict=True)]
        maps = [word for pair in pairs for word in ("--cluster-map", pair)]
        program = start(copy_arguments(player.url, f"redis+cluster://127.0.0.1:{proxies[0].port}", *maps))
        for megabytes in (1, 2, 3):
            wait_until(lambda n=megabytes: sum(p.bytes_to_server for p in proxies) > n << 20)  # type: ignore[misc]
            for proxy in proxies:
                proxy.cut()
        assert program.wait(120) == 0, program.output()
    assert any_cluster.content()[0][b"big"].value == elements
    assert program.summary()["retries"] > 0
