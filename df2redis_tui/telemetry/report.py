"""The final report of a run: a short text for people, and a JSON object with stable keys for programs."""

from __future__ import annotations

import json
import os
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from df2redis_tui import __version__
from df2redis_tui.errors import EXIT_DONE, EXIT_NOT_COPIED, Df2RedisError
from df2redis_tui.telemetry.format import clean, count, duration, rate, size
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Phase

Verdict = Literal["complete", "incomplete", "interrupted", "failed", "running"]

SUMMARY_VERSION: Final = 1
SUMMARY_KEYS: Final[dict[str, str]] = {
    "version": "1; grows when a key changes its meaning or goes, not when one is added",
    "program": "version of df2redis-tui",
    "job": "name of the copy",
    "verdict": "`complete`, `incomplete` (something was not copied), `interrupted` (by a signal), `failed`, `running`",
    "exit_code": "the exit code of the program; null while it runs",
    "failure": "why it failed, one line, else empty",
    "hint": "what to do next, else empty",
    "started_at": "unix time",
    "ended_at": "unix time",
    "elapsed_seconds": "",
    "phase": "the phase at the end",
    "phase_seconds": "seconds by phase; a phase that came several times is added up",
    "source": "`address`, `product_version`, `flows`, `master_id`",
    "target": "`address`, `product`, `product_version`, `cluster`, `existing_keys` (before the copy; null if unknown)",
    "keys_copied": "keys of the full sync that the target confirmed",
    "keys_by_type": "the same by type",
    "entries": "snapshot entries and journal records that the target confirmed",
    "commands": "commands that the target confirmed",
    "bytes_in": "read from the source",
    "bytes_out": "written to the target",
    "batches": "",
    "entries_per_second": "entries / elapsed_seconds",
    "retries": "batches sent again, in order",
    "redirects": "answers MOVED, ASK and the like of a cluster",
    "errors": "error replies of the target",
    "dead_letters": "keys and commands that were not copied",
    "dead_letter_file": "where they are, empty when there are none",
    "lag_records": "journal records not yet confirmed at the end; null if unknown",
    "peak_rss_bytes": "largest resident memory of the program",
    "log_file": "",
}

