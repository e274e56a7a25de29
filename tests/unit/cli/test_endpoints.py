"""URLs of servers: every accepted form, what is refused, and that no refusal shows a password."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from df2redis_tui.endpoints import parse_source, parse_target, shown
from df2redis_tui.settings import Endpoint, Secret, Tls


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", Endpoint((("h", 6379),))),
        ("redis://h:7000/3", Endpoint((("h", 7000),), db=3)),
        ("redis://h/", Endpoint((("h", 6379),))),
        ("REDIS://10.0.0.1", Endpoint((("10.0.0.1", 6379),))),
        ("valkey://h", Endpoint((("h", 6379),))),
        ("rediss://h", Endpoint((("h", 6379),), tls=Tls())),
        ("valkeys://h:6380", Endpoint((("h", 6380),), tls=Tls())),
        ("redis://[::1]:7000", Endpoint((("::1", 7000),))),
        ("redis://[fe80::1%eth0]", Endpoint((("fe80::1%eth0", 6379),))),
        ("redis://user:p%40ss%2Fword@h", Endpoint((("h", 6379),), "user", Secret("p@ss/word"))),
        ("redis://:pw@h", Endpoint((("h", 6379),), None, Secret("pw"))),
        ("redis://user:a@b/c#d?e@h:1", Endpoint((("h", 1),), "user", Secret("a@b/c#d?e"))),
        ("redis://u%C3%A9:p:w@h", Endpoint((("h", 6379),), "ué", Secret("p:w"))),
        ("redis+cluster://a:1,b,[::2]:3", Endpoint((("a", 1), ("b", 6379), ("::2", 3)), cluster=True)),
        ("rediss+cluster://u:p@a", Endpoint((("a", 6379),), "u", Secret("p"), tls=Tls(), cluster=True)),
    ],
)
def test_a_target_url_becomes_an_endpoint(url: str, expected: Endpoint) -> None:
    assert parse_target(url) == expected


@pytest.mark.parametrize(("scheme", "tls"), [("dragonfly", None), ("dragonflys", Tls()), ("redis", None)])
def test_the_source_has_its_own_schemes_and_takes_redis_too(scheme: str, tls: Tls | None) -> None:
    assert parse_source(f"{scheme}://h:1") == Endpoint((("h", 1),), tls=tls)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("h:6379", "a URL begins with"),
        ("http://h", "the scheme is not one of"),
        ("dragonfly://h", "the scheme is not one of"),
        ("redis://", "the host is missing"),
        ("redis://:6379", "the host is missing"),
        ("redis://h:0", "the port is a number"),
        ("redis://h:65536", "the port is a number"),
        ("redis://h:6379x", "the port is a number"),
        ("redis://h:", "the port is a number"),
        ("redis://h:٣", "the port is a number"),
        ("redis://::1", "in brackets"),
        ("redis://[::1", "malformed"),
        ("redis://[::1]x", "only :port may follow"),
        ("redis://h o", "characters that no host name has"),
        ("redis://h/x", "number of a database"),
        ("redis://h/-1", "number of a database"),
        ("redis://h?ssl=true", "query"),
        ("redis://a,b", r"seeds of a cluster, written redis\+cluster://"),
        ("rediss://a,b", r"seeds of a cluster, written rediss\+cluster://"),
        ("redis+cluster://a,b/1", "database 0 only"),
        ("redis+cluster://a,,b", "the host is missing"),
        ("redis://u:%ff@h", "not UTF-8"),
    ],
)
def test_a_malformed_target_url_is_refused_with_the_reason(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_target(url)


def test_a_database_of_the_source_is_refused_since_all_are_copied() -> None:
    with pytest.raises(ValueError, match="every database is copied"):
        parse_source("dragonfly://h/1")


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:sekrit@h:99999",
        "redis://user:sekrit",
        "redis://:sekrit@",
        "user:sekrit@h",
        "redis://user:sek/sekrit@h/x",
        "redis://h/sekrit",
        "redis://h?password=sekrit",
        "redis://h#sekrit",
        "redis://h:6379:sekrit",
        "x y://sekrit!@h",
        "redis://u:sekrit%ff@h",
    ],
)
def test_neither_the_reason_nor_the_shown_url_holds_the_password(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is what this test reads)
        parse_target(url)
    assert "sekrit" not in str(caught.value)
    assert "sekrit" not in shown(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://u:p@h:6379/3", "redis://***@h:6379/3"),
        ("redis+cluster://a:1,[::1]:2", "redis+cluster://a:1,[::1]:2"),
        ("redis://h:99999", "redis://h:99999"),
    ],
)
def test_what_is_no_secret_stays_readable(url: str, expected: str) -> None:
    assert shown(url) == expected


def test_the_endpoint_of_a_url_never_prints_its_password() -> None:
    endpoint = parse_target("redis://user:sekrit@h:1")
    assert "sekrit" not in f"{endpoint} {endpoint!r} {endpoint.label}"


@given(st.text(max_size=60))
def test_any_text_is_an_endpoint_or_a_refusal_of_one_line(text: str) -> None:
    for url in (text, f"redis://{text}", f"redis+cluster://{text}"):
        said = ""
        hosts: tuple[tuple[str, int], ...] = ()
        try:
            hosts = parse_target(url).hosts
        except ValueError as error:
            said = str(error)
        assert bool(hosts) != bool(said)
        assert "\n" not in said
        assert all(host and 1 <= port <= 65535 for host, port in hosts)


@given(st.text(min_size=6, max_size=30), st.sampled_from(["@h:0", "@h/x", "@", "@h?x", "@a,b", ""]))
def test_whatever_the_password_it_is_never_told(password: str, rest: str) -> None:
    secret = f"§{password}§"  # a mark which no other part of a message has
    url = f"redis://user:{secret}{rest}"
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is what this test reads)
        parse_target(url)
    assert "§" not in str(caught.value)
    assert "§" not in shown(url)


@given(st.text(min_size=1), st.text(min_size=1))
def test_an_escaped_user_and_password_come_back_as_they_were(user: str, password: str) -> None:
    endpoint = parse_target(f"redis://{quote(user, safe='')}:{quote(password, safe='')}@h")
    assert (endpoint.username, endpoint.password) == (user, Secret(password))
