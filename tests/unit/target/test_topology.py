"""CLUSTER SLOTS → who owns what, whatever a node answers."""

from __future__ import annotations

import pytest

from df2redis_tui.target.topology import AddressMap, parse_slots

ASKED = ("10.0.0.1", 7000)


def node(host: object, port: object) -> list[object]:
    return [host, port, b"id", []]


def test_masters_own_and_replicas_do_not() -> None:
    rows = [[0, 99, node(b"a", 1), node(b"replica", 9)], [100, 16383, node(b"b", 2)]]
    found = parse_slots(rows, ASKED, AddressMap())
    assert found.nodes == ("a:1", "b:2")
    assert (found.owner(99), found.owner(100)) == ("a:1", "b:2")
    assert (found.slots_of("a:1"), found.slots_of("b:2"), found.slots_of("other:3")) == (100, 16284, 0)
    assert found.uncovered == []


def test_slots_without_an_owner_are_named() -> None:
    found = parse_slots([[1, 5, node(b"a", 1)], [7, 16382, node(b"a", 1)]], ASKED, AddressMap())
    assert found.owner(6) is None
    assert found.uncovered == [(0, 0), (6, 6), (16383, 16383)]


@pytest.mark.parametrize("host", [b"", None, b"?"])
def test_an_unknown_host_is_the_one_that_was_asked(host: object) -> None:
    assert parse_slots([[0, 16383, node(host, 7001)]], ASKED, AddressMap()).addresses == {
        "10.0.0.1:7001": ("10.0.0.1", 7001)
    }


@pytest.mark.parametrize("host", [b"fe80::1", b"[fe80::1]"])
def test_ipv6_hosts_are_written_in_brackets(host: bytes) -> None:
    found = parse_slots([[0, 16383, node(host, 7000)]], ASKED, AddressMap())
    assert found.addresses == {"[fe80::1]:7000": ("fe80::1", 7000)}


def test_announced_addresses_are_mapped() -> None:
    reach = AddressMap([("172.17.0.2:6379", "127.0.0.1:7001"), ("[::1]:6379", "example.org:1")])
    found = parse_slots([[0, 5, node(b"172.17.0.2", 6379)], [6, 16383, node(b"::1", 6379)]], ASKED, reach)
    assert found.addresses == {"127.0.0.1:7001": ("127.0.0.1", 7001), "example.org:1": ("example.org", 1)}


@pytest.mark.parametrize(
    "reply",
    [
        [],
        [None, [], [1], [1, 2], [1, 2, b"a"], [1, 2, []], [1, 2, [b"a"]]],
        [[-1, 5, [b"a", 1]], [0, 16384, [b"a", 1]], [5, 1, [b"a", 1]], [b"0", 1, [b"a", 1]]],
        [[0, 1, [b"a", 0]], [0, 1, [b"a", 70000]], [0, 1, [b"a", b"1"]]],
        [[0, 1, ["é".encode(), 1]], [0, 1, [b"h" * 100_000, 1]], [0, 1, [b"a\x00", 1]], [0, 1, [1, 1]]],
    ],
)
def test_rows_that_make_no_sense_are_left_out(reply: list[object]) -> None:
    found = parse_slots(reply, ASKED, AddressMap())
    assert found.nodes == ()
    assert found.uncovered == [(0, 16383)]