_COLORS: Final = {"complete": "32", "incomplete": "33", "interrupted": "33", "failed": "31", "running": "36"}
_LABEL_CELLS: Final = 13


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did. `of` makes one from the last snapshot."""

    job: str
    verdict: Verdict
    exit_code: int | None
    failure: str
    hint: str
    started_at: float
    ended_at: float
    elapsed: float
    phase: Phase
    phase_seconds: tuple[tuple[str, float], ...]
    source_address: str
    source_version: str
    flows: int
    master_id: str
    target_address: str
    target_product: str
    target_version: str
    cluster: bool
    existing_keys: int | None
    keys_copied: int
    keys_by_type: tuple[tuple[str, int], ...]
    entries: int
    commands: int
    bytes_in: int
    bytes_out: int
    batches: int
    retries: int
    redirects: int
    errors: int
    dead_letters: int
    dead_letter_file: str
    lag_records: int | None
    peak_rss_bytes: int
    log_file: str

    @classmethod
    def of(cls, snapshot: EngineSnapshot, exit_code: int | None = None) -> Report:
        """`exit_code` where the front end's differs from the engine's (130 and 143 on signals)."""
        code = snapshot.exit_code if exit_code is None else exit_code
        totals = snapshot.totals
        phases: dict[str, float] = {}
        for name, seconds in snapshot.phase_seconds:
            phases[name] = phases.get(name, 0.0) + seconds
        return cls(
            job=snapshot.job,
            verdict=_verdict(snapshot, code),
            exit_code=code,
            failure=clean(snapshot.failure),
            hint=clean(snapshot.hint),
            started_at=snapshot.started_at,
            ended_at=snapshot.at,
            elapsed=snapshot.elapsed,
            phase=snapshot.phase,
            phase_seconds=tuple(phases.items()),
            source_address=snapshot.source.address,
            source_version=snapshot.source.version,
            flows=snapshot.source.flows,
            master_id=snapshot.source.master_id,
            target_address=snapshot.target.address,
            target_product=snapshot.target.product,
            target_version=snapshot.target.version,
            cluster=snapshot.target.cluster,
            existing_keys=snapshot.target.existing_keys,
            keys_copied=totals.keys_copied,
            keys_by_type=totals.keys_by_type,
            entries=totals.entries,
            commands=totals.commands,
            bytes_in=totals.bytes_in,
            bytes_out=totals.bytes_out,
            batches=totals.batches,
            retries=totals.retries,
            redirects=totals.redirects,
            errors=totals.errors,
            dead_letters=totals.dead_letters,
            dead_letter_file=snapshot.dead_letter_file if totals.dead_letters else "",
            lag_records=snapshot.lag_records,
            peak_rss_bytes=snapshot.peak_rss_bytes,
            log_file=snapshot.log_file,
        )

    @property
    def entries_per_second(self) -> float:
        """Over the whole run."""
        return self.entries / self.elapsed if self.elapsed > 0 else 0.0

    def headline(self) -> str:
        """The verdict as a sentence."""
        seconds = duration(self.elapsed)
        match self.verdict:
            case "complete":
                return f"Done in {seconds}: everything was copied"
            case "incomplete":
                missing = f"{count(self.dead_letters)} of the keys or commands" if self.dead_letters else "something"
                return f"Ended after {seconds}: {missing} could not be copied"
            case "interrupted":
                return f"Stopped by a signal after {seconds}, drained as far as it says below"
            case "failed":
                return f"Failed after {seconds}"
            case "running":
                return f"Running for {seconds}"

    def as_text(self, width: int = 80, color: bool = False) -> str:
        """Lines of at most `width` cells; `color` adds ANSI codes."""
        rows = [(label, text) for label, text in self._rows() if text]
        mark = {"complete": "✔", "failed": "✘"}.get(self.verdict, "!")
        title = textwrap.shorten(f"{mark} {self.headline()}", max(20, width), placeholder="…")
        lines = [_sgr(title, f"1;{_COLORS[self.verdict]}") if color else title]
        for label, text in rows:
            lines.extend(_row(label, text, width, color))
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """The keys of `SUMMARY_KEYS`, in that order."""
        return {
            "version": SUMMARY_VERSION,
            "program": __version__,
            "job": self.job,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "failure": self.failure,
            "hint": self.hint,
            "started_at": round(self.started_at, 3),
            "ended_at": round(self.ended_at, 3),
            "elapsed_seconds": round(self.elapsed, 3),
            "phase": str(self.phase),
            "phase_seconds": {name: round(seconds, 3) for name, seconds in self.phase_seconds},
            "source": {
                "address": self.source_address,
                "product_version": self.source_version,
                "flows": self.flows,
                "master_id": self.master_id,
            },
            "target": {
                "address": self.target_address,
                "product": self.target_product,
                "product_version": self.target_version,
                "cluster": self.cluster,
                "existing_keys": self.existing_keys,
            },
            "keys_copied": self.keys_copied,
            "keys_by_type": dict(self.keys_by_type),
            "entries": self.entries,
            "commands": self.commands,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "batches": self.batches,
            "entries_per_second": round(self.entries_per_second, 1),
            "retries": self.retries,
            "redirects": self.redirects,
            "errors": self.errors,
            "dead_letters": self.dead_letters,
            "dead_letter_file": self.dead_letter_file,
            "lag_records": self.lag_records,
            "peak_rss_bytes": self.peak_rss_bytes,
            "log_file": self.log_file,
        }

    def write_summary(self, path: Path) -> None:
        """Replace `path` by the JSON at once (0600), or leave it as it was and raise Df2RedisError."""
        text = json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n"
        temporary = ""
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp makes it 0600
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            raise Df2RedisError(f"the summary {path} can't be written: {error.strerror}") from None

    def _rows(self) -> list[tuple[str, str]]:
        source = f"Dragonfly {self.source_version.removeprefix('df-')}".strip() + f" at {self.source_address}"
        target = f"{self.target_product or 'target'} {self.target_version}".strip() + f" at {self.target_address}"
        by_type = ", ".join(f"{kind} {count(number)}" for kind, number in self.keys_by_type if number)
        trouble = [
            f"{count(number)} {word}"
            for number, word in (
                (self.retries, "retries"),
                (self.redirects, "redirects"),
                (self.errors, "error replies"),
            )
            if number
        ]
        letters = f"{count(self.dead_letters)} in {self.dead_letter_file}" if self.dead_letters else "none"
        if not self.dead_letters and self.verdict == "incomplete":
            letters = "all that was still to come"
        return [
            ("why", self.failure),
            ("next", self.hint),
            ("from", f"{clean(source)}, {self.flows} FLOWs" if self.flows else clean(source)),
            ("to", clean(target) + (" (cluster)" if self.cluster else "")),
            ("keys", f"{count(self.keys_copied)} in the full sync" + (f": {by_type}" if by_type else "")),
            ("entries", f"{count(self.entries)} confirmed, {rate(self.entries_per_second)} over the whole run"),
            ("bytes", f"{size(self.bytes_in)} read, {size(self.bytes_out)} written, {count(self.batches)} batches"),
            ("time", ", ".join(f"{name} {_seconds(seconds)}" for name, seconds in self.phase_seconds)),
            ("trouble", ", ".join(trouble)),
            ("not copied", letters),
            ("lag", f"{count(self.lag_records)} records at the end" if self.lag_records else ""),
            ("memory", f"{size(self.peak_rss_bytes)} at most" if self.peak_rss_bytes else ""),
            ("log", self.log_file),
        ]


def _verdict(snapshot: EngineSnapshot, code: int | None) -> Verdict:
    if code is None and snapshot.phase not in (Phase.DONE, Phase.FAILED):
        return "running"
    if code is not None and code > 128:
        return "interrupted"
    if code == EXIT_NOT_COPIED or (code == EXIT_DONE and snapshot.totals.dead_letters):
        return "incomplete"
    return "complete" if code == EXIT_DONE else "failed"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def _row(label: str, text: str, width: int, color: bool) -> list[str]:
    room = max(20, width - _LABEL_CELLS)
    parts = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    name = f"  {label}".ljust(_LABEL_CELLS)
    first = (_sgr(name, "2") if color else name) + parts[0]
    return [first, *(" " * _LABEL_CELLS + part for part in parts[1:])]


def _sgr(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"
