"""Opens connections to target servers and asks them what they are."""

from __future__ import annotations

from collections.abc import Iterable

from df2redis_tui.errors import TargetError, TargetLost, printable
from df2redis_tui.login import unwelcome
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import Arg, PeerLost, RespConnection, encode, is_error, open_stream

Address = tuple[str, int]


def name_of(address: Address) -> str:
    """host:port for people and as the node's name."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def error_text(reply: object) -> str:
    """An error reply as safe one-line text."""
    return printable(str(reply).encode("utf-8", "backslashreplace"), 200)


def _not_let_in(name: str, text: str, command: str) -> TargetError:
    why = unwelcome(text, command)
    return (TargetLost if why.temporary else TargetError)(f"target {name} {why.text}")


async def open_target(target: Endpoint, address: Address) -> RespConnection:
    """A connection that has passed AUTH. Raises TargetLost (can't connect) or TargetError (refused)."""
    name = name_of(address)
    try:
        connection = RespConnection(await open_stream(address[0], address[1], target.tls))
        try:
            reply = await connection.authenticate(target)
            if is_error(reply):
                raise _not_let_in(name, error_text(reply), "AUTH")
            reply = await connection.call("PING")
            if is_error(reply):
                raise _not_let_in(name, error_text(reply), "PING")
        except BaseException:
            await connection.aclose()
            raise
    except PeerLost as lost:
        raise TargetLost(f"target {name}: {lost}") from None
    return connection


def parse_info(reply: object) -> dict[str, str]:
    """INFO's `field:value` lines."""
    if not isinstance(reply, bytes):
        return {}
    lines: Iterable[str] = reply.decode("utf-8", "replace").splitlines()
    return {k: printable(v.encode(), 200) for k, _, v in (line.partition(":") for line in lines) if v}


async def ask(connection: RespConnection, name: str, *args: Arg) -> object:
    """One command; an error reply raises TargetError, a lost connection TargetLost."""
    try:
        reply = await connection.call(*args, timeout=60.0)
    except PeerLost as lost:
        raise TargetLost(f"target {name}: {lost}") from None
    if is_error(reply):
        raise TargetError(f"target {name} refused {args[0]!s}: {error_text(reply)}")
    return reply


__all__ = ["Address", "ask", "encode", "error_text", "name_of", "open_target", "parse_info"]
