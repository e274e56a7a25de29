"""Writes the bytes that servers send: lengths, strings, packed containers, journal records."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import lz4.frame

TOKEN = b"0123456789abcdef0123456789abcdef01234567"
HEADER = b"REDIS0009"


def length(n: int) -> bytes:
    if n < 64:
        return bytes([n])
    if n < 16384:
        return bytes([0x40 | n >> 8, n & 255])
    if n < 1 << 32:
        return b"\x80" + struct.pack(">I", n)
    return b"\x81" + struct.pack(">Q", n)


def string(text: bytes) -> bytes:
    return length(len(text)) + text


def strings(*texts: bytes) -> bytes:
    return b"".join(string(text) for text in texts)


def lzf_literal(text: bytes) -> bytes:
    """A STR in LZF form that only has literals."""
    packed = b"".join(bytes([len(text[at : at + 32]) - 1]) + text[at : at + 32] for at in range(0, len(text), 32))
    return b"\xc3" + length(len(packed)) + length(len(text)) + packed


def listpack(*entries: bytes, count: int | None = None) -> bytes:
    """Each of `entries` is encoding+data; back-lengths are added."""
    body = b"".join(entry + backlength(len(entry)) for entry in entries)
    size = 7 + len(body)
    return struct.pack("<IH", size, len(entries) if count is None else count) + body + b"\xff"


def backlength(size: int) -> bytes:
    """Groups of 7 bits, the highest first; all but the first have bit 7 set (listpack.c, lpEncodeBacklen)."""
    if size <= 127:
        return bytes([size])
    if size < 16383:
        return bytes([size >> 7, size & 127 | 128])
    if size < 2097151:
        return bytes([size >> 14, size >> 7 & 127 | 128, size & 127 | 128])
    return bytes([size >> 21, size >> 14 & 127 | 128, size >> 7 & 127 | 128, size & 127 | 128])


def lp_text(text: bytes) -> bytes:
    if len(text) < 64:
        return bytes([0x80 | len(text)]) + text
    if len(text) < 4096:
        return bytes([0xE0 | len(text) >> 8, len(text) & 255]) + text
    return b"\xf0" + struct.pack("<I", len(text)) + text


def lp_int(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes([value])
    if -4096 <= value < 4096:
        value &= 8191
        return bytes([0xC0 | value >> 8, value & 255])
    for code, width in ((0xF1, 2), (0xF2, 3), (0xF3, 4), (0xF4, 8)):
        if -(1 << 8 * width - 1) <= value < 1 << 8 * width - 1:
            return bytes([code]) + value.to_bytes(width, "little", signed=True)
    raise ValueError(value)


def ziplist(*entries: bytes, count: int | None = None) -> bytes:
    """Each of `entries` is encoding+data; the lengths of the previous entries are added."""
    body, previous = b"", 0
    for entry in entries:
        whole = (bytes([previous]) if previous < 254 else b"\xfe" + struct.pack("<I", previous)) + entry
        body += whole
        previous = len(whole)
    size = 11 + len(body)
    return struct.pack("<IIH", size, size - 1 - previous, len(entries) if count is None else count) + body + b"\xff"


def zl_text(text: bytes) -> bytes:
    if len(text) < 64:
        return bytes([len(text)]) + text
    if len(text) < 16384:
        return bytes([0x40 | len(text) >> 8, len(text) & 255]) + text
    return b"\x80" + struct.pack(">I", len(text)) + text


def intset(width: int, *values: int) -> bytes:
    numbers = b"".join(value.to_bytes(width, "little", signed=True) for value in values)
    return struct.pack("<II", width, len(values)) + numbers


def entry(type: int, key: bytes, payload: bytes, expire_ms: int | None = None) -> bytes:
    prefix = b"" if expire_ms is None else b"\xfc" + struct.pack("<Q", expire_ms)
    return prefix + bytes([type]) + string(key) + payload


def chunk(id: int, payload: bytes) -> bytes:
    return b"\xe0" + struct.pack("<II", id, len(payload)) + payload


def lz4_blob(content: bytes) -> bytes:
    return b"\xca" + string(lz4.frame.compress(content))


def end(token: bytes = TOKEN) -> bytes:
    return b"\xff" + bytes(8) + token


def command(*args: bytes, op: int = 10, txid: int = 0, shards: int = 1) -> bytes:
    sizes = sum(len(arg) for arg in args)
    return bytes([op]) + length(txid) + length(shards) + length(len(args)) + length(sizes) + strings(*args)


def select(db: int) -> bytes:
    return b"\x06" + length(db)


def journal_blob(records: Iterable[bytes]) -> bytes:
    return b"\xd2\x01" + string(b"".join(records))


def stream_id(ms: int, seq: int) -> bytes:
    return struct.pack(">QQ", ms, seq)
