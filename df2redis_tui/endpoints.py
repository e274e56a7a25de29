"""URLs of servers → `Endpoint`, and the form of a URL that may be shown to people.

The part before the last `@` is taken as credentials, so a password with an unescaped `/`, `#` or `@` still works, and
nothing of it can end up in the host of an error message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import unquote

from df2redis_tui.settings import Endpoint, Secret, Tls

DEFAULT_PORT: Final = 6379


class Scheme(NamedTuple):
    """What a URL's scheme says about the server."""

    tls: bool = False
    cluster: bool = False


SOURCE_SCHEMES: Final[Mapping[str, Scheme]] = MappingProxyType(
    {
        "dragonfly": Scheme(),
        "dragonflys": Scheme(tls=True),
        "redis": Scheme(),
        "rediss": Scheme(tls=True),
    }
)
TARGET_SCHEMES: Final[Mapping[str, Scheme]] = MappingProxyType(
    {
        "redis": Scheme(),
        "rediss": Scheme(tls=True),
        "valkey": Scheme(),
        "valkeys": Scheme(tls=True),
        "redis+cluster": Scheme(cluster=True),
        "rediss+cluster": Scheme(tls=True, cluster=True),
        "valkey+cluster": Scheme(cluster=True),
        "valkeys+cluster": Scheme(tls=True, cluster=True),
    }
)

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}")
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9_.-]+)?")
_MASK: Final = "***"


def parse_source(url: str) -> Endpoint:
    """The Dragonfly server of a URL. ValueError says what is wrong, without any part of the credentials."""
    endpoint = _parse(url, SOURCE_SCHEMES)
    if endpoint.db:
        raise ValueError("the source takes no database number: every database is copied")
    return endpoint


def parse_target(url: str) -> Endpoint:
    """The target of a URL. ValueError says what is wrong, without any part of the credentials."""
    return _parse(url, TARGET_SCHEMES)


def parse_address(text: str) -> tuple[str, int]:
    """`host`, `host:port` or `[IPv6]:port`. ValueError without the text, which may be a misplaced password."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not _IPV6.fullmatch(host):
            raise ValueError("the IPv6 address in brackets is malformed")
        if rest and not rest.startswith(":"):
            raise ValueError("only :port may follow an IPv6 address in brackets")
        return host, _port(rest[1:]) if rest else DEFAULT_PORT
    if text.count(":") > 1:
        raise ValueError("an IPv6 address is written in brackets, as in [::1]:6379")
    host, colon, port = text.partition(":")
    if not host:
        raise ValueError("the host is missing")
    if not _HOST.fullmatch(host):
        raise ValueError("the host name holds characters that no host name has")
    return host, _port(port) if colon else DEFAULT_PORT


def looks_like_url(text: str) -> bool:
    """Whether this is the URL of a server, given where none belongs."""
    return bool(re.match(rf"\s*{_SCHEME.pattern}://", text))


def shown_path(path: str) -> str:
    """A path that can't be read, unless it is a bare word: that could be a password."""
    return path if "/" in path or "." in path else _MASK


def shown(url: str) -> str:
    """The URL with everything that is, or could be, a password replaced by `***`.

    A bare word without a scheme could be one; an address with its port could not.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        if not re.fullmatch(r"\S+:[0-9]{1,5}", url):
            return _MASK
        scheme, rest = "", url
    credentials, at, place = rest.rpartition("@")
    hosts, slash, db = re.sub(r"[?#].*", "?" + _MASK, place).partition("/")
    places = ",".join(_shown_address(part) for part in hosts.split(","))
    database = slash + (db if db.isdecimal() or not db else _MASK)
    return f"{scheme}{separator if scheme else ''}{_MASK + at if credentials or at else ''}{places}{database}"


def _shown_address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text if _is_host(text) else _MASK
    return f"{host if _is_host(host) else _MASK}:{port if re.fullmatch('-?[0-9]{1,6}', port) else _MASK}"


def _is_host(text: str) -> bool:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return bool(_HOST.fullmatch(bare) or _IPV6.fullmatch(bare))


def _parse(url: str, schemes: Mapping[str, Scheme]) -> Endpoint:
    known = ", ".join(f"{name}://" for name in schemes)
    name, separator, rest = url.strip().partition("://")
    if not separator:
        raise ValueError(f"a URL begins with one of {known}")
    scheme = schemes.get(name.lower())
    if scheme is None:
        raise ValueError(f"the scheme is not one of {known}")
    credentials, at, place = rest.rpartition("@")
    username, password = _credentials(credentials) if at else (None, None)
    if "?" in place or "#" in place:
        raise ValueError("a query or fragment is not part of these URLs")
    hosts_text, _, db_text = place.partition("/")
    hosts = tuple(parse_address(part.strip()) for part in hosts_text.split(","))
    if len(hosts) > 1 and not scheme.cluster:
        cluster = [f"{n}://" for n, s in schemes.items() if s.cluster and s.tls == scheme.tls]
        raise ValueError("several hosts are the seeds of a cluster" + (f", written {cluster[0]}" if cluster else ""))
    return Endpoint(
        hosts=hosts,
        username=username,
        password=password,
        db=_database(db_text, scheme),
        tls=Tls() if scheme.tls else None,
        cluster=scheme.cluster,
    )


def _credentials(text: str) -> tuple[str | None, Secret | None]:
    name, _, password = text.partition(":")
    try:
        user = unquote(name, errors="strict")
        secret = unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("the user or password is not UTF-8 after percent-decoding") from None
    return user or None, Secret(secret) if secret else None


def _port(text: str) -> int:
    # The text is not repeated: in redis://user:password without @host it is the password.
    if not (text.isascii() and text.isdecimal()) or len(text) > 5 or not 1 <= int(text) <= 65535:
        raise ValueError("the port is a number from 1 to 65535")
    return int(text)


def _database(text: str, scheme: Scheme) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()) or len(text) > 5:
        raise ValueError("what follows the host is /N, the number of a database")
    if scheme.cluster and int(text):
        raise ValueError("a cluster has database 0 only")
    return int(text)
