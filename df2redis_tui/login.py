"""What a server means by an error to AUTH or to the first PING."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NOT_NOW = frozenset({"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF", "BUSYLOADING"})
_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,30}")
_OF_PASSWORD = ("WRONGPASS", "invalid password", "invalid username-password")
_NEEDS_NONE = ("no password is set", "without any pass")


@dataclass(frozen=True, slots=True)
class Unwelcome:
    """`text` goes behind the server's name. `temporary`: the same attempt may succeed later."""

    text: str
    temporary: bool


def unwelcome(error: str, command: str = "AUTH") -> Unwelcome:
    """`error` is the server's text, fit for people; `command` is what it answers.

    What answers AUTH may repeat the password, in whatever form: only its first word is repeated, where that is a code.
    """
    if command == "AUTH":
        code = error.split(" ", 1)[0]
        said = code if _CODE.fullmatch(code) else "an error without a code"
    else:
        said = error
    if "max number of clients" in error:
        return Unwelcome(f"takes no more connections for now: {said}", True)
    if "Bad TLS header" in error:
        return Unwelcome("speaks TLS: use rediss:// in its URL", False)
    if error.split(" ", 1)[0] in _NOT_NOW or "TAKEN OVER" in error:
        return Unwelcome(f"is not ready: {said}", True)
    if error.startswith("NOAUTH"):
        return Unwelcome("asks for a password: give one in the URL, a file or the environment", False)
    if any(words in error for words in _NEEDS_NONE):
        return Unwelcome(f"refused the password: it has none set, so give none ({said})", False)
    if any(words in error for words in _OF_PASSWORD):
        return Unwelcome(f"refused the password: {said}", False)
    return Unwelcome(f"refused {command}: {said}", False)
