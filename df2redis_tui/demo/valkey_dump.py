"""DUMP payloads of the embedded Valkey as Dragonfly would write the value (types and pieces, protocol page §3.4).

Valkey is told not to compress (`rdbcompression no`), so no LZF strings occur here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import anycrc

from df2redis_tui.demo.encode_rdb import encode_hash_ttl, encode_set, length
from df2redis_tui.dragonfly.records import (
    HASH,
    HASH_LISTPACK,
    HASH_TTL,
    LIST_QUICKLIST2,
    SET,
    SET_TTL,
    STREAM3,
    ZSET2,
    ZSET_LISTPACK,
)

_VALKEY_SET_LISTPACK: Final = 20
_VALKEY_HASH_TTL: Final = 22
_FOOTER: Final = 10  # u16le version, u64le CRC
_crc64 = anycrc.Model("CRC64-REDIS")


class Cursor:
    """Walks trusted RDB bytes (our own server's)."""

    __slots__ = ("at", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0

    def length(self) -> int:
        first = self.raw[self.at]
        if first < 0x40:
            self.at += 1
            return first
        if first < 0x80:
            self.at += 2
            return int.from_bytes(self.raw[self.at - 2 : self.at], "big") & 0x3FFF
        width = 4 if first == 0x80 else 8
        self.at += 1 + width
        return int.from_bytes(self.raw[self.at - width : self.at], "big")

    def string(self) -> bytes:
        first = self.raw[self.at]
        if first >= 0xC0:
            width = 1 << (first & 0x3F)
            self.at += 1 + width
            return b"%d" % int.from_bytes(self.raw[self.at - width : self.at], "little", signed=True)
        size = self.length()
        self.at += size
        return self.raw[self.at - size : self.at]

    def skip_string(self) -> None:
        first = self.raw[self.at]
        if first >= 0xC0:
            self.at += 1 + (1 << (first & 0x3F))
        else:
            size = self.length()
            self.at += size

    def i64(self) -> int:
        self.at += 8
        return int.from_bytes(self.raw[self.at - 8 : self.at], "little", signed=True)


def listpack_items(pack: bytes) -> list[bytes]:
    """The entries of a listpack as text."""
    items: list[bytes] = []
    at = 6
    while (first := pack[at]) != 0xFF:
        start = at
        if first < 0x80:
            items.append(b"%d" % first)
            at += 1
        elif first < 0xC0:
            size = first & 0x3F
            items.append(pack[at + 1 : at + 1 + size])
            at += 1 + size
        elif first < 0xE0:
            number = (first & 0x1F) << 8 | pack[at + 1]
            items.append(b"%d" % (number - 0x2000 if number >= 0x1000 else number))
            at += 2
        elif first < 0xF0:
            size = (first & 0x0F) << 8 | pack[at + 1]
            items.append(pack[at + 2 : at + 2 + size])
            at += 2 + size
        elif first == 0xF0:
            size = int.from_bytes(pack[at + 1 : at + 5], "little")
            items.append(pack[at + 5 : at + 5 + size])
            at += 5 + size
        else:
            width = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}[first]
            items.append(b"%d" % int.from_bytes(pack[at + 1 : at + 1 + width], "little", signed=True))
            at += 1 + width
        size = at - start
        at += 1 if size <= 127 else 2 if size < 16383 else 3 if size < 2097151 else 4 if size < 268435455 else 5
    return items


def from_dump(payload: bytes, *, listpacks: bool = True) -> tuple[int, bytes]:
    """A DUMP payload as (Dragonfly type, value bytes). `listpacks` False: hashes and sorted sets as types 4 and 5."""
    type_code = payload[0]
    raw = payload[1:-_FOOTER]
    if type_code == _VALKEY_SET_LISTPACK:
        return SET, encode_set(listpack_items(Cursor(raw).string()))
    if type_code == _VALKEY_HASH_TTL:
        cursor = Cursor(raw)
        fields = [(cursor.string(), cursor.string(), max(0, cursor.i64())) for _ in range(cursor.length())]
        return HASH_TTL, encode_hash_ttl(fields)
    if not listpacks and type_code == HASH_LISTPACK:
        items = listpack_items(Cursor(raw).string())
        return HASH, length(len(items) // 2) + b"".join(length(len(i)) + i for i in items)
    if not listpacks and type_code == ZSET_LISTPACK:
        items = listpack_items(Cursor(raw).string())
        pairs = [length(len(m)) + m + struct.pack("<d", float(s)) for m, s in zip(items[::2], items[1::2], strict=True)]
        return ZSET2, length(len(pairs)) + b"".join(pairs)
    return type_code, raw


def to_restore(type_code: int, raw: bytes) -> bytes:
    """The payload of a RESTORE in the journal: type, value, footer version 9, CRC64."""
    body = bytes((type_code,)) + raw + b"\x09\x00"
    return body + int(_crc64.calc(body)).to_bytes(8, "little")


def as_dragonfly_dumps(reply: bytes) -> bytes:
    """A DUMP payload of a type that only Valkey has, as Dragonfly's; anything else as it is."""
    if reply[:1] != bytes((_VALKEY_HASH_TTL,)) or len(reply) <= _FOOTER:
        return reply
    if int(_crc64.calc(reply[:-8])).to_bytes(8, "little") != reply[-8:]:
        return reply
    return to_restore(*from_dump(reply))


def pieces(type_code: int, raw: bytes, limit: int) -> Iterator[bytes]:
    """Cut a value where Dragonfly may cut it: between nodes, members, pairs (§3.7); about `limit` bytes a piece.

    Values that are never cut (strings, intsets, listpacks, JSON) come as one piece.
    """
    cursor = Cursor(raw)
    strings = {SET: 1, HASH: 2, SET_TTL: 2, HASH_TTL: 3, ZSET2: 1, LIST_QUICKLIST2: 1, STREAM3: 2}.get(type_code)
    if strings is None:
        yield raw
        return
    start = 0
    count = cursor.length()
    for index in range(count):
        if type_code == LIST_QUICKLIST2:
            cursor.at += 1
        for _ in range(strings):
            cursor.skip_string()
        if type_code == ZSET2:
            cursor.at += 8
        # A stream's metadata stays with its last node.
        if cursor.at - start >= limit and not (type_code == STREAM3 and index == count - 1):
            yield raw[start : cursor.at]
            start = cursor.at
    if start < len(raw):
        yield raw[start:]
