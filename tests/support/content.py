"""The whole content of a server in the shape of a recording's expectation, and what differs between two contents."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis

FIELD_TTL_TOLERANCE = 3  # seconds; the recordings know them to ±2 s
RELATIVE_TOLERANCE = 120  # seconds between the reading of a relative time in the recording and in the test
MARGIN = 3_000  # ms around now in which a key may or may not have expired
JSON_TYPES = ("ReJSON-RL", "rejson-rl")


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream's entries, counters and groups; counters a server does not have are absent."""

    entries: tuple[tuple[str, tuple[tuple[bytes, bytes], ...]], ...]
    info: Mapping[str, Any]
    groups: Mapping[bytes, tuple[str, frozenset[bytes], tuple[tuple[str, bytes, int], ...]]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key. `value`: bytes, list, frozenset, dict (hash), dict member → repr(score) (zset), `Stream`, or None."""

    type: str
    value: Any
    expires_at: int | None = None  # unix ms
    field_expires_at: Mapping[bytes, int] | None = None  # unix s


Content = dict[int, dict[bytes, Entry]]


class Difference(NamedTuple):
    """`aspect` is one of absent, unexpected, type, value, ids (of a stream, its fields are right), ttl, member ttl,
    counters, groups."""

    db: int
    key: bytes
    aspect: str
    text: str

    def __str__(self) -> str:
        return f"db {self.db} {self.key!r} {self.aspect}: {self.text}"


def expected_content(document: Mapping[str, Any]) -> Content:
    """`expected.json.gz` as it was loaded → Content."""
    return {
        int(db): {base64.b64decode(k): _expected_entry(e) for k, e in keys.items()} for db, keys in document.items()
    }


def _expected_entry(entry: Mapping[str, Any]) -> Entry:
    b, kind, raw = base64.b64decode, entry["type"], entry.get("value")
    value: Any
    if raw is None:
        value = None
    elif kind == "string" or kind in JSON_TYPES:
        value = b(raw)
    elif kind == "list":
        value = [b(e) for e in raw]
    elif kind == "set":
        value = frozenset(b(e) for e in raw)
    elif kind == "hash":
        value = {b(f): b(v) for f, v in raw.items()}
    elif kind == "zset":
        value = {b(m): s for m, s in raw}
    elif kind == "stream":
        value = Stream(
            tuple((i, tuple((b(f), b(v)) for f, v in fields)) for i, fields in raw),
            entry["info"],
            {
                b(g["name"]): (
                    g["last-delivered-id"],
                    frozenset(b(c) for c in g["consumers"]),
                    tuple((i, b(c), n) for i, c, n in g["pending"]),
                )
                for g in entry["groups"]
            },
        )
    else:
        raise ValueError(f"unknown type {kind} in the expectation")
    fields = entry.get("field_expires_at_s")
    return Entry(
        "json" if kind in JSON_TYPES else kind,
        value,
        entry.get("pexpireat"),
        {b(f): at for f, at in fields.items()} if fields else None,
    )


def read_content(client: redis.Redis, *, databases: int = 16, skip_prefix: bytes | None = None) -> Content:
    """Everything the server holds; keys beginning with `skip_prefix` are left out (the program's own bookkeeping)."""
    version = tuple(int(x) for x in _server_version(client).split(".")[:2])
    content: Content = {}
    for db in range(databases):
        connection = redis.Redis(connection_pool=_pool_for(client, db))
        keys = [k for k in connection.scan_iter(count=1000) if not (skip_prefix and k.startswith(skip_prefix))]
        if keys:
            content[db] = dict(_read_keys(connection, sorted(set(keys)), version))
        connection.connection_pool.disconnect()
    return content


def _server_version(client: redis.Redis) -> str:
    info = client.info("server")
    return str(info.get("valkey_version") or info["redis_version"])


def _pool_for(client: redis.Redis, db: int) -> redis.ConnectionPool:
    pool = client.connection_pool
    return redis.ConnectionPool(connection_class=pool.connection_class, **(pool.connection_kwargs | {"db": db}))


def _read_keys(client: redis.Redis, keys: list[bytes], version: tuple[int, ...]) -> Iterator[tuple[bytes, Entry]]:
    field_ttl = version >= (9, 0)
    for start in range(0, len(keys), 500):
        block = keys[start : start + 500]
        head = client.pipeline(transaction=False)
        for key in block:
            head.execute_command("TYPE", key)
            head.execute_command("PEXPIRETIME" if version >= (7, 0) else "PTTL", key)
        heads = head.execute()
        now = int(time.time() * 1000)
        body = client.pipeline(transaction=False)
        for key, kind in zip(block, heads[::2], strict=True):
            for command in _READ.get(kind.decode(), []):
                body.execute_command(command[0], key, *command[1:])
        replies = iter(body.execute())
        for key, kind_raw, expiry in zip(block, heads[::2], heads[1::2], strict=True):
            kind = kind_raw.decode()
            if kind == "none":
                continue
            raw = next(replies) if kind in _READ else None
            expires = None if expiry < 0 else expiry if version >= (7, 0) else now + expiry
            fields = _field_ttls(client, key, raw) if kind == "hash" and field_ttl and len(raw) <= 1000 else None
            yield key, Entry(kind, _value(client, kind, key, raw), expires, fields)


_READ: dict[str, list[tuple[str, ...]]] = {
    "string": [("GET",)],
    "list": [("LRANGE", "0", "-1")],
    "set": [("SMEMBERS",)],
    "hash": [("HGETALL",)],
    "zset": [("ZRANGE", "0", "-1", "WITHSCORES")],
    "stream": [("XRANGE", "-", "+")],
}


def _value(client: redis.Redis, kind: str, key: bytes, raw: Any) -> Any:
    match kind:
        case "string" | "list":
            return raw
        case "set":
            return frozenset(raw)
        case "hash":
            return raw if isinstance(raw, dict) else dict(zip(raw[::2], raw[1::2], strict=True))
        case "zset":
            pairs = raw if raw and isinstance(raw[0], tuple | list) else list(zip(raw[::2], raw[1::2], strict=True))
            return {m: repr(float(s)) for m, s in pairs}
        case "stream":
            return _stream(client, key, raw)
    return None


def _stream(client: redis.Redis, key: bytes, raw: Any) -> Stream:
    info = _pairs(_raw(client, "XINFO", "STREAM", key))
    counters: dict[str, Any] = {"length": info["length"], "last-generated-id": info["last-generated-id"].decode()}
    if "entries-added" in info:
        counters["entries-added"] = info["entries-added"]
        counters["max-deleted-entry-id"] = info["max-deleted-entry-id"].decode()
    groups = {}
    for group in map(_pairs, _raw(client, "XINFO", "GROUPS", key)):
        name = group["name"]
        consumers = frozenset(_pairs(c)["name"] for c in _raw(client, "XINFO", "CONSUMERS", key, name))
        pending = _raw(client, "XPENDING", key, name, "-", "+", "1000000") if group["pending"] else []
        groups[name] = (
            group["last-delivered-id"].decode(),
            consumers,
            tuple((p[0].decode(), p[1], p[3]) for p in pending),
        )
    entries = tuple(
        (i.decode(), tuple(zip(f[::2], f[1::2], strict=True)) if isinstance(f, list) else tuple((f or {}).items()))
        for i, f in _raw(client, "XRANGE", key, "-", "+")
    )
    return Stream(entries, counters, groups)


def _raw(client: redis.Redis, *command: Any) -> Any:
    """A command's reply before redis-py reshapes it."""
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command(*command)
        return connection.read_response()
    finally:
        client.connection_pool.release(connection)


def _pairs(flat: list[Any]) -> dict[str, Any]:
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}


def _field_ttls(client: redis.Redis, key: bytes, raw: Any) -> dict[bytes, int] | None:
    fields = list(raw) if isinstance(raw, dict) else raw[::2]
    if not fields:
        return None
    times = _raw(client, "HPEXPIRETIME", key, "FIELDS", len(fields), *fields)
    return {f: t // 1000 for f, t in zip(fields, times, strict=True) if t >= 0} or None


@dataclass(frozen=True, slots=True)
class Can:
    """What a target's values can hold at all."""

    field_ttl: bool  # of hashes
    stream_counters: bool  # entries-added, max-deleted-entry-id

    @classmethod
    def of(cls, kind: str) -> Can:
        return cls(field_ttl=kind == "valkey-9", stream_counters=kind != "redis-6.2")


def differences(
    expected: Content,
    actual: Content,
    can: Can,
    *,
    now_ms: int | None = None,
    expiry_known_to: int = 0,
    relative: frozenset[tuple[int, bytes]] = frozenset(),
) -> list[Difference]:
    """What `actual` has otherwise than `expected`, per key and aspect.

    A key whose expiry has passed must be absent, whatever `expected` says; members that have expired are left out.
    `expiry_known_to`: ms by which `expected` may be wrong about an expiry. `relative`: (db, key) whose expiries count
    from when they were read. HyperLogLogs are equal when their registers are: servers choose freely between the sparse
    and the dense form.
    """
    now = int(time.time() * 1000) if now_ms is None else now_ms
    found: list[Difference] = []
    for db in sorted({*expected, *actual}):
        want, have = expected.get(db, {}), actual.get(db, {})
        for key in sorted({*want, *have}):
            tolerance = RELATIVE_TOLERANCE if (db, key) in relative else 0
            found += [
                Difference(db, key, *d)
                for d in _compare(
                    want.get(key),
                    have.get(key),
                    can,
                    now,
                    max(expiry_known_to, tolerance * 1000),
                    max(FIELD_TTL_TOLERANCE, tolerance),
                )
            ]
    return found


def _compare(
    want: Entry | None, have: Entry | None, can: Can, now: int, expiry_known_to: int, field_tolerance: int
) -> Iterator[tuple[str, str]]:
    if want is not None and want.expires_at is not None and want.expires_at <= now + MARGIN:
        if have is not None and want.expires_at < now - MARGIN:
            yield "unexpected", f"it expired {(now - want.expires_at) / 1000:.0f} s ago"
        return
    if want is None:
        yield "unexpected", f"a {have.type} nobody wrote" if have else ""
        return
    gone = {f for f, at in (want.field_expires_at or {}).items() if at * 1000 <= now + MARGIN}
    wanted = _without(want.value, gone)
    if have is None:
        if wanted or not gone:
            yield "absent", f"a {want.type} is expected"
        return
    if have.type != want.type:
        yield "type", f"{have.type}, expected {want.type}"
        return
    if isinstance(want.value, Stream):
        yield from _compare_streams(want.value, have.value, can)
    elif wanted != _without(have.value, gone) and not _same_registers(wanted, have.value):
        yield "value", describe(wanted, _without(have.value, gone))
    # Servers before 7.0 tell the rest of the time only, measured a little later.
    slack = expiry_known_to + (0 if can.stream_counters else 2_000)
    if (want.expires_at is None) != (have.expires_at is None) or (
        want.expires_at is not None and have.expires_at is not None and abs(want.expires_at - have.expires_at) > slack
    ):
        yield "ttl", f"expires at {have.expires_at}, expected {want.expires_at}"
    want_fields = {f: at for f, at in (want.field_expires_at or {}).items() if f not in gone}
    have_fields = {f: at for f, at in (have.field_expires_at or {}).items() if f not in gone}
    if want_fields.keys() != have_fields.keys() or any(
        abs(want_fields[f] - have_fields[f]) > field_tolerance for f in want_fields
    ):
        yield "member ttl", f"{have_fields}, expected {want_fields}"


HLL_HEADER, HLL_REGISTERS = 16, 16384


def _same_registers(want: Any, have: Any) -> bool:
    return (
        isinstance(want, bytes)
        and isinstance(have, bytes)
        and want[:4] == have[:4] == b"HYLL"
        and hll_registers(want) == hll_registers(have)
    )


def hll_registers(value: bytes) -> bytes:
    """One byte per register of a HyperLogLog in either form (Redis, hyperloglog.c)."""
    body = value[HLL_HEADER:]
    if value[4] == 0:  # dense: 6 bits each, least significant first
        bits = int.from_bytes(body, "little")
        return bytes(bits >> 6 * i & 63 for i in range(HLL_REGISTERS))
    registers, at = bytearray(), 0
    while at < len(body):
        byte = body[at]
        if byte & 0x80:  # VAL 1vvvvvxx
            registers += bytes(((byte >> 2 & 31) + 1,)) * ((byte & 3) + 1)
        elif byte & 0x40:  # XZERO 01xxxxxx yyyyyyyy
            at += 1
            registers += bytes(((byte & 63) << 8 | body[at]) + 1)
        else:  # ZERO 00xxxxxx
            registers += bytes((byte & 63) + 1)
        at += 1
    return bytes(registers)


def _without(value: Any, members: set[bytes]) -> Any:
    if not members:
        return value
    if isinstance(value, dict):
        return {f: v for f, v in value.items() if f not in members}
    return frozenset(value) - members if isinstance(value, frozenset) else value


def _compare_streams(want: Stream, have: Stream, can: Can) -> Iterator[tuple[str, str]]:
    if want.entries != have.entries:
        same_fields = [fields for _, fields in want.entries] == [fields for _, fields in have.entries]
        yield "ids" if same_fields else "value", describe(list(want.entries), list(have.entries))
    known = [c for c in want.info if can.stream_counters or c in ("length", "last-generated-id")]
    wrong = {c: (have.info.get(c), want.info[c]) for c in known if have.info.get(c) != want.info[c]}
    if wrong:
        yield (
            "ids" if wrong.keys() <= {"last-generated-id", "max-deleted-entry-id"} else "counters",
            ", ".join(f"{c} is {h}, expected {w}" for c, (h, w) in wrong.items()),
        )
    if want.groups != have.groups:
        names = {*want.groups, *have.groups}
        yield (
            "groups",
            "; ".join(
                f"{n!r} is {have.groups.get(n)}, expected {want.groups.get(n)}"
                for n in sorted(names)
                if want.groups.get(n) != have.groups.get(n)
            )[:600],
        )


def describe(want: Any, have: Any) -> str:
    """Where two values part, in a line."""
    if isinstance(want, dict) and isinstance(have, dict):
        missing, extra = sorted(want.keys() - have.keys()), sorted(have.keys() - want.keys())
        other = [(k, have[k], want[k]) for k in sorted(want.keys() & have.keys()) if want[k] != have[k]]
        return (
            f"{len(missing)} missing {missing[:3]}, {len(extra)} too many {extra[:3]}, {len(other)} other {other[:3]}"[
                :500
            ]
        )
    if isinstance(want, frozenset) and isinstance(have, frozenset):
        return f"missing {sorted(want - have)[:5]}, too many {sorted(have - want)[:5]}"[:500]
    if isinstance(want, list) and isinstance(have, list):
        at = next((i for i, (w, h) in enumerate(zip(want, have, strict=False)) if w != h), min(len(want), len(have)))
        parting = f"from {at}: {have[at : at + 2]!r}, expected {want[at : at + 2]!r}"
        return f"{len(have)} elements, expected {len(want)}; {parting}"[:500]
    if isinstance(want, bytes) and isinstance(have, bytes):
        at = next((i for i, (w, h) in enumerate(zip(want, have, strict=False)) if w != h), min(len(want), len(have)))
        parting = f"from {at}: {have[at : at + 16]!r}, expected {want[at : at + 16]!r}"
        return f"{len(have)} bytes, expected {len(want)}; {parting}"
    return f"{have!r}, expected {want!r}"[:500]


def report(found: Iterable[Difference], limit: int = 40) -> str:
    """Differences as lines, cut to `limit`."""
    lines = [str(d) for d in found]
    more = [f"... and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join(lines[:limit] + more)
