"""The table: what a peer may be asked, and what it may answer instead."""

from __future__ import annotations

from tests.hostile.odd_peer import Odd, Step


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def array(*items: bytes) -> bytes:
    return b"*%d\r\n" % len(items) + b"".join(items)


ANY = [
    # of RESP3, for which nobody asked
    Odd("map", b"%1\r\n+a\r\n:1\r\n"),
    Odd("set", b"~1\r\n+a\r\n"),
    Odd("null", b"_\r\n"),
    Odd("boolean", b"#t\r\n"),
    Odd("double", b",1.5\r\n"),
    Odd("push", b">2\r\n+message\r\n+x\r\n"),
    Odd("verbatim", b"=8\r\ntxt:PONG\r\n"),
    # lengths
    Odd("huge array", b"*4294967295\r\n", "silence"),
    Odd("large array", b"*100000000\r\n", "silence"),
    Odd("huge bulk", b"$4294967295\r\n", "silence"),
    Odd("length of 20 digits", b"$99999999999999999999\r\n"),
    Odd("length below nil", b"*-5\r\n"),
    Odd("deep", b"*1\r\n" * 100_000 + b":1\r\n"),
    Odd("long bulk", b"$3\r\nabcdefgh\r\n"),
    # other kinds
    Odd("OK", b"+OK\r\n"),
    Odd("PONG", b"+PONG\r\n"),
    Odd("QUEUED", b"+QUEUED\r\n"),
    Odd("empty status", b"+\r\n"),
    Odd("0", b":0\r\n"),
    Odd("1", b":1\r\n"),
    Odd("-1", b":-1\r\n"),
    Odd("largest integer", b":9223372036854775807\r\n"),
    Odd("integer of 30 digits", b":" + b"9" * 30 + b"\r\n"),
    Odd("no integer", b":abc\r\n"),
    Odd("nil", b"$-1\r\n"),
    Odd("nil array", b"*-1\r\n"),
    Odd("empty array", b"*0\r\n"),
    Odd("empty string", bulk(b"")),
    Odd("binary string", bulk(bytes(range(256)))),
    Odd("terminal codes", bulk(b"\x1b[2J\x1b]0;x\x07")),
    Odd("100 KB", bulk(b"x" * 100_000)),
    Odd("mixed array", array(b":1\r\n", b"$-1\r\n", b"*0\r\n", b"+x\r\n")),
    Odd("array of errors", array(b"-ERR a\r\n", b"-ERR b\r\n")),
    Odd("array of arrays", array(array(b":1\r\n"), array(array(b"$-1\r\n")))),
    # errors
    Odd("error", b"-ERR no\r\n"),
    Odd("error without text", b"-\r\n"),
    Odd("no permission", b"-NOPERM this user has no permissions to run it\r\n"),
    Odd("loading", b"-LOADING Redis is loading the dataset in memory\r\n"),
    Odd("moved", b"-MOVED 0 " + b"h" * 300 + b":99999999\r\n"),
    Odd("error of 60 KB", b"-ERR " + b"\x1b[31m\xff" * 10_000 + b"\r\n"),
    # no answer at all
    Odd("HTTP", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "close"),
    Odd("TLS alert", b"\x15\x03\x01\x00\x02\x02\x0a", "close"),
    Odd("zeros", bytes(1000)),
    Odd("line without an end", b"+" + b"x" * 200_000, "silence"),
    Odd("closed", b"", "close"),
    Odd("cut string", b"$1000\r\nabc", "close"),
    Odd("cut array", b"*3\r\n+a\r\n", "close"),
    Odd("cut header", b"*3", "close"),
    Odd("silence", b"", "silence"),
    Odd("half an array", b"*2\r\n+a\r\n", "silence"),
]

