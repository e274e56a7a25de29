"""What a player plays: the sessions of a source, and how it deviates from a healthy one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tests.support.certificates import Certificates
from tests.support.recordings import Recording

Pieces = Iterable[bytes | memoryview]
Live = Callable[[], AsyncIterator[bytes]]
Dump = Callable[[int, bytes], tuple[bytes, int] | None]  # (db, key) → payload, PTTL
WRITE = 256 * 1024  # bytes handed to a socket at once


@dataclass(frozen=True, slots=True)
class FlowScript:
    """What one FLOW delivers: `snapshot` until STARTSTABLE, `stable` after it. Called anew for each session."""

    snapshot: Callable[[], Pieces]
    stable: Callable[[], Pieces] | None = None
    live: Live | None = None  # follows `stable`, paced by itself
    token: str = "0" * 40
    full_sync_end: int = 0  # STARTSTABLE is legal once so many bytes went out
    stable_from: int = 0  # STARTSTABLE is answered once so many bytes of `stable` went out
    lsn_start: int = 1
    lsn_end: int = 1
    resumes_from: int | None = None  # grants PARTIAL for this LSN


@dataclass(frozen=True, slots=True)
class Script:
    """One session as the source plays it."""

    flows: tuple[FlowScript, ...]
    version: str = "df-v1.40.1"
    redis_version: str = "7.4.0"
    master_id: str = "5eb249481d405e957e42aec40fbbfe3afb6c06e6"
    sync_id: str = "SYNC1"
    capa_version: int | None = 5  # None: the three-element reply of 1.0 to 1.3
    databases: Mapping[int, int] = field(default_factory=lambda: {0: 1000})  # keys, made up

    @property
    def release(self) -> tuple[int, int]:
        """Of the version, e.g. (1, 40)."""
        major, minor = self.version.removeprefix("df-v").split(".")[:2]
        return int(major), int(minor)


@dataclass(slots=True)
class Behaviour:
    """How the player deviates from sending everything at once and staying."""

    piece: int = WRITE  # bytes written at once
    delay: float = 0.0  # seconds between two pieces
    cut_after: Mapping[int, int] = field(default_factory=dict)  # FLOW → close it after so many bytes
    close_at_end: bool = False
    password: str | None = None
    username: str = "default"
    certificates: Certificates | None = None
    refuse: Mapping[str, str] = field(default_factory=dict)  # first words of a command → error line without "-"
    hold_stable: bool = False  # `release_stable` lets the stable part go
    startstable_delay: float = 0.0
    dump: Dump | None = None  # state at `lsn_end`


def script_of(recording: Recording) -> Script:
    """The session as it was recorded."""
    flows = tuple(
        FlowScript(
            snapshot=lambda f=f: [memoryview(f.stream)[: f.cut]],
            stable=lambda f=f: [memoryview(f.stream)[f.cut :]],
            token=f.token,
            full_sync_end=f.full_sync_end,
            stable_from=max(0, f.stable_from - f.cut),
            lsn_start=f.lsn_start,
            lsn_end=f.lsn_end,
            resumes_from=f.lsn_start if f.granted == "PARTIAL" else None,
        )
        for f in recording.flows
    )
    capa = recording.capa_reply
    return Script(
        flows,
        recording.version,
        recording.redis_version,
        recording.master_id,
        recording.sync_id,
        capa[3] if len(capa) > 3 else None,  # type: ignore[arg-type]
    )
