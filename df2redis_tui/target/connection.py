"""Opens connections to target servers and asks them what they are."""

from __future__ import annotations

from collections.abc import Iterable

from df2redis_tui.answers import Answer
from df2redis_tui.errors import TargetError, TargetLost, printable
from df2redis_tui.login import unwelcome
from df2redis_tui.settings import Endpoint
from df2redis_tui.streams import FEW, MANY, Arg, PeerLost, RespConnection, encode, name_of_command, open_stream

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
            answer = answer_of(name, await connection.authenticate(target), "AUTH")
            if answer.refusal:
                raise _not_let_in(name, answer.refusal, "AUTH")
            answer.ok()
            answer = answer_of(name, await connection.call("PING", most=FEW), "PING")
            if answer.refusal:
                raise _not_let_in(name, answer.refusal, "PING")
            answer.word(b"PONG")
        except BaseException:
            await connection.aclose()
            raise
    except PeerLost as lost:
        raise lost.of_target(name) from None
    return connection


def answer_of(name: str, reply: object, asked: str) -> Answer:
    """What this target answered; a wrong kind is a TargetError."""
    return Answer(reply, asked, f"target {name}", TargetError)


def parse_info(reply: object) -> dict[str, str]:
    """INFO's `field:value` lines."""
    if not isinstance(reply, bytes):
        return {}
    lines: Iterable[str] = reply.decode("utf-8", "replace").splitlines()
    return {k: printable(v.encode(), 200) for k, _, v in (line.partition(":") for line in lines) if v}


async def ask(connection: RespConnection, name: str, *args: Arg, most: int = MANY) -> Answer:
    """One command; a lost connection raises TargetLost."""
    try:
        reply = await connection.call(*args, timeout=60.0, most=most)
    except PeerLost as lost:
        raise lost.of_target(name) from None
    return answer_of(name, reply, name_of_command(encode(*args)))


__all__ = ["Address", "answer_of", "ask", "encode", "error_text", "name_of", "open_target", "parse_info"]
