"""Large values out of a DUMP come in parts, as in a full sync."""

from __future__ import annotations

import pytest

from df2redis_tui.dragonfly import records
from df2redis_tui.dragonfly.dumps import WHOLE_MOST, in_parts
from df2redis_tui.dragonfly.records import Value, ValueEnd, ValuePart, ValueStart
from tests.support.synthetic import hash_payload, list_payload, set_payload

COUNT, SIZE = 6_000, 1_000
ITEMS = [b"%06d" % number + bytes(SIZE) for number in range(COUNT)]
KEY = b"k" * 100


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (records.LIST_QUICKLIST2, list_payload(ITEMS)),
        (records.SET, set_payload(ITEMS)),
        (records.HASH, hash_payload([(item, b"v") for item in ITEMS], COUNT)),
    ],
)
def test_a_large_container_comes_in_parts(kind: int, raw: bytes) -> None:
    found = [record for block in in_parts(Value(3, KEY, 77, kind, raw), 0) for record in block]
    start, *parts, end = found
    assert isinstance(start, ValueStart)
    assert (start.db, start.key, start.expire_ms, start.type) == (3, KEY, 77, kind)
    assert isinstance(end, ValueEnd)
    assert len(parts) > 10
    elements = [element for part in parts if isinstance(part, ValuePart) for element in part.elements]
    assert [e for e in elements if isinstance(e, bytes) and len(e) > SIZE] == ITEMS


def test_what_is_small_or_can_not_be_cut_comes_whole() -> None:
    for value in (
        Value(0, b"k", 0, records.SET, set_payload([b"a"])),
        Value(0, b"k", 0, records.STREAM3, bytes(WHOLE_MOST + 1)),
        Value(0, b"k", 0, records.STRING, bytes(WHOLE_MOST + 1)),
    ):
        assert list(in_parts(value, 0)) == [[value]]
