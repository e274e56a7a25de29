"""Answers about the data: what a source says of itself, and of keys that are read again."""

from __future__ import annotations

from tests.support.player.resp import encode
from tests.support.player.script import Dump, Script
from tests.support.player.session import Connection


def read_again(connection: Connection, name: str, argv: list[bytes], dump: Dump) -> bytes:
    """MULTI, DUMP, PTTL, EXEC of a source whose values are known."""
    if name == "SELECT":
        connection.db = int(argv[1])
        return b"+OK\r\n"
    if name == "MULTI":
        connection.queued = []
        return b"+OK\r\n"
    queued = connection.queued
    if queued is None:
        return b"-ERR EXEC without MULTI\r\n"
    if name != "EXEC":
        queued.append(argv)
        return b"+QUEUED\r\n"
    connection.queued = None
    replies = b""
    for command, key in queued:
        found = dump(connection.db, key)
        if command.upper() == b"DUMP":
            replies += encode(found[0]) if found else b"$-1\r\n"
        else:
            replies += encode(found[1] if found else -2)
    return b"*%d\r\n%s" % (len(queued), replies)


def ordinary(script: Script, name: str, words: list[str]) -> bytes:
    """What is no part of replication."""
    match name:
        case "PING":
            return b"+PONG\r\n"
        case "SELECT" | "CLIENT" | "QUIT" | "READONLY":
            return b"+OK\r\n"
        case "DBSIZE":
            return encode(script.databases.get(0, 0))
        case "ROLE":
            return encode(["master", []])
        case "INFO":
            return encode(_info(script, [w.lower() for w in words[1:]]).encode())
        case "CONFIG":
            return encode([])
        case "MULTI" | "DUMP" | "PTTL" | "EXEC" | "GET" | "TYPE" | "SCAN" | "RANDOMKEY" | "EXISTS":
            return b"-ERR the source is a recording, it holds no data\r\n"
    return f"-ERR unknown command `{name}`\r\n".encode()


def _info(script: Script, sections: list[str]) -> str:
    keyspace = "".join(f"db{db}:keys={keys},expires=0,avg_ttl=-1\r\n" for db, keys in script.databases.items())
    parts = {
        "server": f"redis_version:{script.redis_version}\r\ndragonfly_version:{script.version}\r\n",
        "replication": f"role:master\r\nconnected_slaves:0\r\nmaster_replid:{script.master_id}\r\n",
        "memory": "used_memory:1000000\r\nmaxmemory:8000000000\r\n",
        "keyspace": keyspace,
    }
    wanted = [s for s in parts if not sections or s in sections or sections[0] in ("all", "everything", "default")]
    return "\r\n".join(f"# {s.capitalize()}\r\n{parts[s]}" for s in wanted)
