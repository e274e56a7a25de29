"""The content of keys in a form that two servers can be compared by, whatever encodings they use inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from df2redis_tui.errors import printable
from df2redis_tui.verify.side import ODD_ANSWERS, Command, Reply, Side

_SIZES: Final = {
    b"string": "STRLEN", b"list": "LLEN", b"set": "SCARD", b"hash": "HLEN", b"zset": "ZCARD", b"stream": "XLEN",
}  # fmt: skip
_VALUES: Final[dict[bytes, tuple[tuple[str, ...], tuple[str | int, ...]]]] = {
    b"string": (("GET",), ()),
    b"list": (("LRANGE",), (0, -1)),
    b"set": (("SMEMBERS",), ()),
    b"hash": (("HGETALL",), ()),
    b"zset": (("ZRANGE",), (0, -1, "WITHSCORES")),
    b"stream": (("XRANGE",), ("-", "+")),
    b"ReJSON-RL": (("JSON.GET",), ("$",)),
}
_COUNTERS: Final = (b"last-generated-id", b"entries-added", b"max-deleted-entry-id")
_ELEMENT_BYTES: Final = 64  # rough weight of one element when reads are grouped
_GROUP_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """One key. `pttl`: -1 without TTL, -2 absent. `parts`: aspect → comparable value."""

    type: bytes
    pttl: int
    parts: Mapping[str, object] = field(default_factory=dict)
    field_pttl: Mapping[bytes, int] | None = None  # None: not asked for; fields without TTL are left out

    @property
    def exists(self) -> bool:
        return self.type != b"none"


def _number(reply: Reply) -> int:
    return reply if isinstance(reply, int) else -2


def _text(reply: Reply) -> bytes:
    return reply if isinstance(reply, bytes) else str(reply).encode()


async def read_contents(side: Side, db: int, keys: Sequence[bytes], *, field_ttls: bool) -> dict[bytes, Content]:
    """Content of all `keys`. Big values are read in small groups, so memory is bounded by the biggest one.

    Raises TargetError.
    """
    try:
        return await _read_contents(side, db, keys, field_ttls)
    except ODD_ANSWERS as odd:
        raise side.unreadable(f"an answer is of another kind than its command has ({odd})") from None


async def _read_contents(side: Side, db: int, keys: Sequence[bytes], field_ttls: bool) -> dict[bytes, Content]:
    heads = await side.read(db, [command for key in keys for command in (("TYPE", key), ("PTTL", key))])
    types = {key: _text(heads[2 * i]) for i, key in enumerate(keys)}
    ttls = {key: _number(heads[2 * i + 1]) for i, key in enumerate(keys)}
    sized = [key for key in keys if types[key] in _SIZES]
    sizes = dict(zip(sized, await side.read(db, [(_SIZES[types[k]], k) for k in sized]), strict=True))
    contents: dict[bytes, Content] = {}
    group: list[bytes] = []
    weight = 0
    for key in keys:
        size = _number(sizes.get(key, 1))
        weight += size if types[key] == b"string" else size * _ELEMENT_BYTES
        group.append(key)
        if weight > _GROUP_BYTES:
            contents |= await _read_group(side, db, group, types, ttls, field_ttls)
            group, weight = [], 0
    return contents | await _read_group(side, db, group, types, ttls, field_ttls)


async def _read_group(
    side: Side, db: int, keys: Sequence[bytes], types: dict[bytes, bytes], ttls: dict[bytes, int], field_ttls: bool
) -> dict[bytes, Content]:
    known = [key for key in keys if types[key] in _VALUES]
    commands: list[Command] = [(*_VALUES[types[key]][0], key, *_VALUES[types[key]][1]) for key in known]
    values = dict(zip(known, await side.read(db, commands), strict=True))
    parts: dict[bytes, dict[str, object]] = {key: {} for key in keys}
    for key, value in values.items():
        parts[key]["value"] = _canonical(types[key], value)
    streams = await _stream_parts(side, db, [key for key in keys if types[key] == b"stream"])
    for key, more in streams.items():
        parts[key] |= more
    hashes = [key for key in keys if types[key] == b"hash"] if field_ttls else []
    fields = {key: list(found) for key in hashes if isinstance(found := parts[key]["value"], dict) and found}
    expiries = await _field_ttls(side, db, fields)
    return {key: Content(types[key], ttls[key], parts[key], expiries.get(key)) for key in keys}


def _canonical(type_name: bytes, value: Reply) -> object:
    if isinstance(value, Exception) or value is None:
        return repr(value)
    if type_name == b"set":
        return frozenset(value) if isinstance(value, (list, set)) else value
    if type_name == b"zset" and isinstance(value, list):
        if value and isinstance(value[0], tuple):
            return {member: float(score) for member, score in value}
        return {member: float(score) for member, score in zip(value[::2], value[1::2], strict=True)}
    if type_name == b"hash" and isinstance(value, list):
        return dict(zip(value[::2], value[1::2], strict=True))
    if type_name == b"ReJSON-RL":
        text = value if isinstance(value, (bytes, str)) else json.dumps(value)
        return json.loads(text)
    return value


async def _stream_parts(side: Side, db: int, keys: Sequence[bytes]) -> dict[bytes, dict[str, object]]:
    """What streams hold besides their entries: counters, groups, consumers and what is pending."""
    about = await side.read(db, [c for key in keys for c in (("XINFO", "STREAM", key), ("XINFO", "GROUPS", key))])
    parts: dict[bytes, dict[str, object]] = {}
    groups: list[tuple[bytes, bytes, dict[bytes, Reply]]] = []
    for key, info, found in zip(keys, about[::2], about[1::2], strict=True):
        counters = _fields(info)
        parts[key] = {name.decode(): counters[name] for name in _COUNTERS if counters.get(name) is not None}
        parts[key]["groups"] = frozenset()
        if isinstance(found, list):
            groups += [(key, _text(group[b"name"]), group) for group in map(_fields, found)]
            parts[key]["groups"] = frozenset(name for owner, name, _ in groups if owner == key)
    commands: list[Command] = []
    for key, name, group in groups:
        most = max(1, _number(group[b"pending"]))
        commands += [("XINFO", "CONSUMERS", key, name), ("XPENDING", key, name, "-", "+", most)]
    members = await side.read(db, commands)
    for (key, name, group), consumers, pending in zip(groups, members[::2], members[1::2], strict=True):
        # Id, consumer and delivery count of what is pending; idle times are no content.
        parts[key][f"group {printable(name)}"] = (
            group[b"last-delivered-id"],
            frozenset(_text(_fields(c)[b"name"]) for c in consumers) if isinstance(consumers, list) else None,
            [(p[0], p[1], p[3]) for p in pending] if isinstance(pending, list) else repr(pending),
        )
        if b"entries-read" in group:
            parts[key][f"entries read by {printable(name)}"] = group[b"entries-read"]
    return parts


def _fields(reply: Reply) -> dict[bytes, Reply]:
    """A flat reply of names and values."""
    return dict(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else {}


async def _field_ttls(side: Side, db: int, fields: Mapping[bytes, list[bytes]]) -> dict[bytes, dict[bytes, int]]:
    """Milliseconds that fields have left, for hashes where the server can tell."""
    if side.knows("HPTTL"):
        replies = await side.read(db, [("HPTTL", key, "FIELDS", len(names), *names) for key, names in fields.items()])
        return {
            key: {name: left for name, left in zip(names, reply, strict=True) if isinstance(left, int) and left >= 0}
            for (key, names), reply in zip(fields.items(), replies, strict=True)
            if isinstance(reply, list)
        }
    if side.knows("FIELDTTL"):
        pairs = [(key, name) for key, names in fields.items() for name in names]
        replies = await side.read(db, [("FIELDTTL", key, name) for key, name in pairs])
        found: dict[bytes, dict[bytes, int]] = {key: {} for key in fields}
        for (key, name), left in zip(pairs, replies, strict=True):
            if isinstance(left, int) and left >= 0:
                found[key][name] = left * 1000
        return found
    return {}
