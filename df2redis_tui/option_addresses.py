"""The kinds of value that name servers: addresses, maps of addresses, URLs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from df2redis_tui.endpoints import parse_address, shown
from df2redis_tui.option_values import Plain, Unacceptable


@dataclass(frozen=True, slots=True)
class _OfServer(Plain):
    """Where a password may have been given by mistake: what does not look like an address is not repeated."""

    def show(self, raw: object) -> str:
        if isinstance(raw, list):
            return "[" + ", ".join(map(self.show, raw)) + "]"
        if not isinstance(raw, str):
            return f"a {type(raw).__name__}"
        return repr("=".join(map(shown, raw.split("="))))


@dataclass(frozen=True, slots=True)
class Address(_OfServer):
    """host:port."""

    @property
    def accepts(self) -> str:
        return "host:port"

    @property
    def metavar(self) -> str:
        return "HOST:PORT"

    def parse(self, raw: object) -> str:
        if not isinstance(raw, str) or not re.search(r":[0-9]+$", raw):
            raise Unacceptable
        return address_text(*parse_address(raw))


@dataclass(frozen=True, slots=True)
class AddressMap(_OfServer):
    """Pairs announced=reachable: repeated flags, a list in TOML, commas in a variable."""

    @property
    def accepts(self) -> str:
        return "announced=reachable, both host:port"

    @property
    def metavar(self) -> str:
        return "ADDR=ADDR"

    def parse(self, raw: object) -> tuple[tuple[str, str], ...]:
        items = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(items, list):
            raise Unacceptable
        pairs = []
        for item in items:
            if not isinstance(item, str):
                raise Unacceptable
            announced, equals, reachable = item.strip().partition("=")
            if not equals:
                raise Unacceptable
            pairs.append((address_text(*parse_address(announced)), address_text(*parse_address(reachable))))
        if len({announced for announced, _ in pairs}) != len(pairs):
            raise Unacceptable("each announced address may be named once")
        return tuple(pairs)

    def to_toml(self, value: object) -> str:
        return json.dumps([f"{a}={b}" for a, b in value]) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True, slots=True)
class Url(_OfServer):
    """A server's URL, kept as text: its password may still come from elsewhere."""

    check: Callable[[str], object]
    form: str

    @property
    def accepts(self) -> str:
        return self.form

    @property
    def metavar(self) -> str:
        return "URL"

    def parse(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise Unacceptable
        self.check(raw)
        return raw.strip()


def address_text(host: str, port: int) -> str:
    """host:port, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
