"""What a target answers to what.

An answer of another kind is not taken for success: whoever gave it is no server that did what was asked, or what we
read belongs to something else. Nothing is known of what was applied then, so it ends the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Final

import hiredis

from df2redis_tui.answers import shown
from df2redis_tui.errors import TargetError, TargetLost, printable
from df2redis_tui.target.replies import Verdict, cause_of, code_of, verdict

QUEUED: Final = b"QUEUED"
_OK: Final = b"OK"
_ADVICE: Final = (
    "make sure that it is a Redis or a Valkey with nothing in between that answers for it, then run it again"
)


class WrongAnswer(Exception):
    """`reply` is none of what this command is answered."""

    def __init__(self, what: str, reply: object, expected: str) -> None:
        super().__init__(f"answered {shown(reply)} to {what}, where {expected} is expected")


class Denied(Exception):
    """The target will never take what every write needs."""


def wrong_answer(name: str, why: WrongAnswer | Denied) -> TargetError:
    """What ends the run. `name` is "" where it is not known which server of the target it was."""
    error = TargetError(f"{_target(name)} {why}: nothing more is written")
    if isinstance(why, WrongAnswer):
        error.advice = _ADVICE
    return error


def _target(name: str) -> str:
    return f"target {name}" if name else "the target"


# Commands

_STATUS: Final = (
    b"SET", b"RESTORE", b"MSET", b"LSET", b"LTRIM", b"RENAME", b"HMSET", b"XSETID", b"PFMERGE", b"FLUSHDB", b"FLUSHALL",
    b"SELECT",
)  # fmt: skip
_NUMBER: Final = (
    b"DEL", b"UNLINK", b"INCR", b"INCRBY", b"DECR", b"DECRBY", b"APPEND", b"SETRANGE", b"SETBIT", b"SETNX", b"LPUSH",
    b"RPUSH", b"LPUSHX", b"RPUSHX", b"LINSERT", b"LREM", b"HSET", b"HSETNX", b"HSETEX", b"HDEL", b"HINCRBY", b"SADD",
    b"SREM", b"SMOVE", b"ZREM", b"ZREMRANGEBYRANK", b"ZREMRANGEBYSCORE", b"ZREMRANGEBYLEX", b"GEOADD", b"PEXPIREAT",
    b"PERSIST", b"RENAMENX", b"COPY", b"MOVE", b"PFADD", b"SINTERSTORE", b"SUNIONSTORE", b"SDIFFSTORE", b"ZUNIONSTORE",
    b"ZINTERSTORE", b"ZDIFFSTORE", b"ZRANGESTORE", b"GEOSEARCHSTORE", b"BITOP", b"XDEL", b"XACK", b"XTRIM", b"SORT",
    b"GEORADIUS", b"GEORADIUSBYMEMBER", b"DBSIZE",
)  # fmt: skip
_TEXT: Final = "a text"
_NIL: Final = "nil"
_ARRAY: Final = "an array"
_SOME_NUMBER: Final = "a number"
# Of what is in neither: scripts, JSON, commands unknown here, any answer but an error will do.
_EXPECTED: Final[Mapping[bytes, tuple[str, ...]]] = {
    **dict.fromkeys(_STATUS, ("`OK`",)),
    **dict.fromkeys(_NUMBER, (_SOME_NUMBER,)),
    **dict.fromkeys((b"GETSET", b"GETDEL", b"LMOVE", b"RPOPLPUSH", b"XADD"), (_TEXT, _NIL)),
    **dict.fromkeys((b"LPOP", b"RPOP"), (_TEXT, _NIL, _ARRAY)),
    **dict.fromkeys((b"LMPOP", b"ZMPOP"), (_ARRAY, _NIL)),
    **dict.fromkeys(
        (b"ZPOPMIN", b"ZPOPMAX", b"XCLAIM", b"XAUTOCLAIM", b"BITFIELD", b"HPEXPIREAT", b"HPERSIST"), (_ARRAY,)
    ),
    b"ZADD": (_SOME_NUMBER, _TEXT, _NIL),
    b"ZINCRBY": (_TEXT,),
    b"XGROUP": ("`OK`", _SOME_NUMBER),
    b"GET": (_TEXT, _NIL),
    b"SMEMBERS": (_ARRAY,),
}


class _Heads(dict[bytes, object]):
    def __missing__(self, head: bytes) -> object:
        return LOOK


def _heads() -> _Heads:
    """`command[HEAD]` → the answer, or its type, of those commands that have just one: a look at eight bytes tells."""
    found = _Heads()
    for names, answer in ((_STATUS, _OK), (_NUMBER, int)):
        for name in names:
            for head in _heads_of(name):
                if found.setdefault(head, answer) != answer:
                    found[head] = LOOK
    for name in _EXPECTED:
        if name not in _STATUS and name not in _NUMBER:
            found.update(dict.fromkeys(_heads_of(name), LOOK))
    return found


def _heads_of(name: bytes) -> list[bytes]:
    return [(b"*%d\r\n$%d\r\n%b\r\n" % (count, len(name), name))[HEAD] for count in (2, 10, 100)]


HEAD: Final = slice(4, 12)
LOOK: Final = object()  # eight bytes do not tell
OF_HEAD: Final = _heads()
_HEAD_OF: Final = itemgetter(HEAD)


def all_as_due(commands: Sequence[bytes], results: Sequence[object]) -> bool:
    """Whether each of these results is the one that its command has. False: they have to be looked at one by one."""
    kinds = [int if type(result) is int else result for result in results]
    return kinds == list(map(OF_HEAD.__getitem__, map(_HEAD_OF, commands)))


def check(command: bytes, reply: object) -> None:
    """`reply` is no error. Raises WrongAnswer when it is none of what this command (as sent) is answered."""
    answer = OF_HEAD[command[HEAD]]
    if type(reply) is answer or reply == answer:
        return
    name = name_of_command(command)
    expected = _EXPECTED.get(name)
    if expected is None:
        if isinstance(reply, (bytes, int, list)) or reply is None:
            return
        expected = ("a text", "a number", "an array")
    if not any(_is(reply, kind) for kind in expected):
        raise WrongAnswer(printable(name, 40), reply, " or ".join(expected))


def name_of_command(command: bytes) -> bytes:
    """Its name, as sent."""
    begin = command.find(b"\r\n", command.find(b"$")) + 2
    return command[begin : command.find(b"\r\n", begin)]


def _is(reply: object, kind: str) -> bool:
    if kind == _SOME_NUMBER:
        return type(reply) is int
    if kind == _TEXT:
        return isinstance(reply, bytes)
    if kind == _NIL:
        return reply is None
    if kind == _ARRAY:
        return isinstance(reply, list)
    return reply == _OK


# Transactions


def transaction_refused(what: str, error: str) -> Denied | None:
    """Of an error in answer to MULTI or EXEC: what says that it will always be so, None when it may pass."""
    if verdict(error) in (Verdict.FATAL, Verdict.REFUSED):
        return Denied(f"refuses {what}: {printable(cause_of(error).encode('utf-8', 'backslashreplace'), 160)}")
    return None


def results_of(what: str, reply: object, expected: int) -> list[object]:
    """EXEC's answer. Raises WrongAnswer when it is no array of so many."""
    if not isinstance(reply, list) or len(reply) != expected:
        raise WrongAnswer(what, reply, f"an array of {expected}")
    return reply


