"""Runs cases on a source, and judges each of them by the keys that bear its name."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

import redis

from df2redis_tui.verify.compare import Difference
from tests.real.cases import Case

REPEATS = 4  # under other names, for keys in one shard and in several
_PLACEHOLDER = re.compile(r"@(\w+)")
_TIME = re.compile(r"(S|MS)\((\d+)\)")
_DUMP = re.compile(r"DUMP\(@(\w+)\)")


def key(case: Case, phase: str, repeat: int, name: str) -> bytes:
    return f"{case.name}/{phase}{repeat}/{name}".encode()


def name_of(key_: bytes) -> tuple[str, str]:
    """(case, key in the case)."""
    parts = key_.decode("utf-8", "replace").split("/")
    return (parts[0], parts[2]) if len(parts) == 3 else ("", "")


def play(client: redis.Redis, cases: Iterable[Case], phase: str) -> dict[str, str]:
    """Run every case on one connection; returns name → what the source refused."""
    refused: dict[str, str] = {}
    connection = client.connection_pool.get_connection()
    try:
        for repeat in range(REPEATS):
            for case in cases:
                for command in case.commands:
                    try:
                        _send(connection, [_fill(connection, case, phase, repeat, word) for word in command])
                    except redis.ResponseError as error:
                        refused[case.name] = f"{' '.join(command)}: {error}"
    finally:
        client.connection_pool.release(connection)
    return refused


def _send(connection: redis.Connection, words: Sequence[bytes]) -> object:
    connection.send_command(*words)
    reply = connection.read_response(disable_decoding=True)
    for part in reply if isinstance(reply, list) else ():
        if isinstance(part, redis.ResponseError):
            raise part
    return reply


def _fill(connection: redis.Connection, case: Case, phase: str, repeat: int, word: str) -> bytes:
    if found := _DUMP.fullmatch(word):
        payload = _send(connection, [b"DUMP", key(case, phase, repeat, found[1])])
        assert isinstance(payload, bytes)
        return payload
    if found := _TIME.fullmatch(word):
        return b"%d" % ((time.time() + int(found[2])) * (1 if found[1] == "S" else 1000))
    found = _PLACEHOLDER.fullmatch(word)
    return key(case, phase, repeat, found[1]) if found else word.encode()


def verdicts(
    cases: Iterable[Case], differences: Sequence[Difference], dead_letters: Sequence[bytes]
) -> dict[str, list[str]]:
    """Case → what is wrong with it."""
    wrong: dict[str, list[str]] = {case.name: [] for case in cases}
    by_name = {case.name: case for case in cases}
    for difference in differences:
        name, part = name_of(difference.key)
        case = by_name.get(name)
        if case is None or not (case.dead or part in case.excused):
            wrong.setdefault(name, []).append(str(difference))
    for dead in dict.fromkeys(dead_letters):
        name, _ = name_of(dead)
        case = by_name.get(name)
        if case is None or not case.dead:
            wrong.setdefault(name, []).append(f"dead letter of {dead!r}")
    for case in cases:
        if case.dead and not any(name_of(dead)[0] == case.name for dead in dead_letters):
            wrong[case.name].append("no dead letter says that it was not copied")
    return wrong
