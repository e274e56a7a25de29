"""Who owns which slot: CLUSTER SLOTS of any node, with the addresses by which nodes are reached from here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from df2redis_tui.errors import TargetError, TargetLost
from df2redis_tui.settings import Endpoint
from df2redis_tui.target.connection import Address, ask, name_of, open_target, parse_info
from df2redis_tui.translate.keys import SLOTS

_HOST: Final = re.compile(rb"[0-9A-Za-z_.:%\[\]-]{1,255}")  # a name, or an address of either kind


class AddressMap:
    """Announced address → reachable address (`--cluster-map`); what is not in it is reached as announced."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = {address_of(announced): address_of(reachable) for announced, reachable in pairs}

    def reach(self, announced: Address) -> Address:
        return self._pairs.get(announced, announced)


def address_of(text: str) -> Address:
    """`host:port` or `[IPv6]:port` of a validated setting."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class Topology:
    """`nodes` are the masters' names (reachable host:port). `index[slot]` is a position in `nodes`, `len(nodes)` for a
    slot nobody owns, so that grouping needs no test per command."""

    nodes: tuple[str, ...]
    addresses: dict[str, Address]
    index: tuple[int, ...]

    def owner(self, slot: int) -> str | None:
        at = self.index[slot]
        return self.nodes[at] if at < len(self.nodes) else None

    def slots_of(self, node: str) -> int:
        return self.index.count(self.nodes.index(node)) if node in self.nodes else 0

    @property
    def uncovered(self) -> list[tuple[int, int]]:
        """Ranges of slots without an owner, inclusive."""
        ranges: list[tuple[int, int]] = []
        for slot, at in enumerate(self.index):
            if at == len(self.nodes):
                if ranges and ranges[-1][1] == slot - 1:
                    ranges[-1] = (ranges[-1][0], slot)
                else:
                    ranges.append((slot, slot))
        return ranges


def parse_slots(rows: list[object], asked: Address, reach: AddressMap) -> Topology:
    """CLUSTER SLOTS: `[first, last, [host, port, id, ...], replicas...]` per range. Unusable rows are left out: their
    slots then have no owner. A host that is empty, nil or `?` is the one that was asked."""
    owners: list[str | None] = [None] * SLOTS
    addresses: dict[str, Address] = {}
    for row in rows:
        match row:
            case [int(first), int(last), [host, int(port), *_], *_] if 0 <= first <= last < SLOTS and 0 < port < 65536:
                announced = _host(host, asked)
            case _:
                continue
        if not announced:
            continue
        address = reach.reach((announced, port))
        name = name_of(address)
        addresses[name] = address
        for slot in range(first, last + 1):
            owners[slot] = name
    nodes = tuple(addresses)
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(nodes)}
    return Topology(nodes, addresses, tuple(numbers.get(owner, len(nodes)) for owner in owners))


def _host(said: object, asked: Address) -> str:
    """The name or address a node is reached by, "" where that can be none."""
    if said in (None, b"", b"?"):
        return asked[0]
    return said.decode().strip("[]") if isinstance(said, bytes) and _HOST.fullmatch(said) else ""


async def ask_topology(endpoint: Endpoint, address: Address, reach: AddressMap) -> Topology:
    """What this server knows of its cluster. Raises TargetLost, TargetError."""
    name = name_of(address)
    connection = await open_target(endpoint, address)
    try:
        answer = await ask(connection, name, "CLUSTER", "SLOTS")
    finally:
        await connection.aclose()
    if text := answer.refusal:
        if "cluster support disabled" in text or "unknown command" in text:
            scheme = "rediss" if endpoint.tls else "redis"
            raise TargetError(f"target {name} is not a cluster: use {scheme}://{name}")
        if text.startswith(("LOADING", "BUSY")):
            raise TargetLost(f"target {name}: {text}")
    return parse_slots(answer.array(), address, reach)


async def ask_any(endpoint: Endpoint, addresses: Sequence[Address], reach: AddressMap) -> tuple[Address, Topology]:
    """The first answer of these servers, and whose it is. TargetLost when none can be asked."""
    problems: list[str] = []
    for address in addresses:
        try:
            return address, await ask_topology(endpoint, address, reach)
        except TargetLost as lost:
            problems.append(str(lost).removeprefix("target "))
    which = "the seed can't be asked" if len(problems) == 1 else "none of the seeds can be asked"
    raise TargetLost(f"target cluster: {which} ({'; '.join(problems)})")


async def check_healthy(endpoint: Endpoint, asked: Address, topology: Topology) -> None:
    """TargetError when slots have no owner or the cluster says it is down."""
    name = name_of(asked)
    missing = topology.uncovered
    if missing:
        count = sum(last - first + 1 for first, last in missing)
        ranges = ", ".join(f"{a}-{b}" if a != b else f"{a}" for a, b in missing[:4])
        more = ", …" if len(missing) > 4 else ""
        raise TargetError(
            f"target cluster {name}: {count:,} of {SLOTS:,} slots have no owner ({ranges}{more}): "
            "assign them (`--cluster fix` of redis-cli) and run again"
        )
    connection = await open_target(endpoint, asked)
    try:
        answer = await ask(connection, name, "CLUSTER", "INFO")
    finally:
        await connection.aclose()
    state = parse_info(answer.text()).get("cluster_state", "ok")
    if state != "ok":
        raise TargetError(
            f"target cluster {name} is down (cluster_state:{state}): it takes no writes until it says ok, "
            "look at its CLUSTER NODES"
        )
