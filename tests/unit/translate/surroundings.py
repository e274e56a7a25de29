"""What the translators are given in these tests: targets, a record of refusals, and short ways to call them."""

from __future__ import annotations

from collections.abc import Sequence

from df2redis_tui.dragonfly.records import OP_COMMAND, Entry
from df2redis_tui.errors import NotCopied
from df2redis_tui.pipeline.block import Block, Item, Reread
from df2redis_tui.translate.capabilities import JSON_WRITES, Capabilities, capabilities_of
from df2redis_tui.translate.expiry import DeferredExpiry
from df2redis_tui.translate.journal import JournalTranslator
from df2redis_tui.translate.ownership import Ownership
from df2redis_tui.translate.refusals import Refusal
from df2redis_tui.translate.snapshot import SnapshotTranslator

NOW = 1_800_000_000_000
GRACE = 60_000

REDIS62 = capabilities_of({"redis_version": "6.2.14"}, (), False)
REDIS70 = capabilities_of({"redis_version": "7.0.15"}, (), False)
REDIS74 = capabilities_of({"redis_version": "7.4.1"}, (), False)
REDIS80 = capabilities_of({"redis_version": "8.0.2"}, JSON_WRITES, False)
VALKEY9 = capabilities_of({"redis_version": "7.2.4", "valkey_version": "9.1.2", "server_name": "valkey"}, (), False)
CLUSTER = capabilities_of({"redis_version": "7.0.15"}, (), True)


class Refusals:
    """The policy `skip`, or `stop` when told so."""

    def __init__(self, stop: bool = False) -> None:
        self.stop = stop
        self.seen: list[Refusal] = []
        self.keys: set[tuple[int, bytes]] = set()

    def refuse(self, refusal: Refusal) -> None:
        self.seen.append(refusal)
        if refusal.of_key and refusal.on_target != "incomplete":
            self.keys.add((refusal.db, refusal.key))
        if self.stop:
            raise NotCopied(refusal.reason)

    def refused(self, db: int, key: bytes) -> bool:
        return (db, key) in self.keys

    @property
    def any_refused(self) -> bool:
        return bool(self.keys)

    def copied(self, db: int, key: bytes) -> None:
        self.keys.discard((db, key))


class Pending:
    """Keys that wait for a re-read, whatever the LSN."""

    def __init__(self, *keys: bytes) -> None:
        self.keys = set(keys)

    @property
    def active(self) -> bool:
        return bool(self.keys)

    def covers(self, db: int, key: bytes, lsn: int) -> bool:
        return key in self.keys


def parse(encoded: bytes) -> list[bytes]:
    """The arguments of one RESP array; fails when anything is left over."""
    head, _, rest = encoded.partition(b"\r\n")
    assert head[:1] == b"*"
    args = []
    for _ in range(int(head[1:])):
        length, _, rest = rest.partition(b"\r\n")
        assert length[:1] == b"$"
        args.append(rest[: int(length[1:])])
        assert rest[int(length[1:]) :][:2] == b"\r\n"
        rest = rest[int(length[1:]) + 2 :]
    assert not rest
    return args


def words(command: str | Sequence[bytes]) -> list[bytes]:
    return [word.encode() for word in command.split()] if isinstance(command, str) else list(command)


def entry(command: str | Sequence[bytes], db: int = 0, txid: int = 0, op: int = OP_COMMAND) -> Entry:
    return Entry(op, db, txid, words(command))


def journal(
    caps: Capabilities = REDIS70,
    *,
    refusals: Refusals | None = None,
    member_ttl: str = "drop",
    flows: int = 3,
    flow: int = 0,
    **more: object,
) -> JournalTranslator:
    options: dict[str, object] = {"expiry": DeferredExpiry(), "ownership": Ownership(flows), "open_keys": set()} | more
    return JournalTranslator(
        caps, refusals or Refusals(), flow=flow, route=caps.cluster, member_ttl=member_ttl, **options
    )  # type: ignore[arg-type]


def items(
    translator: JournalTranslator,
    *entries: Entry,
    lsn: int = 100,
    counted: bool = True,
    pending: Pending | None = None,
    replayed_until: int = 0,
) -> list[Item]:
    return list(
        translator.translate(
            entries,
            lsn,
            counted=counted,
            now_ms=NOW,
            grace_ms=GRACE,
            arrived=0.0,
            pending=pending,
            replayed_until=replayed_until,
        )
    )


def outcome(found: Sequence[Item]) -> list[str]:
    """Commands as text, `REREAD keys` and the names of global commands, in order."""
    out = []
    for item in found:
        if isinstance(item, Block):
            out += [b" ".join(parse(c)).decode("latin-1") for c in item.commands]
        elif isinstance(item, Reread):
            out.append("REREAD " + b" ".join(item.keys).decode())
        else:
            out.append("GLOBAL " + b" ".join(item.args).decode())
    return out


def snapshot(caps: Capabilities = REDIS70, *, refusals: Refusals | None = None, **more: object) -> SnapshotTranslator:
    options: dict[str, object] = {"member_ttl": "drop", "expiry": DeferredExpiry(), "route": caps.cluster} | more
    return SnapshotTranslator(caps, refusals or Refusals(), flow=0, **options)  # type: ignore[arg-type]
