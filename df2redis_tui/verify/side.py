"""One of the two servers of a comparison: pages of keys and pipelined reads, alike for one server and for a cluster."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import anyio
import redis.exceptions
from redis.asyncio.cluster import ClusterNode, RedisCluster

from df2redis_tui.answers import shown
from df2redis_tui.errors import TargetError, printable
from df2redis_tui.settings import Endpoint, Tls
from df2redis_tui.streams import DATA, PeerLost, RespConnection, encode, is_error, open_stream

Reply = object
Command = tuple[bytes | str | int, ...]

# Replies that the reader wants as the server sent them; redis-py would shape them by options it isn't given here.
_RAW: Final = (
    "GET", "LRANGE", "SMEMBERS", "HGETALL", "ZRANGE", "XRANGE", "JSON.GET", "TYPE", "PTTL", "EXISTS", "XPENDING",
    "HPTTL", "FIELDTTL", "STRLEN", "LLEN", "SCARD", "HLEN", "ZCARD", "XLEN", "XINFO",
)  # fmt: skip


# What redis-py, and who looks at values, may run into where a server answers with something of another kind.
ODD_ANSWERS: Final = (LookupError, ValueError, TypeError, AttributeError, RecursionError, MemoryError)

_ANSWER_WITHIN: Final = 60.0  # seconds; a group of big values takes its time


class Side:
    """A server or cluster by its endpoint, an async context manager; `name` says in messages which side it is."""

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        self.name = name
        self.endpoint = endpoint
        self._connections: dict[int, RespConnection] = {}  # of one server, by database
        self._cluster: Any = None
        self._commands: frozenset[str] = frozenset()

    async def __aenter__(self) -> Side:
        probes: dict[str, Command] = {"HPTTL": ("HPTTL", "", "FIELDS", 1, "f")}
        if not self.endpoint.cluster:  # the cluster client refuses commands which its server does not have
            probes["FIELDTTL"] = ("FIELDTTL", "", "f")
        replies = await self.read(self.endpoint.db, list(probes.values()))
        self._commands = frozenset(
            name for name, reply in zip(probes, replies, strict=True) if not isinstance(reply, Exception)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._connections.values():
            await connection.aclose()
        self._connections.clear()
        if self._cluster is not None:
            await self._cluster.aclose()

    def knows(self, command: str) -> bool:
        """Whether the server has HPTTL or FIELDTTL (they are probed at the start)."""
        return command in self._commands

    async def databases(self) -> list[int]:
        """Databases that hold keys."""
        if self.endpoint.cluster:
            return [0]
        info = (await self.read(self.endpoint.db, [("INFO", "keyspace")]))[0]
        if not isinstance(info, bytes):
            raise self.unreadable(f"INFO keyspace: {shown(info)}")
        return sorted(int(number) for number in re.findall(rb"^db(\d{1,9}):", info, re.MULTILINE))

    async def pages(self, db: int, size: int) -> AsyncIterator[list[bytes]]:
        """All keys of a database, about `size` at a time; SCAN may give a key twice."""
        if self.endpoint.cluster:
            async for keys in self._pages_of_cluster(size):
                yield keys
            return
        cursor = b"0"
        while True:
            reply = (await self.read(db, [("SCAN", cursor, "COUNT", size)]))[0]
            match reply:
                case [bytes(cursor), list(keys)]:
                    if keys:
                        yield list(dict.fromkeys(keys))
                case _:
                    raise self.unreadable(f"SCAN: {shown(reply)}")
            if cursor == b"0":
                break

    async def _pages_of_cluster(self, size: int) -> AsyncIterator[list[bytes]]:
        client = await self._cluster_client()
        for node in client.get_primaries():
            cursor = 0
            while True:
                try:
                    cursor, keys = await client.scan(cursor, count=size, target_nodes=node)
                    if isinstance(cursor, dict):
                        cursor = next(iter(cursor.values()))
                except (redis.exceptions.RedisError, OSError, *ODD_ANSWERS) as failure:
                    raise self.unreadable(f"SCAN: {failure}") from None
                if keys:
                    yield list(dict.fromkeys(keys))
                if cursor == 0:
                    break

    async def read(self, db: int, commands: Sequence[Command]) -> list[Reply]:
        """Replies in order; an error reply comes as its exception. Raises TargetError."""
        if not commands:
            return []
        try:
            if not self.endpoint.cluster:
                connection = self._connections.get(db) or await self._connect(db)
                wires = [encode(*command) for command in commands]
                return await connection.pipeline(wires, timeout=_ANSWER_WITHIN, most=DATA)
            pipeline = (await self._cluster_client()).pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Reply] = await pipeline.execute(raise_on_error=False)
        except (redis.exceptions.RedisError, PeerLost, OSError, *ODD_ANSWERS) as failure:
            raise self.unreadable(str(failure)) from None
        return replies

    async def _connect(self, db: int) -> RespConnection:
        host, port = self.endpoint.hosts[0]
        connection = RespConnection(await open_stream(host, port, self.endpoint.tls))
        try:
            for reply in (await connection.authenticate(self.endpoint), await connection.call("SELECT", db)):
                if is_error(reply):
                    raise self.unreadable(str(reply))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await connection.aclose()
            raise
        self._connections[db] = connection
        return connection

    async def _cluster_client(self) -> Any:
        if self._cluster is None:
            endpoint = self.endpoint
            self._cluster = RedisCluster(
                startup_nodes=[ClusterNode(host, port) for host, port in endpoint.hosts],
                username=endpoint.username,
                password=endpoint.password.reveal() if endpoint.password else None,
                protocol=2,
                socket_timeout=_ANSWER_WITHIN,
                **(_tls_options(endpoint.tls) if endpoint.tls else {}),
            )
            for command in _RAW:
                self._cluster.set_response_callback(command, lambda reply, **_: reply)
            await self._cluster.initialize()
        return self._cluster

    def unreadable(self, why: str) -> TargetError:
        text = printable(why.encode("utf-8", "backslashreplace"))
        return TargetError(f"comparing: the {self.name} {self.endpoint.label} could not be read: {text}")


def _tls_options(tls: Tls) -> dict[str, Any]:
    return {
        "ssl": True,
        "ssl_ca_certs": str(tls.ca) if tls.ca else None,
        "ssl_certfile": str(tls.cert) if tls.cert else None,
        "ssl_keyfile": str(tls.key) if tls.key else None,
        "ssl_cert_reqs": ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE,
        "ssl_check_hostname": tls.verify and tls.server_name is None,
    }
