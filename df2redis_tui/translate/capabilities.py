"""What a target can do, from its version and what it says of its commands (protocol page §3.6, §4.7)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from df2redis_tui.dragonfly import records

BULK_LIMIT: Final = 512 * 1024**2  # a server's proto-max-bulk-len unless it is configured otherwise
OLDEST: Final = (6, 2, 0)  # PXAT, GETDEL, LPOP with a count, MINID, CREATECONSUMER

_ALWAYS: Final = frozenset({
    records.STRING, records.SET, records.HASH, records.ZSET2, records.INTSET,
    records.ZSET_ZIPLIST, records.HASH_ZIPLIST, records.LIST_QUICKLIST, records.STREAM1,
})  # fmt: skip
_SINCE_7_0: Final = frozenset({records.HASH_LISTPACK, records.ZSET_LISTPACK, records.LIST_QUICKLIST2})
_SINCE_7_2: Final = frozenset({records.STREAM3})
# What a Dragonfly journals of the JSON family. A target has all, some (JSON.MERGE is young) or none, a Redis 8 too.
JSON_WRITES: Final = (
    b"JSON.SET", b"JSON.MERGE", b"JSON.DEL", b"JSON.FORGET", b"JSON.CLEAR", b"JSON.TOGGLE", b"JSON.NUMINCRBY",
    b"JSON.NUMMULTBY", b"JSON.STRAPPEND", b"JSON.ARRAPPEND", b"JSON.ARRINSERT", b"JSON.ARRPOP", b"JSON.ARRTRIM",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Facts about one target; for a cluster the lowest of all nodes.

    `rdb_types` are Dragonfly's type numbers whose payload RESTORE takes as it is (20 never: Dragonfly means JSON).
    """

    product: str  # "redis" or "valkey"
    version: tuple[int, int, int]
    cluster: bool
    rdb_types: frozenset[int]
    json_commands: frozenset[bytes]  # those of JSON_WRITES that it has
    field_ttl: bool  # HPEXPIREAT: Redis >= 7.4, Valkey >= 9
    hash_ttl_type: bool  # RESTORE takes Valkey's type 22 (hash with field TTLs)
    hsetex: bool  # HSETEX in Redis' form: Redis >= 8.0, Valkey >= 9
    bulk_limit: int = BULK_LIMIT  # bytes of the largest argument, and of the largest string (proto-max-bulk-len)
    commands: Mapping[bytes, str] = field(default_factory=dict, hash=False)  # `data_commands.judged`, {} = not told

    @property
    def json(self) -> bool:
        """Whether it can hold JSON values."""
        return b"JSON.SET" in self.json_commands

    @property
    def entries_read(self) -> bool:
        """XGROUP ... ENTRIESREAD, XSETID ... ENTRIESADDED, ZMPOP/LMPOP: Redis >= 7.0 and every Valkey."""
        return self.version >= (7, 0, 0)

    @property
    def conditional_expire(self) -> bool:
        """PEXPIREAT key ms NX|XX|GT|LT: Redis >= 7.0 and every Valkey."""
        return self.version >= (7, 0, 0)


def capabilities_of(info_server: Mapping[str, str], json_commands: Collection[bytes], cluster: bool) -> Capabilities:
    """Capabilities of one node from the fields of `INFO server` and those of JSON_WRITES that it knows."""
    valkey = "valkey_version" in info_server or info_server.get("server_name", "").lower() == "valkey"
    version = _version(info_server.get("valkey_version") or info_server.get("redis_version", ""))
    types = _ALWAYS
    if valkey or version >= (7, 0, 0):
        types |= _SINCE_7_0
    if valkey or version >= (7, 2, 0):
        types |= _SINCE_7_2
    return Capabilities(
        product="valkey" if valkey else "redis",
        version=version,
        cluster=cluster,
        rdb_types=types,
        json_commands=frozenset(json_commands),
        field_ttl=version >= ((9, 0, 0) if valkey else (7, 4, 0)),
        hash_ttl_type=valkey and version >= (9, 0, 0),
        hsetex=version >= ((9, 0, 0) if valkey else (8, 0, 0)),
    )


def lowest(nodes: Sequence[Capabilities]) -> Capabilities:
    """What every node of a cluster can do. ValueError when `nodes` is empty."""
    if not nodes:
        raise ValueError("no nodes")
    least = min(nodes, key=lambda caps: caps.version)
    types, json_commands = least.rdb_types, least.json_commands
    for caps in nodes:
        types &= caps.rdb_types
        json_commands &= caps.json_commands
    return Capabilities(
        product=least.product,
        version=least.version,
        cluster=any(caps.cluster for caps in nodes),
        rdb_types=types,
        json_commands=json_commands,
        field_ttl=all(caps.field_ttl for caps in nodes),
        hash_ttl_type=all(caps.hash_ttl_type for caps in nodes),
        hsetex=all(caps.hsetex for caps in nodes),
        bulk_limit=min(caps.bulk_limit for caps in nodes),
        commands=_common([caps.commands for caps in nodes]),
    )


def _common(told: Sequence[Mapping[bytes, str]]) -> dict[bytes, str]:
    """What all nodes know; one that speaks against a command is enough."""
    names = set(told[0]).intersection(*told[1:])
    return {name: next((of[name] for of in told if of[name]), "") for name in names}


def unsupported(caps: Capabilities) -> str | None:
    """Why this target can't be used at all, as a sentence for the operator; None when it can."""
    if caps.version >= OLDEST:
        return None
    found = ".".join(map(str, caps.version))
    return f"the target is {caps.product} {found}, which lacks commands the copy needs; use 6.2 or newer"


def _version(text: str) -> tuple[int, int, int]:
    numbers = [int(part) for part in re.findall(r"\d{1,9}", text)[:3]]
    numbers += [0] * (3 - len(numbers))
    return numbers[0], numbers[1], numbers[2]