GREETING = [
    Odd("no FLOWs", array(b"+" + b"a" * 40 + b"\r\n", b"+SYNC1\r\n", b":0\r\n", b":5\r\n")),
    Odd("many FLOWs", array(b"+" + b"a" * 40 + b"\r\n", b"+SYNC1\r\n", b":1025\r\n", b":5\r\n")),
    Odd("FLOWs below 0", array(b"+" + b"a" * 40 + b"\r\n", b"+SYNC1\r\n", b":-1\r\n", b":5\r\n")),
    Odd("FLOWs as a string", array(b"+" + b"a" * 40 + b"\r\n", b"+SYNC1\r\n", b"+two\r\n", b":5\r\n")),
    Odd("bad id", array(b"+\xff\xfe\r\n", b"+SYNC1\r\n", b":1\r\n")),
    Odd("bad session", array(b"+" + b"a" * 40 + b"\r\n", b"+" + b"S" * 60_000 + b"\r\n", b":1\r\n")),
    Odd("version as a string", array(b"+" + b"a" * 40 + b"\r\n", b"+SYNC1\r\n", b":1\r\n", b"+x\r\n")),
]
INFO = [
    Odd("no lines", bulk(b"# Server")),
    Odd("cut", bulk(b"# Server\r\nredis_version:7.")),
    Odd("no numbers", bulk(b"redis_version:x\r\nloading:maybe\r\nused_memory:many\r\ndb0:keys=all\r\n")),
    Odd("huge numbers", bulk(b"redis_version:" + b"9" * 5000 + b"\r\nused_memory:" + b"9" * 5000 + b"\r\n")),
    Odd("databases", bulk(b"redis_version:7.4.0\r\n" + b"".join(b"db%d:keys=9,x\r\n" % (7**n) for n in range(20)))),
    Odd("controls", bulk(b"redis_version:7.4.0\x1b[2J\r\nrole:master\x00\r\n\xff:\xfe\r\n")),
]
OFFSETS = [
    Odd("too few", array(b":1\r\n")),
    Odd("too many", array(b":1\r\n", b":1\r\n", b":1\r\n")),
    Odd("below 0", array(b":-1\r\n", b":-1\r\n")),
    Odd("strings", array(b"+1\r\n", b"+1\r\n")),
    Odd("stale", array(b":0\r\n", b":0\r\n")),
    Odd("far ahead", array(b":9223372036854775807\r\n", b":1\r\n")),
]
FLOWS = [
    Odd("no token", array(b"+FULL\r\n")),
    Odd("short token", array(b"+FULL\r\n", b"+abc\r\n")),
    Odd("other word", array(b"+MAYBE\r\n", b"+" + b"f" * 40 + b"\r\n")),
    Odd("partial that nobody asked for", array(b"+PARTIAL\r\n", b"+" + b"f" * 40 + b"\r\n")),
    Odd("full, then garbage", array(b"+FULL\r\n", b"+" + b"f" * 40 + b"\r\n") + b"garbage" * 20),
]
USERS = [
    Odd("no users", array(bulk(b""), bulk(b"user"), bulk(b"\xff\xfe"))),
    Odd("a namespace with controls", array(bulk(b"user \x1b[2J NAMESPACE:\x1b[2J"))),
]
VALUES = [
    Odd("no value", array(b"$-1\r\n", b":-2\r\n", b":-2\r\n")),
    Odd("short value", array(bulk(b"abc"), b":-1\r\n", b":-1\r\n")),
    Odd("unknown type", array(bulk(b"\xc9" + bytes(20)), b":-1\r\n", b":-1\r\n")),
    Odd("cut value", array(bulk(b"\x02\x05\x01a" + bytes(10)), b":-1\r\n", b":-1\r\n")),
    Odd("TTL below", array(bulk(b"\x00\x01v" + bytes(10)), b":-7\r\n", b":-7\r\n")),
    Odd("TTL as a string", array(bulk(b"\x00\x01v" + bytes(10)), b"+1\r\n", b"+1\r\n")),
    Odd("huge TTL", array(bulk(b"\x00\x01v" + bytes(10)), b":9223372036854775807\r\n", b":9223372036854775807\r\n")),
    Odd("two of three", array(bulk(b"\x00\x01v" + bytes(10)), b":-1\r\n")),
]
MODULES = [
    Odd("module without a name", array(array(bulk(b"ver"), b":1\r\n"))),
    Odd("cut module", array(array(bulk(b"name")))),
    Odd("module as a string", array(bulk(b"ReJSON"))),
    Odd("odd name", array(array(bulk(b"name"), bulk(b"\xff\x1b[2J" * 1000)))),
]
SETTINGS = [
    Odd("no number", array(bulk(b"proto-max-bulk-len"), bulk(b"many"))),
    Odd("number of 5000 digits", array(bulk(b"proto-max-bulk-len"), bulk(b"9" * 5000))),
    Odd("three", array(bulk(b"a"), bulk(b"1"), bulk(b"b"))),
]
PAGES = [
    Odd("no keys", array(bulk(b"0"), b"$-1\r\n")),
    Odd("keys of other kinds", array(bulk(b"0"), array(b":1\r\n", b"$-1\r\n", array()))),
    Odd("cursor as an integer", array(b":0\r\n", array())),
    Odd("odd cursor", array(bulk(b"abc"), array())),
    Odd("the same cursor", array(bulk(b"17"), array())),
    Odd("huge cursor", array(bulk(b"9" * 1000), array())),
]
SLOTS = [
    Odd("no rows", array(b":1\r\n", b"$-1\r\n", array())),
    Odd("host that is no ASCII", array(array(b":0\r\n", b":16383\r\n", array(bulk("é.example".encode()), b":1\r\n")))),
    Odd("host of 100 KB", array(array(b":0\r\n", b":16383\r\n", array(bulk(b"h" * 100_000), b":1\r\n")))),
    Odd("host of a long label", array(array(b":0\r\n", b":16383\r\n", array(bulk(b"h" * 200), b":1\r\n")))),
    Odd("host with a NUL", array(array(b":0\r\n", b":16383\r\n", array(bulk(b"127.0.0.1\x00"), b":1\r\n")))),
    Odd("port 0", array(array(b":0\r\n", b":16383\r\n", array(bulk(b"127.0.0.1"), b":0\r\n")))),
    Odd("nobody there", array(array(b":0\r\n", b":16383\r\n", array(bulk(b"127.0.0.1"), b":1\r\n")))),
    Odd("slots backwards", array(array(b":16383\r\n", b":0\r\n", array(bulk(b"127.0.0.1"), b":1\r\n")))),
    Odd("slots above", array(array(b":0\r\n", b":99999\r\n", array(bulk(b"127.0.0.1"), b":1\r\n")))),
    Odd("one slot", array(array(b":0\r\n", b":0\r\n", array(bulk(b"127.0.0.1"), b":1\r\n")))),
]
STATES = [Odd("down", bulk(b"cluster_state:fail\r\n")), Odd("odd state", bulk(b"cluster_state:\x1b[2J\r\n"))]
CLIENTS = [
    Odd("odd clients", bulk(b"id=x name=df2redis\n\xff\xfe=\x00\n===\nid=-1\n" * 10)),
]
JSONS = [
    Odd(name, bulk(data))
    for name, data in {
        "no JSON": b"{",
        "list": b"[]",
        "number": b"1",
        "string": b'"x"',
        "null": b"null",
        "empty": b"{}",
        "deep": b"[" * 100_000,
        "deep object": b'{"a":' * 100_000,
        "infinite": b'{"clean_up":1e999,"started":1e999,"existing":1e999,"flows":1e999,"lsn":1e999,"master":"a",'
        b'"flow":0,"run":"a","seq":0}',
        "not a number": b'{"clean_up":false,"started":NaN,"existing":NaN,"master":"a","flows":2,"flow":0,"lsn":NaN,'
        b'"run":"a","seq":0}',
        "long integer": b'{"clean_up":false,"started":%b,"existing":0,"copied":%b}' % (b"9" * 4000, b"9" * 4000),
        "longest integer": b'{"clean_up":false,"started":%b,"existing":0}' % (b"9" * 9000),
        "below 0": b'{"clean_up":false,"started":-1,"existing":-1,"flows":-1,"copied":-1,"master":"a","flow":-1,'
        b'"lsn":-1,"run":"a","seq":-1,"batches":-9}',
        "other kinds": b'{"clean_up":[],"started":{},"existing":"x","master":[],"flows":"x","flow":{},"lsn":"x",'
        b'"run":1,"seq":[]}',
        "no Unicode": b'{"clean_up":false,"refusal":"\xff\xfe"}',
        "controls in names": b'{"host":"\\u001b[2J","pid":1,"run":"\\u001b[2J","started":1}',
        "no number of a process": b'{"host":"a","pid":1e999,"run":"x","started":[]}',
        "controls": b'{"clean_up":false,"started":1,"existing":0,"refusal":"\\u001b[2J\\ud800","master":"\\u001b[2J",'
        b'"flows":2,"flow":0,"lsn":5,"run":"a","seq":0}',
    }.items()
]

