"""Values as a source sends them, intact and damaged: of each encoding what a target would not survive, or misread."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from df2redis_tui.dragonfly import records as r
from tests.unit.dragonfly import wire


@dataclass(frozen=True, slots=True)
class Damaged:
    """`raw`: the value behind its key. `intact`: the same without the damage."""

    name: str
    type: int
    raw: bytes
    intact: bytes

    def __str__(self) -> str:
        return f"{r.KIND[self.type]} {self.type}: {self.name}"


def damaged_values() -> list[Damaged]:
    """The table."""
    return [*_listpacks(), *_ziplists(), *_intsets(), *_streams(), *_others()]


LISTPACK = wire.listpack(wire.lp_text(b"one"), wire.lp_int(5), wire.lp_text(b"two" * 30), wire.lp_int(-70_000))
ZIPLIST = wire.ziplist(wire.zl_text(b"one"), b"\xf6", wire.zl_text(b"two" * 30), b"\xf0\x90\xee\xfe")


def _put(blob: bytes, at: int, content: bytes) -> bytes:
    return blob[:at] + content + blob[at + len(content) :]


def _listpacks() -> Iterator[Damaged]:
    lp, end = LISTPACK, len(LISTPACK) - 1
    cases = {
        "its first entry is longer": _put(lp, 6, b"\xbf"),
        "its first entry is shorter": _put(lp, 6, b"\x82"),
        "an entry is of 4 GB": _put(lp, 6, b"\xf0\xff\xff\xff\xff"),
        "an entry has a wrong size behind it": _put(lp, 10, b"\x05"),
        "the size behind an entry goes on": _put(lp, 10, b"\x84"),
        "an integer is cut by the end": _put(lp, end - 5, b"\xf4"),
        "an unknown encoding": _put(lp, 6, b"\xf5"),
        "an end mark in the middle": _put(lp, 6, b"\xff"),
        "no end mark": _put(lp, end, b"\x00"),
        "it declares more bytes": _put(lp, 0, b"\xff"),
        "it declares fewer bytes": _put(lp, 0, b"\x20"),
        "it declares one entry more": _put(lp, 4, b"\x05"),
        "it declares two entries fewer": _put(lp, 4, b"\x02"),
        "it ends too early": lp[:30],
        "it is nothing": b"",
    }
    for name, blob in cases.items():
        for type in (r.HASH_LISTPACK, r.ZSET_LISTPACK):
            yield Damaged(name, type, wire.string(blob), wire.string(lp))
        node = b"\x02\x02" + wire.string(lp) + b"\x02"
        yield Damaged(name, r.LIST_QUICKLIST2, node + wire.string(blob), node + wire.string(lp))
    yield Damaged(
        "compressed, an entry is longer", r.HASH_LISTPACK, wire.lzf_literal(_put(lp, 6, b"\xbf")), wire.lzf_literal(lp)
    )
    odd = wire.listpack(wire.lp_text(b"one"), wire.lp_int(5), wire.lp_text(b"two"))
    for type in (r.HASH_LISTPACK, r.ZSET_LISTPACK):
        yield Damaged("an odd number of elements", type, wire.string(odd), wire.string(lp))
    for first, second in ((b"one", b"two"), (7, 8), (-70_000, 70_000), (b"1", 2)):
        for type in (r.HASH_LISTPACK, r.ZSET_LISTPACK):
            yield Damaged(
                f"{first!r} is there twice",
                type,
                wire.string(wire.listpack(*map(_packed, (first, 1, 4, 2, first, 3)))),
                wire.string(wire.listpack(*map(_packed, (first, 1, 4, 2, second, 3)))),
            )
    yield Damaged(
        "7 is there twice, as text and as an integer",
        r.HASH_LISTPACK,
        wire.string(wire.listpack(*map(_packed, (b"7", 1, 7, 2)))),
        wire.string(wire.listpack(*map(_packed, (b"7", 1, 8, 2)))),
    )
    yield Damaged(
        "7 is there twice, once in two bytes",
        r.ZSET_LISTPACK,
        wire.string(wire.listpack(wire.lp_int(7), wire.lp_int(1), b"\xf1\x07\x00", wire.lp_int(2))),
        wire.string(wire.listpack(wire.lp_int(7), wire.lp_int(1), b"\xf1\x08\x00", wire.lp_int(2))),
    )
    for score in (b"nan", b"-nan", b"x", b"", b"1.5x", b"1.2.3", b"0x10", b" 1"):
        yield Damaged(
            f"the score {score!r}",
            r.ZSET_LISTPACK,
            wire.string(wire.listpack(wire.lp_text(b"one"), wire.lp_text(score))),
            wire.string(wire.listpack(wire.lp_text(b"one"), wire.lp_text(b"1.5"))),
        )


def _ziplists() -> Iterator[Damaged]:
    zl, end = ZIPLIST, len(ZIPLIST) - 1
    cases = {
        "its first entry is longer": _put(zl, 11, b"\x3f"),
        "its first entry is shorter": _put(zl, 11, b"\x02"),
        "an entry is of 4 GB": _put(zl, 11, b"\x80\xff\xff\xff\xff"),
        "the size of the entry before is wrong": _put(zl, 15, b"\x06"),
        "the first entry has one before it": _put(zl, 10, b"\x05"),
        "an integer is cut by the end": _put(zl, end - 4, b"\xe0"),
        "an unknown encoding": _put(zl, 11, b"\xc7"),
        "no end mark": _put(zl, end, b"\x00"),
        "it declares more bytes": _put(zl, 0, b"\xff"),
        "it declares fewer bytes": _put(zl, 0, b"\x20"),
        "the last entry is elsewhere": _put(zl, 4, b"\x0a"),
        "the last entry is far behind the end": _put(zl, 4, b"\xff\xff\xff\x7f"),
        "it declares one entry more": _put(zl, 8, b"\x05"),
        "it declares two entries fewer": _put(zl, 8, b"\x02"),
        "it ends too early": zl[:30],
    }
    for name, blob in cases.items():
        for type in (r.HASH_ZIPLIST, r.ZSET_ZIPLIST):
            yield Damaged(name, type, wire.string(blob), wire.string(zl))
        node = b"\x02" + wire.string(zl)
        yield Damaged(name, r.LIST_QUICKLIST, node + wire.string(blob), node + wire.string(zl))
    odd = wire.ziplist(wire.zl_text(b"one"), b"\xf6", wire.zl_text(b"two"))
    for type in (r.HASH_ZIPLIST, r.ZSET_ZIPLIST):
        yield Damaged("an odd number of elements", type, wire.string(odd), wire.string(zl))
    for type in (r.HASH_ZIPLIST, r.ZSET_ZIPLIST):
        yield Damaged(
            "a field is there twice",
            type,
            wire.string(wire.ziplist(b"\x01f", b"\xf1", b"\x01f", b"\xf2")),
            wire.string(wire.ziplist(b"\x01f", b"\xf1", b"\x01g", b"\xf2")),
        )
    yield Damaged(
        "the score 'nan'",
        r.ZSET_ZIPLIST,
        wire.string(wire.ziplist(wire.zl_text(b"one"), wire.zl_text(b"nan"))),
        wire.string(wire.ziplist(wire.zl_text(b"one"), wire.zl_text(b"1.5"))),
    )


def _intsets() -> Iterator[Damaged]:
    intact = wire.intset(2, -5, 7, 300)
    cases = {
        "an unknown width": _put(intact, 0, b"\x03"),
        "another width": _put(intact, 0, b"\x04"),
        "it declares one integer more": _put(intact, 4, b"\x04"),
        "it declares one integer fewer": _put(intact, 4, b"\x02"),
        "it declares 4 billion integers": _put(intact, 4, b"\xff\xff\xff\xff"),
        "it is not in order": wire.intset(2, 7, -5, 300),
        "an integer stands there twice": wire.intset(2, 7, 7, 300),
        "it ends in its head": intact[:6],
    }
    for name, blob in cases.items():
        yield Damaged(name, r.INTSET, wire.string(blob), wire.string(intact))


def _packed(item: int | bytes) -> bytes:
    return wire.lp_int(item) if isinstance(item, int) else wire.lp_text(item)


def _node(items: list[int | bytes], master: bytes = wire.stream_id(1000, 5)) -> bytes:
    return wire.string(master) + wire.string(wire.listpack(*map(_packed, items)))


_PENDING = struct.pack("<Q", 1_700_000_000_000) + b"\x01"


def _group(
    name: bytes = b"g", pending: tuple[int, ...] = (5,), consumers: tuple[tuple[bytes, tuple[int, ...]], ...] = ()
) -> bytes:
    """Of a type 21. `pending` and those of the consumers: entries 1000-n."""
    out = wire.string(name) + wire.length(1000) + b"\x05\x01" + wire.length(len(pending))
    out += b"".join(wire.stream_id(1000, seq) + _PENDING for seq in pending) + wire.length(len(consumers))
    for consumer, its in consumers:
        out += wire.string(consumer) + struct.pack("<QQ", 1, 2) + wire.length(len(its))
        out += b"".join(wire.stream_id(1000, seq) for seq in its)
    return out


def _tail(length: int = 2, last: int = 9, groups: tuple[bytes, ...] = ()) -> bytes:
    head = wire.length(length) + wire.length(1000) + wire.length(last) + wire.length(1000) + b"\x05\x00\x00\x03"
    return head + wire.length(len(groups)) + b"".join(groups)


def _streams() -> Iterator[Damaged]:
    master: list[int | bytes] = [2, 1, 1, b"f", 0]
    entries: list[int | bytes] = [2, 0, 0, b"v", 4, 3, 0, 2, b"gone", 4, 0, 0, 4, 1, b"own", b"w", 6]
    intact = b"\x01" + _node(master + entries) + _tail()
    nodes: dict[str, list[int | bytes]] = {
        "a node has one entry more": [3, *master[1:], *entries],
        "a node has fewer deleted entries": [2, 0, *master[2:], *entries],
        "a node has more fields": [2, 1, 2, *master[3:], *entries],
        "a node has a billion fields": [2, 1, 1 << 30, *master[3:], *entries],
        "a node has −1 fields": [2, 1, -1, *master[3:], *entries],
        "a node's fields have no end": [*master[:-1], 1, *entries],
        "a node's count is text": [b"two", *master[1:], *entries],
        "an entry's flags are text": [*master, b"flags", *entries[1:]],
        "an entry's flags are unknown": [*master, 64, *entries[1:]],
        "an entry's id is text": [*master, 2, b"id", *entries[2:]],
        "an entry has a wrong size behind it": [*master, *entries[:-1], 7],
        "an entry has a billion fields": [*master, *entries[:-4], 1 << 30, *entries[-3:]],
        "a node ends in an entry": [*master, *entries[:-2]],
        "a node holds nothing": [],
    }
    for name, items in nodes.items():
        yield Damaged(name, r.STREAM3, b"\x01" + _node(items) + _tail(), intact)
    lp_at = intact.index(b"\x81f") - 1  # the number of fields
    yield Damaged("a node's listpack has a wrong size behind an entry", r.STREAM3, _put(intact, lp_at, b"\x07"), intact)
    yield Damaged("a node's id is short", r.STREAM3, b"\x01" + _node(master + entries, b"short") + _tail(), intact)
    node = _node(master + entries)
    yield Damaged("two nodes of one id", r.STREAM3, b"\x02" + node + node + _tail(4), intact)
    yield Damaged("it declares another length", r.STREAM3, b"\x01" + node + _tail(3), intact)
    yield Damaged("its last id is too small", r.STREAM3, b"\x01" + node + _tail(2, 4), intact)
    good = b"\x01" + node + _tail(groups=(_group(consumers=((b"c", (5,)),)),))
    groups = {
        "a pending entry without a consumer": (_group(),),
        "a pending entry with two consumers": (_group(consumers=((b"c", (5,)), (b"d", (5,)))),),
        "a consumer's pending entry that is not its group's": (_group(consumers=((b"c", (5, 9)),)),),
        "an entry pending twice": (_group(pending=(5, 5), consumers=((b"c", (5,)),)),),
        "two consumers of one name": (_group(pending=(), consumers=((b"c", ()), (b"c", ()))),),
        "two groups of one name": (_group(pending=()), _group(pending=())),
    }
    for name, several in groups.items():
        yield Damaged(name, r.STREAM3, b"\x01" + node + _tail(groups=several), good)


def _others() -> Iterator[Damaged]:
    yield Damaged(
        "a field is there twice",
        r.HASH,
        b"\x02" + wire.strings(b"5", b"v") + b"\xc0\x05\x01w",
        b"\x02" + wire.strings(b"5", b"v") + b"\xc0\x06\x01w",
    )
    for type, content in ((r.HASH_TTL, b"\x01v\xc0\xff"), (r.SET_TTL, b"\xc0\xff")):
        parts = [wire.string(name) + content for name in (b"f", b"g", b"f")]
        yield Damaged("a field is there twice", type, b"\x02" + parts[0] + parts[2], b"\x02" + parts[0] + parts[1])
    yield Damaged("the score NaN", r.ZSET2, b"\x01\x01a" + struct.pack("<d", float("nan")), b"\x01\x01a" + bytes(8))
    yield Damaged("a node of an unknown kind", r.LIST_QUICKLIST2, b"\x01\x03\x01a", b"\x01\x01\x01a")
    for type, stride in ((r.HASH_TTL, 3), (r.SET_TTL, 2)):
        for expiry in (b"soon", b"9" * 30, b""):
            front = b"\x01" + wire.strings(*[b"m"] * (stride - 1))
            yield Damaged(f"the expiry {expiry!r}", type, front + wire.string(expiry), front + b"\xc0\xff")
    good = b"\xc3\x04\x09\x00a\xc0\x00"  # nine times a
    bad = {
        "compressed, a reference before its start": b"\xc3\x04\x09\x00a\xc0\x07",
        "compressed, it declares more": b"\xc3\x04\x0a\x00a\xc0\x00",
        "compressed, it is cut short": b"\xc3\x03\x09\x00a\xe0",
    }
    for name, text in bad.items():
        yield Damaged(name, r.SET, b"\x02\x01b" + text, b"\x02\x01b" + good)
        yield Damaged(name, r.HASH, b"\x01\x01b" + text, b"\x01\x01b" + good)
        yield Damaged(name, r.LIST_QUICKLIST2, b"\x01\x01" + text, b"\x01\x01" + good)
        yield Damaged(name, r.JSON, text, good)
