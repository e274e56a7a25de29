"""What a target's error replies mean for the commands that got them."""

from __future__ import annotations

from enum import Enum, auto


class Verdict(Enum):
    """What to do with a refused command."""

    RETRY = auto()  # the server can't now, it will later: same place, same order
    MOVED = auto()  # the slot lives elsewhere: ask for the topology, send again
    ASK = auto()  # the slot is on its way: this key is at the other node already
    FATAL = auto()  # nothing can succeed until an operator acts
    REFUSED = auto()  # this command can't succeed: the policy decides


_RETRY = frozenset(
    {
        "LOADING", "BUSY", "OOM", "MISCONF", "READONLY", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN",
        "EXECABORT",
    }
)  # fmt: skip
NOT_YET = _RETRY | {"MOVED", "ASK"}  # refused here and now, and to be sent again
_FATAL = frozenset({"NOAUTH", "WRONGPASS", "NOPERM"})

# The server keeps refusing these until somebody frees memory, fixes its disk, or makes it a master. An EXECABORT for
# which no command of the transaction gives a reason is nothing that a server of its own accord ends.
STUCK = frozenset({"OOM", "MISCONF", "NOREPLICAS", "READONLY", "MASTERDOWN", "EXECABORT"})

# Said by a server that is no master any more: its name may stand for another one by now.
DEMOTED = frozenset({"READONLY", "MASTERDOWN", "LOADING"})


_DISCARDED = "EXECABORT Transaction discarded because of: "  # and what EXEC itself was refused with


def cause_of(error: str) -> str:
    """What a transaction was discarded for, where the error says it."""
    return error.removeprefix(_DISCARDED)


def code_of(error: str) -> str:
    """The word an error begins with."""
    return cause_of(error).split(" ", 1)[0]


def verdict(error: str) -> Verdict:
    code = code_of(error)
    if code == "MOVED":
        return Verdict.MOVED
    if code == "ASK":
        return Verdict.ASK
    if code in _RETRY:
        return Verdict.RETRY
    if code in _FATAL or "DB index is out of range" in error or "SELECT is not allowed" in error:
        return Verdict.FATAL
    return Verdict.REFUSED


def redirect_address(error: str, asked: tuple[str, int]) -> tuple[str, int] | None:
    """`MOVED 866 host:port` → (host, port); an empty host means the one that was asked. None when malformed."""
    words = error.split()
    if len(words) < 3:
        return None
    host, _, port = words[2].rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:
        return None
    return (host.strip("[]") or asked[0], int(port))
