"""The demo's target: one embedded server, or a cluster of three."""

from __future__ import annotations

import asyncio
from typing import Any

import redis.asyncio

from df2redis_tui.demo.embedded import EmbeddedValkey, free_node_port
from df2redis_tui.errors import ConfigError
from df2redis_tui.settings import Endpoint

_MASTERS = 3
_SLOTS = 16384


class EmbeddedTarget:
    """`servers` run until `end`; `endpoint` is how the engine finds them."""

    def __init__(self, servers: list[EmbeddedValkey], *, cluster: bool) -> None:
        self.servers = servers
        self.endpoint = Endpoint(tuple(("127.0.0.1", server.port) for server in servers), cluster=cluster)

    @classmethod
    async def start(cls, *, cluster: bool) -> EmbeddedTarget:
        if not cluster:
            return cls([await EmbeddedValkey.start()], cluster=False)
        starting = [EmbeddedValkey.start("--cluster-enabled", "yes", port=free_node_port()) for _ in range(_MASTERS)]
        results = await asyncio.gather(*starting, return_exceptions=True)
        target = cls([server for server in results if isinstance(server, EmbeddedValkey)], cluster=True)
        try:
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            await _join(target.servers)
        except BaseException:
            target.end()
            raise
        return target

    def end(self) -> None:
        for server in self.servers:
            server.end()


async def _join(servers: list[EmbeddedValkey]) -> None:
    """Give each server its third of the slots and wait until all of them know it."""
    clients: list[Any] = [redis.asyncio.Redis(port=server.port, protocol=2) for server in servers]
    try:
        for index, client in enumerate(clients):
            first, last = _SLOTS * index // _MASTERS, _SLOTS * (index + 1) // _MASTERS - 1
            await client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            if index:
                await client.execute_command("CLUSTER MEET", "127.0.0.1", servers[0].port)
        async with asyncio.timeout(30):
            for client in clients:
                while not await _formed(client):
                    await asyncio.sleep(0.05)
    except TimeoutError:
        raise ConfigError("the embedded cluster did not form within 30 s; is the machine overloaded?") from None
    finally:
        for client in clients:
            await client.aclose()


async def _formed(client: Any) -> bool:
    info: dict[str, str] = await client.execute_command("CLUSTER INFO")
    return (info.get("cluster_state"), info.get("cluster_known_nodes")) == ("ok", str(_MASTERS))