SOURCE: list[tuple[Step, list[Odd]]] = [
    (Step(("AUTH",)), []),
    (Step(("PING",)), []),
    (Step(("INFO", "SERVER")), INFO),
    (Step(("REPLCONF", "listening-port")), []),
    (Step(("REPLCONF", "capa")), GREETING),
    (Step(("REPLCONF", "CLIENT-ID")), []),
    (Step(("REPLCONF", "CLIENT-VERSION")), []),
    (Step(("INFO", "KEYSPACE")), INFO),
    (Step(("ACL", "LIST")), USERS),
    (Step(("CLUSTER", "SLOTS")), SLOTS),
    (Step(("DFLY", "FLOW")), FLOWS),
    (Step(("DFLY", "SYNC")), []),
    (Step(("DFLY", "STARTSTABLE")), []),
    (Step(("DFLY", "REPLICAOFFSET")), OFFSETS),
    (Step(("DFLY", "REPLICAOFFSET"), 2), OFFSETS),
    (Step(("EXISTS",)), []),
    (Step(("SELECT",)), []),
    (Step(("MEMORY", "USAGE")), []),
    (Step(("MULTI",)), []),
    (Step(("DUMP",)), []),
    (Step(("EXEC",)), VALUES),
]
TARGET: list[tuple[Step, list[Odd]]] = [
    (Step(("AUTH",)), []),
    (Step(("PING",)), []),
    (Step(("PING",), 1), []),
    (Step(("INFO",)), INFO),
    (Step(("INFO", "KEYSPACE")), INFO),
    (Step(("MODULE", "LIST")), MODULES),
    (Step(("COMMAND", "INFO")), []),
    (Step(("CONFIG", "GET")), SETTINGS),
    (Step(("SET", "*:lease")), []),
    (Step(("GET", "*:lease")), JSONS),
    (Step(("GET", "*:job")), JSONS),
    (Step(("SET", "*:job")), []),
    (Step(("CLIENT", "LIST")), CLIENTS),
    (Step(("CLIENT", "SETNAME")), []),
    (Step(("SCAN",)), PAGES),
    (Step(("SELECT",)), []),
    (Step(("GET", "*:flow:*")), JSONS),
    (Step(("GET", "*:batches:*")), []),
    (Step(("SMEMBERS", "*:rereads:*")), []),
    (Step(("MULTI",)), []),
    (Step(("EXEC",)), []),
    (Step(("PEXPIRE", "*:lease")), []),
]
CLUSTER: list[tuple[Step, list[Odd]]] = [
    (Step(("CLUSTER", "SLOTS")), SLOTS),
    (Step(("CLUSTER", "SLOTS"), 1), SLOTS),
    (Step(("CLUSTER", "INFO")), STATES),
    (Step(("INFO", "ERRORSTATS")), INFO),
    (Step(("SCAN",)), PAGES),
    (Step(("CLIENT", "LIST")), CLIENTS),
]
Case = tuple[Step, Odd]


def cases(steps: list[tuple[Step, list[Odd]]]) -> list[Case]:
    return [(step, odd) for step, of_step in steps for odd in (*ANY, *of_step)]
