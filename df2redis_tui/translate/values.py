"""Whole values → commands that put exactly this value at a key, whatever it held before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, cast

from df2redis_tui.dragonfly import records
from df2redis_tui.dragonfly.rdb.values import decode_elements
from df2redis_tui.translate import streams
from df2redis_tui.translate.capabilities import Capabilities
from df2redis_tui.translate.payload import (
    LIST_PLAIN,
    VALKEY_HASH_TTL,
    encode_strings,
    encode_valkey_hash,
    encode_zset,
    is_empty,
    payload,
    string_value,
)  # fmt: skip
from df2redis_tui.translate.resp import command, restore_command, set_command

MemberTtl = Literal["fail", "drop"]

SKETCHES: Final = frozenset({records.BLOOM, records.BLOOM2, records.CMS, records.TOPK, records.CUCKOO})
JSON_TYPES: Final = frozenset({records.JSON, records.JSON_OLD})
NO_JSON: Final = "the target has no JSON module"
NO_SKETCH: Final = "sketches have no exact equivalent: bit layout and hashes differ"
NO_FIELD_TTL: Final = "the target has no TTL for hash fields"
NO_MEMBER_TTL: Final = "Redis and Valkey have no TTL for set members"


class Unrepresentable(Exception):
    """This value has no equivalent on the target. Always caught inside this package and turned into a refusal."""

    def __init__(self, kind: str, reason: str) -> None:
        self.kind = kind
        self.reason = reason
        super().__init__(reason)


def refuse_type(rdb_type: int, caps: Capabilities) -> None:
    """Raise Unrepresentable when the type alone says that the value can't be copied."""
    kind = records.KIND.get(rdb_type, f"type {rdb_type}")
    if rdb_type in SKETCHES:
        raise Unrepresentable(kind, NO_SKETCH)
    if rdb_type in JSON_TYPES and not caps.json:
        raise Unrepresentable(kind, NO_JSON)
    if rdb_type not in records.KIND:
        raise Unrepresentable(kind, f"value type {rdb_type} is unknown to this program")


class ValueWriter:
    """Commands for whole values on one target."""

    def __init__(self, caps: Capabilities, member_ttl: MemberTtl) -> None:
        self.caps = caps
        self.member_ttl: MemberTtl = member_ttl
        self._as_is = caps.rdb_types - {records.STRING}

    def commands(self, key: bytes, rdb_type: int, raw: bytes, expire_ms: int) -> list[bytes]:
        """Commands in order; the first replaces the key. `expire_ms` is absolute, 0 none.

        Raises Unrepresentable before anything is decided for the key, DecodeError on a malformed value.
        """
        if is_empty(rdb_type, raw):
            return [command(b"DEL", key)]
        if rdb_type in self._as_is:
            return [self._restore(key, rdb_type, raw, expire_ms)]
        if rdb_type == records.STRING:
            return [set_command(key, string_value(raw), expire_ms)]
        refuse_type(rdb_type, self.caps)
        if rdb_type in JSON_TYPES:
            return self._json(key, string_value(raw), expire_ms)
        if rdb_type == records.STREAM3:
            return [self._restore(key, *streams.reencode(rdb_type, raw, self.caps), expire_ms)]
        elements = decode_elements(rdb_type, raw)
        if rdb_type == records.HASH_TTL:
            return self._hash_ttl(key, cast("list[bytes | int]", elements), expire_ms)
        if rdb_type == records.SET_TTL:
            return [self._set_ttl(key, cast("list[bytes | int]", elements), expire_ms)]
        return [self._restore(key, *_widen(rdb_type, cast("list[bytes]", elements)), expire_ms)]

    def _restore(self, key: bytes, rdb_type: int, raw: bytes, expire_ms: int) -> bytes:
        return restore_command(key, payload(rdb_type, raw), expire_ms)

    def _json(self, key: bytes, text: bytes, expire_ms: int) -> list[bytes]:
        out = [command(b"DEL", key), command(b"JSON.SET", key, b"$", text)]
        if expire_ms:
            out.append(command(b"PEXPIREAT", key, b"%d" % expire_ms))
        return out

    def _hash_ttl(self, key: bytes, flat: list[bytes | int], expire_ms: int) -> list[bytes]:
        expiring = any(flat[2::3])
        if expiring and self.caps.hash_ttl_type:
            return [self._restore(key, VALKEY_HASH_TTL, encode_valkey_hash(flat), expire_ms)]
        if expiring and not self.caps.field_ttl and self.member_ttl == "fail":
            raise Unrepresentable("hash", NO_FIELD_TTL)
        pairs = [cast("bytes", part) for i, part in enumerate(flat) if i % 3 != 2]
        out = [self._restore(key, records.HASH, encode_strings(pairs, 2), expire_ms)]
        if expiring and self.caps.field_ttl:
            out += field_expiry_commands(key, flat)
        return out

    def _set_ttl(self, key: bytes, flat: list[bytes | int], expire_ms: int) -> bytes:
        if any(flat[1::2]) and self.member_ttl == "fail":
            raise Unrepresentable("set", NO_MEMBER_TTL)
        members = [cast("bytes", member) for member in flat[::2]]
        return self._restore(key, records.SET, encode_strings(members), expire_ms)


def field_expiry_commands(key: bytes, flat: list[bytes | int]) -> Iterator[bytes]:
    """HPEXPIREAT per distinct time of [field, value, expire_ms, ...]."""
    by_time: dict[int, list[bytes]] = {}
    for i in range(0, len(flat), 3):
        expire_ms = cast("int", flat[i + 2])
        if expire_ms:
            by_time.setdefault(expire_ms, []).append(cast("bytes", flat[i]))
    for expire_ms, fields in by_time.items():
        yield command(b"HPEXPIREAT", key, b"%d" % expire_ms, b"FIELDS", b"%d" % len(fields), *fields)


def _widen(rdb_type: int, elements: list[bytes]) -> tuple[int, bytes]:
    """A packed encoding as the plain one that every version loads."""
    kind = records.KIND[rdb_type]
    if kind == "zset":
        return records.ZSET2, encode_zset(elements)
    if kind == "hash":
        return records.HASH, encode_strings(elements, 2)
    if kind == "list":
        return LIST_PLAIN, encode_strings(elements)
    return records.SET, encode_strings(elements)
