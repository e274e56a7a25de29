"""RESTORE payloads: type byte, value, footer version, CRC64; and re-encoding to types every target knows (§3.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import pack
from typing import Final

from anycrc import Model

from df2redis_tui.dragonfly import records
from df2redis_tui.dragonfly.dumps import check_whole
from df2redis_tui.dragonfly.rdb.lengths import Cursor
from df2redis_tui.errors import DecodeError

# RDB types that Dragonfly never sends but targets load (Redis rdb.h; 22 is Valkey's, measured on 9.1).
LIST_PLAIN: Final = 1
STREAM2: Final = 19
VALKEY_HASH_TTL: Final = 22

FOOTER: Final = b"\x09\x00"  # version 9 is taken by Redis 6.2, 7.0 and Valkey 9.1 whatever type it carries
FOOTER_LENGTH: Final = 10

_crc64: Callable[[bytes], int] = Model("CRC64-REDIS").calc

# Values without elements, and the types in which they are that.
_EMPTY: Final[dict[bytes, frozenset[int]]] = {
    b"\x00": frozenset({
        records.SET, records.HASH, records.ZSET2, records.LIST_QUICKLIST, records.LIST_QUICKLIST2, records.HASH_TTL,
        records.SET_TTL,
    }),
    b"\x07" + pack("<IHB", 7, 0, 255): frozenset({records.HASH_LISTPACK, records.ZSET_LISTPACK}),
    b"\x0b" + pack("<IIHB", 11, 10, 0, 255): frozenset({records.HASH_ZIPLIST, records.ZSET_ZIPLIST}),
    **{b"\x08" + pack("<II", width, 0): frozenset({records.INTSET}) for width in (2, 4, 8)},
}  # fmt: skip
_EMPTY_MOST: Final = max(map(len, _EMPTY))


def payload(rdb_type: int, raw: bytes) -> bytes:
    """What RESTORE takes for an RDB value."""
    body = b"%c%b%b" % (rdb_type, raw, FOOTER)
    return body + _crc64(body).to_bytes(8, "little")


def check_payload(body: bytes) -> None:
    """Raise DecodeError unless the checksum fits and, of an encoding that servers share, the value is intact.

    The checksum alone says only what its sender held: a target that takes a damaged value dies when it reads it.
    """
    if len(body) <= FOOTER_LENGTH or _crc64(body[:-8]).to_bytes(8, "little") != body[-8:]:
        raise DecodeError("its checksum does not fit")
    check_whole(body[0], body[1:-FOOTER_LENGTH])


def is_empty(rdb_type: int, raw: bytes) -> bool:
    """A container without elements, which RESTORE refuses and Redis can't hold."""
    return len(raw) <= _EMPTY_MOST and rdb_type in _EMPTY.get(raw, ())


def encode_length(value: int) -> bytes:
    """RDB length encoding (protocol page §3.2)."""
    if value < 64:
        return bytes((value,))
    if value < 16384:
        return bytes((0x40 | value >> 8, value & 255))
    if value < 1 << 32:
        return b"\x80" + value.to_bytes(4, "big")
    return b"\x81" + value.to_bytes(8, "big")


def encode_string(value: bytes) -> bytes:
    """RDB string, always length and bytes."""
    return encode_length(len(value)) + value


def encode_strings(values: Sequence[bytes], per_element: int = 1) -> bytes:
    """LEN of elements, then each as a string; `per_element` 2 for field and value. Types 1, 2 and 4."""
    parts = [encode_length(len(values) // per_element)]
    parts += [encode_string(value) for value in values]
    return b"".join(parts)


def encode_zset(flat: Sequence[bytes]) -> bytes:
    """Type 5 from [member, score text, ...]."""
    parts = [encode_length(len(flat) // 2)]
    for i in range(0, len(flat), 2):
        parts += (encode_string(flat[i]), pack("<d", float(flat[i + 1])))
    return b"".join(parts)


def encode_valkey_hash(flat: Sequence[bytes | int]) -> bytes:
    """Type 22 from [field, value, expire_ms (0 none), ...]."""
    parts = [encode_length(len(flat) // 3)]
    for i in range(0, len(flat), 3):
        field, value, expire_ms = flat[i : i + 3]
        parts += (encode_string(bytes(field)), encode_string(bytes(value)), pack("<q", int(expire_ms) or -1))
    return b"".join(parts)


def string_value(raw: bytes) -> bytes:
    """The bytes of a whole RDB string."""
    return Cursor(raw).string()