def values_of(name: str, what: str, replies: Sequence[object]) -> list[bytes | None]:
    """The answers to GETs. Raises TargetLost (it can't now), TargetError."""
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise refusal(name, what, str(reply))
        if reply is not None and not isinstance(reply, bytes):
            raise wrong_answer(name, WrongAnswer(what, reply, "a text or nil"))
    return list(replies)  # type: ignore[arg-type]


def check_each(name: str, what: str, commands: Sequence[bytes], replies: Sequence[object]) -> None:
    """What these commands were answered, each by itself. Raises TargetLost (it can't now), TargetError."""
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, hiredis.ReplyError):
            raise refusal(name, what, str(reply))
        try:
            check(command, reply)
        except WrongAnswer as why:
            raise wrong_answer(name, why) from None


def check_transaction(name: str, what: str, commands: Sequence[bytes], replies: Sequence[object]) -> None:
    """What MULTI, these commands and EXEC were answered: they ran. Raises TargetLost (it can't now), TargetError."""
    begun, *queued, ended = replies
    # The first error says why; EXEC only says that there was one.
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise refusal(name, what, str(reply))
    try:
        if begun != b"OK":
            raise WrongAnswer("MULTI", begun, "`OK`")
        for reply in queued:
            if reply != QUEUED:
                raise WrongAnswer(f"a command in a transaction ({what})", reply, "`QUEUED`")
        if ended is None:
            raise TargetLost(f"target {name} did not run the transaction of {what}")
        results = results_of("EXEC", ended, len(commands))
    except WrongAnswer as why:
        raise wrong_answer(name, why) from None
    check_each(name, what, commands, results)


def refusal(name: str, what: str, error: str) -> TargetError:
    """TargetLost where it may be another time."""
    later = verdict(error) not in (Verdict.FATAL, Verdict.REFUSED) and code_of(error) not in ("OOM", "EXECABORT")
    text = printable(error.encode("utf-8", "backslashreplace"), 200)
    return (TargetLost if later else TargetError)(f"{_target(name)} refused {what}: {text}")
