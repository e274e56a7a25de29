"""Recorded flows, fed to the decoders in any split, and their records in a form that no split changes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.journal import JournalDecoder
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder

HERE = Path(__file__).parents[2] / "captures"

Splitter = Callable[[bytes], Iterable[bytes]]


@dataclass(frozen=True)
class RecordedFlow:
    """`start_lsn` is what a partial sync asked for, None in a full sync; `end_lsn` what the server said at the end."""

    path: Path
    number: int
    token: bytes
    start_lsn: int | None
    end_lsn: int

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def full(self) -> bool:
        return self.start_lsn is None

    def read(self) -> bytes:
        return _read(self.path)


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


def recorded_flows() -> list[RecordedFlow]:
    """The flows of the repository's recordings, and of those in the folder REPLAY_CAPTURES names."""
    sessions: dict[str, Path] = {}
    for root in (HERE, Path(os.environ.get("REPLAY_CAPTURES", HERE))):
        for path in sorted(root.glob("*/*session.json")):
            sessions.setdefault(f"{path.parent.name}/{path.name}", path)
    return [flow for path in sessions.values() for flow in _flows(path)]


def _flows(session_path: Path) -> Iterator[RecordedFlow]:
    session = json.loads(session_path.read_text())
    prefix = session_path.name.removesuffix("session.json")
    for step in session["transcript"]:
        if step["conn"].startswith("flow-") and step["command"][:2] == ["DFLY", "FLOW"]:
            number = int(step["conn"].removeprefix("flow-"))
            answer, token = step["reply"]
            yield RecordedFlow(
                session_path.with_name(f"{prefix}flow-{number}.bin"),
                number,
                token.encode(),
                session["requested_lsn"][number] if answer == "PARTIAL" else None,
                session["lsn_at_end"][number],
            )


def decode_snapshot(decoder: SnapshotDecoder, pieces: Iterable[bytes]) -> list[r.SnapshotRecord]:
    """All records; bytes behind the end stay in the decoder's `leftover`."""
    found: list[r.SnapshotRecord] = []
    for piece in pieces:
        decoder.receive(piece)
        while (block := decoder.next_block()) is not None:
            found += block
    return found


def decode_journal(decoder: JournalDecoder, pieces: Iterable[bytes], limit: int = 512 * 1024) -> list[r.Entry]:
    found: list[r.Entry] = []
    for piece in pieces:
        decoder.receive(piece)
        while (block := decoder.next_block(limit)) is not None:
            found += block
    return found


def normalised(found: Iterable[r.SnapshotRecord]) -> list[object]:
    """Runs of strings joined, and each big value as one item where it ends: blocks and parts no longer show."""
    flat: list[object] = []
    open_values: dict[int, tuple[r.ValueStart, list[object]]] = {}
    for record in found:
        if isinstance(record, r.ValueStart):
            open_values[record.id] = record, []
        elif isinstance(record, r.ValuePart):
            open_values[record.id][1].extend(record.elements)
        elif isinstance(record, r.ValueEnd):
            start, elements = open_values.pop(record.id)
            if start.type in (r.STRING, r.JSON, r.JSON_OLD) or r.KIND[start.type] in ("bloom", "cms", "topk", "cuckoo"):
                elements = [b"".join(e for e in elements if isinstance(e, bytes))]
            flat.append(("value", start.db, start.key, start.expire_ms, start.type, elements))
        elif isinstance(record, r.Strings):
            flat += [("string", record.db, *item) for item in record.items]
        else:
            flat.append(record)
    assert not open_values, "every ValueStart has its ValueEnd"
    return flat


def counted(entries: Iterable[r.Entry]) -> int:
    """How many LSNs the entries take (§4.2: LSN records take none)."""
    return sum(entry.op != r.OP_LSN for entry in entries)


def whole(data: bytes) -> list[bytes]:
    return [data]


def bytewise(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))
