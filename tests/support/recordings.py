"""Recorded sessions of real Dragonfly servers, as the player and the comparison need them."""

from __future__ import annotations

import gzip
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.shifted import Shift, recorded_at

HERE = Path(__file__).parents[1]
FULL_SYNC_END = b"\xc8" + bytes(8)  # opcode 200; never inside a blob in these recordings
TOKEN_LENGTH = 40
AGO = 60  # seconds; none of the scenarios took longer: what expired on the source meanwhile is due when it is played


@dataclass(frozen=True, slots=True)
class RecordedFlow:
    """What one FLOW delivered, and where its phases are (byte offsets into `stream`)."""

    stream: bytes
    token: str
    granted: str  # FULL or PARTIAL
    full_sync_end: int  # behind opcode 200; 0 after PARTIAL
    cut: int  # what had come when STARTSTABLE was sent
    stable_from: int  # behind the 40-byte token; 0 after PARTIAL
    lsn_start: int  # next LSN before the stable writes, or the one asked for
    lsn_end: int  # next LSN at the end


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded session. `name` is the folder's, with `/resume` for the session that came after."""

    name: str
    directory: Path
    version: str  # as INFO says it: df-v1.40.1
    redis_version: str
    master_id: str
    sync_id: str
    capa_reply: tuple[str | int, ...]
    flows: tuple[RecordedFlow, ...]
    resumed: bool
    shift: Shift

    @property
    def expiry_known_to(self) -> int:
        """ms by which `expected` may be wrong about an expiry: without PEXPIRETIME it was reckoned from the rest."""
        return 5 if self.version.startswith("df-v1.15.") else 0

    def expected(self) -> dict[str, Any]:
        """What the source held at the end, in the form of the file: {db: {base64 key: entry}}."""
        return self.shift.expected(_expected(self.directory, self.resumed))


def folders() -> list[Path]:
    """Every folder with a recording: those of $REPLAY_CAPTURES, next to the checkout, and the repository's own.

    The repository's copies may be cut down, so the others come first.
    """
    found: dict[str, Path] = {}
    elsewhere = os.environ.get("REPLAY_CAPTURES")
    for root in (*([Path(elsewhere)] if elsewhere else []), HERE.parent.parent / "shared/captures", HERE / "captures"):
        for session in sorted(root.glob("*/session.json")):
            found.setdefault(session.parent.name, session.parent)
    return [found[name] for name in sorted(found)]


def _expected(directory: Path, resumed: bool) -> dict[str, Any]:
    with gzip.open(directory / ("resume-expected.json.gz" if resumed else "expected.json.gz")) as file:
        expected: dict[str, Any] = json.load(file)
    return expected


def _shift(directory: Path) -> Shift:
    """From the day of the recording to a minute ago, for both of its sessions."""
    began = recorded_at((directory / "flow-0.bin").read_bytes())
    expected = [_expected(directory, False)]
    if (directory / "resume-expected.json.gz").exists():
        expected.append(_expected(directory, True))
    return Shift(int(time.time()) - AGO - began, began, expected)


def load(directory: Path, *, resumed: bool = False) -> Recording:
    """Read a recording as if it had just been made; `resumed` reads the session that followed the first."""
    shift = _shift(directory)
    prefix = "resume-" if resumed else ""
    base = json.loads((directory / "session.json").read_text())
    session = json.loads((directory / f"{prefix}session.json").read_text())
    replies = {tuple(t["command"]): t["reply"] for t in session["transcript"] if "reply" in t}
    capa = replies["REPLCONF", "capa", "dragonfly"]
    flows = []
    for flow in range(base["flows"]):
        stream, moved = shift.stream((directory / f"{prefix}flow-{flow}.bin").read_bytes())
        granted, token = next(
            t["reply"] for t in session["transcript"] if t["conn"] == f"flow-{flow}" and "FLOW" in t["command"]
        )
        full = granted == "FULL"
        end = stream.index(FULL_SYNC_END) + len(FULL_SYNC_END) if full else 0
        # The second session's files do not say when STARTSTABLE was sent: opcode 200 is the earliest moment.
        sent = session.get("bytes_when_startstable_was_sent")
        cut = 0 if not full else moved(sent[flow]) if sent else end
        stable = stream.index(token.encode(), end) + TOKEN_LENGTH if full else 0
        start = session["requested_lsn"][flow] if resumed else base["lsn_before_stable_writes"][flow]
        flows.append(RecordedFlow(stream, token, granted, end, cut, stable, start, session["lsn_at_end"][flow]))
    return Recording(
        name=directory.name + ("/resume" if resumed else ""),
        directory=directory,
        version=base["server"]["dragonfly_version"],
        redis_version=base["server"]["redis_version"],
        master_id=capa[0],
        sync_id=capa[1],
        capa_reply=tuple(capa),
        flows=tuple(flows),
        resumed=resumed,
        shift=shift,
    )


def full_sessions() -> list[tuple[Path, bool]]:
    """(folder, resumed) of every session that begins with a full sync: the first ones, and the refused partial ones."""
    found = [(folder, False) for folder in folders()]
    for folder in folders():
        if (folder / "resume-session.json").exists() and all(
            f.granted == "FULL" for f in load(folder, resumed=True).flows
        ):
            found.append((folder, True))
    return found
