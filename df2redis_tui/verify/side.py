"""One of the two servers of a comparison: pages of keys and pipelined reads, alike for one server and for a cluster."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import redis.asyncio
import redis.exceptions
from redis.asyncio.cluster import ClusterNode

from df2redis_tui.errors import TargetError, printable
from df2redis_tui.settings import Endpoint, Tls

Reply = object
Command = tuple[bytes | str | int, ...]

# Replies that the reader wants as the server sent them; redis-py would shape them by options it isn't given here.
_RAW: Final = (
    "GET", "LRANGE", "SMEMBERS", "HGETALL", "ZRANGE", "XRANGE", "JSON.GET", "TYPE", "PTTL", "EXISTS", "XPENDING",
    "HPTTL", "FIELDTTL", "STRLEN", "LLEN", "SCARD", "HLEN", "ZCARD", "XLEN", "XINFO",
)  # fmt: skip


class Side:
    """A server or cluster by its endpoint, an async context manager; `name` says in messages which side it is."""

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        self.name = name
        self.endpoint = endpoint
        self._clients: dict[int, Any] = {}
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
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def knows(self, command: str) -> bool:
        """Whether the server has HPTTL or FIELDTTL (they are probed at the start)."""
        return command in self._commands

    def _client(self, db: int) -> Any:
        if db not in self._clients:
            client = self._clients[db] = self._connect(db)
            for command in _RAW:
                client.set_response_callback(command, lambda reply, **_: reply)
        return self._clients[db]

    def _connect(self, db: int) -> Any:
        endpoint = self.endpoint
        options: dict[str, Any] = {
            "username": endpoint.username,
            "password": endpoint.password.reveal() if endpoint.password else None,
            "protocol": 2,
            "socket_timeout": 60,
            **(_tls_options(endpoint.tls) if endpoint.tls else {}),
        }
        if endpoint.cluster:
            return redis.asyncio.RedisCluster(startup_nodes=[ClusterNode(h, p) for h, p in endpoint.hosts], **options)
        host, port = endpoint.hosts[0]
        return redis.asyncio.Redis(host=host, port=port, db=db, **options)

    async def databases(self) -> list[int]:
        """Databases that hold keys."""
        if self.endpoint.cluster:
            return [0]
        info = await self._client(self.endpoint.db).info("keyspace")
        return sorted(int(name[2:]) for name in info if name.startswith("db"))

    async def pages(self, db: int, size: int) -> AsyncIterator[list[bytes]]:
        """All keys of a database, about `size` at a time; SCAN may give a key twice."""
        client = self._client(db)
        nodes: Sequence[Any] = (None,)
        if self.endpoint.cluster:
            await client.initialize()
            nodes = client.get_primaries()
        for node in nodes:
            cursor = 0
            while True:
                options = {} if node is None else {"target_nodes": node}
                reply = await client.scan(cursor, count=size, **options)
                if isinstance(reply, dict):
                    reply = next(iter(reply.values()))
                cursor, keys = reply
                if isinstance(cursor, dict):
                    cursor = next(iter(cursor.values()))
                if keys:
                    yield list(dict.fromkeys(keys))
                if cursor == 0:
                    break

    async def read(self, db: int, commands: Sequence[Command]) -> list[Reply]:
        """Replies in order; an error reply comes as its exception."""
        if not commands:
            return []
        try:
            pipeline = self._client(db).pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Reply] = await pipeline.execute(raise_on_error=False)
        except (redis.exceptions.RedisError, OSError) as failure:
            text = printable(str(failure).encode())
            raise TargetError(f"comparing: the {self.name} {self.endpoint.label} could not be read: {text}") from None
        return replies


def _tls_options(tls: Tls) -> dict[str, Any]:
    return {
        "ssl": True,
        "ssl_ca_certs": str(tls.ca) if tls.ca else None,
        "ssl_certfile": str(tls.cert) if tls.cert else None,
        "ssl_keyfile": str(tls.key) if tls.key else None,
        "ssl_cert_reqs": ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE,
        "ssl_check_hostname": tls.verify and tls.server_name is None,
    }
