"""Typed settings of one run. `cli` builds them from defaults < file < environment < flags."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


class Secret:
    """A password. Its text comes out only through `reveal`; repr, str, format and pickling never show it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is not pickled")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates for one side. `verify` False accepts any server certificate (said loudly)."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    verify: bool = True
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server, or the seeds of a cluster."""

    hosts: tuple[tuple[str, int], ...]
    username: str | None = None
    password: Secret | None = None
    db: int = 0
    tls: Tls | None = None
    cluster: bool = False

    @property
    def label(self) -> str:
        """host:port[,host:port...] for people; never the credentials."""
        return ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.hosts)


@dataclass(frozen=True, slots=True)
class TuningSettings:
    """None = the default for the target kind and phase (design.md's table)."""

    batch_size: int | None = None
    max_in_flight: int | None = None
    flush_interval: float | None = None  # seconds
    adaptive_flush: bool = True
    channel_entries: int = 2_000_000
    channel_bytes: int | None = None  # 64 MiB, and all FLOWs together no more than that
    rate_limit: int = 0  # entries/s, 0 = none


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything one run needs to know."""

    source: Endpoint
    target: Endpoint
    job: str = "default"
    mode: Literal["full", "snapshot"] = "full"
    until: Literal["stopped", "caught-up"] = "stopped"
    on_existing: Literal["overwrite", "skip", "fail"] = "overwrite"
    on_error: Literal["stop", "skip"] = "stop"
    member_ttl: Literal["fail", "drop"] = "fail"
    tuning: TuningSettings = field(default_factory=TuningSettings)
    state_dir: Path = Path("state")
    log_dir: Path = Path("log")
    log_format: Literal["text", "json"] = "text"
    summary: Path | None = None
    dead_letter_value_limit: int = 64 * 1024  # bytes of a value kept in the dead-letter file
    # cluster targets
    db_policy: Literal["fail", "skip", "merge-into-0"] = "fail"
    cluster_map: tuple[tuple[str, str], ...] = ()  # announced host:port → reachable host:port
    # exactly once, resume
    exactly_once: bool = True
    checkpoint_prefix: str = "df2redis"
    on_lost_backlog: Literal["resync", "stop"] = "resync"
    target_owned: bool = False
    ignore_namespaces: bool = False
    min_source_keys: int = 50  # percent of what was copied
    backpressure: Literal["block", "spill"] = "block"
    spool_bytes: int = 4 * 1024**3
    reconnect: bool = True
    # front end
    ui: bool | None = None  # None = decide by the terminal
    status_interval: float = 2.0
    metrics: str | None = None  # host:port of the Prometheus endpoint
    refresh: float = 0.5  # seconds between two looks at the engine
    theme: str | None = None
    theme_dir: Path | None = None
    keys: tuple[tuple[str, str], ...] = ()  # (action id, keys separated by commas, "" unbinds)
    read_only: bool = False
    mouse: bool = True
    glyphs: Literal["auto", "unicode", "block", "ascii"] = "auto"
    color: Literal["auto", "truecolor", "256", "16", "none"] = "auto"
    low_bandwidth: bool = False
    screenshot_dir: Path = Path("screenshots")
