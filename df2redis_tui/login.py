"""What a server means by an error to AUTH or to the first PING."""

from __future__ import annotations

from dataclasses import dataclass

_NOT_NOW = frozenset({"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF", "BUSYLOADING"})
_OF_PASSWORD = ("WRONGPASS", "invalid password", "invalid username-password", "no password is set", "without any pass")


@dataclass(frozen=True, slots=True)
class Unwelcome:
    """`text` goes behind the server's name. `temporary`: the same attempt may succeed later."""

    text: str
    temporary: bool


def unwelcome(error: str, command: str = "AUTH") -> Unwelcome:
    """`error` is the server's text, fit for people; `command` is what it answers."""
    if "max number of clients" in error:
        return Unwelcome(f"takes no more connections for now: {error}", True)
    if "Bad TLS header" in error:
        return Unwelcome("speaks TLS: use rediss:// in its URL", False)
    if error.split(" ", 1)[0] in _NOT_NOW or "TAKEN OVER" in error:
        return Unwelcome(f"is not ready: {error}", True)
    if error.startswith("NOAUTH"):
        return Unwelcome("asks for a password: give one in the URL, a file or the environment", False)
    if any(words in error for words in _OF_PASSWORD):
        return Unwelcome(f"refused the password: {error}", False)
    return Unwelcome(f"refused {command}: {error}", False)
