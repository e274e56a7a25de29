"""The seam between an engine and whoever drives it: this, and `EngineSnapshot`, is all that front ends know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from df2redis_tui.telemetry.snapshot import EngineSnapshot


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """Change knobs; None leaves one as it is. `flow` None = all FLOWs (and the default for later ones)."""

    flow: int | None = None
    batch_size: int | None = None
    max_in_flight: int | None = None
    flush_interval: float | None = None
    adaptive_flush: bool | None = None
    channel_entries: int | None = None
    channel_bytes: int | None = None
    rate_limit: int | None = None  # whole engine, 0 = none


@dataclass(frozen=True, slots=True)
class TuneChange:
    """One knob's change as applied (the value may have been clamped to its range)."""

    knob: str
    flow: int | None
    old: float
    new: float
    takes_effect: str  # "from the next batch", "draining 31 to 20", "at once"

    def __str__(self) -> str:
        where = "all flows" if self.flow is None else f"flow {self.flow}"
        return f"{self.knob} {self.old:g} → {self.new:g} ({where}, {self.takes_effect})"


# Knob → (lowest, highest) accepted; `tune` clamps to it.
KNOB_RANGES: dict[str, tuple[float, float]] = {
    "batch_size": (1, 1_000_000),
    "max_in_flight": (1, 10_000),
    "flush_interval": (0.0, 60.0),
    "adaptive_flush": (0, 1),
    "channel_entries": (1, 100_000_000),
    "channel_bytes": (64 * 1024, 64 * 1024**3),
    "rate_limit": (0, 1_000_000_000),
}


class EngineHandle(Protocol):
    """Every method may be called from any thread and returns at once (`wait` and `detach_source` excepted)."""

    def start(self) -> None:
        """Start the engine's thread."""

    def snapshot(self) -> EngineSnapshot:
        """The state now; also before the start and after the end."""
        ...

    def tune(self, request: TuneRequest) -> list[TuneChange]:
        """Apply and say what changed and when it takes effect."""
        ...

    def pause(self, reason: str = "by operator") -> None:
        """Stop sending to the target (what is in flight is confirmed)."""

    def resume(self) -> None:
        """Go on."""

    def detach_source(self, timeout: float) -> bool:
        """Close the connections that the source could wait for, until `attach_source`. False: not done in time."""
        ...

    def attach_source(self) -> None:
        """Follow the source again."""

    def request_stop(self, deadline: float | None = 30.0) -> None:
        """Drain, confirm, end. `deadline` 0 = now, None = wait for ever. May be called again with a shorter one."""

    @property
    def done(self) -> bool:
        """Whether the engine has ended; `snapshot().exit_code` then says how."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Block until `done` or the timeout; returns `done`."""
        ...
