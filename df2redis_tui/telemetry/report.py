"""The final report of a run: a short text for people, and a JSON object with stable keys for programs."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from df2redis_tui import __version__
from df2redis_tui.errors import Df2RedisError
from df2redis_tui.files import write_output
from df2redis_tui.masking import masked_values
from df2redis_tui.telemetry.format import clean, count, duration, rate, size
from df2redis_tui.telemetry.snapshot import EngineSnapshot, Outcome, Phase, Verdict

SUMMARY_VERSION: Final = 1
SUMMARY_KEYS: Final[dict[str, str]] = {
    "version": "1; grows when a key changes its meaning or goes, not when one is added",
    "program": "version of df2redis-tui",
    "job": "name of the copy",
    "verdict": "`complete`, `incomplete` (something could not be copied), `interrupted` (asked to end too early for "
    "everything to be there), `unconfirmed` (the drain was cut short), `failed`, `running`",
    "outcome": "the same as a sentence, with what is missing; empty where `failure` says it",
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
    "snapshot_confirmed": "whether the target has the full sync of every FLOW (of this run, or of one that it resumed)",
    "keys_at_start": "keys of the source when the full sync began; null if unknown",
    "keys_copied": "keys of the full sync that the target confirmed, each counted once",
    "keys_by_type": "the same by type",
    "rereads": "keys that were read again from the source, as often as they were",
    "rereads_waiting": "keys that were still to be read again at the end",
    "unverified": "keys that may have expired on the target too early and were not read again: there were too many",
    "evicted": "keys that the target has dropped since the full sync began because it was full (`maxmemory-policy`)",
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
    "dead_letters_before": "the same, by earlier runs of the job, since the full sync that this one goes on from",
    "dead_letter_file": "where they are, empty when there are none",
    "not_copied": "what is known of what is not on the target",
    "commands_waiting": "commands that were read and not confirmed at the end",
    "lag_records": "journal records not yet confirmed at the end, as far as the source has told; null if unknown",
    "peak_rss_bytes": "largest resident memory of the program",
    "log_file": "",
}

_COLORS: Final = {Verdict.COMPLETE: "32", Verdict.FAILED: "31", Verdict.UNCONFIRMED: "31", Verdict.RUNNING: "36"}
_OTHER_COLOR: Final = "33"
_LABEL_CELLS: Final = 13


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did. `of` makes one from the last snapshot."""

    job: str
    outcome: Outcome
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
    rereads: int
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
    peak_rss_bytes: int
    log_file: str

    @classmethod
    def of(cls, snapshot: EngineSnapshot, exit_code: int | None = None) -> Report:
        """`exit_code` where the front end's differs from the engine's (130 and 143 for an end that a signal cut in)."""
        code = snapshot.exit_code if exit_code is None else exit_code
        totals = snapshot.totals
        phases: dict[str, float] = {}
        for name, seconds in snapshot.phase_seconds:
            phases[name] = phases.get(name, 0.0) + seconds
        return cls(
            job=snapshot.job,
            outcome=snapshot.outcome,
            exit_code=code,
            failure=clean(snapshot.failure),
            hint=clean(snapshot.outcome.next),
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
            rereads=totals.rereads,
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
            peak_rss_bytes=snapshot.peak_rss_bytes,
            log_file=snapshot.log_file,
        )

    @property
    def verdict(self) -> Verdict:
        return self.outcome.verdict

    @property
    def not_copied(self) -> str:
        """What is known of what is not on the target."""
        return clean(self.outcome.not_copied)

    @property
    def entries_per_second(self) -> float:
        """Over the whole run."""
        return self.entries / self.elapsed if self.elapsed > 0 else 0.0

    def headline(self) -> str:
        """The verdict as a sentence."""
        seconds = duration(self.elapsed)
        match self.verdict:
            case Verdict.COMPLETE:
                return f"Done in {seconds}: {self.outcome.text}"
            case Verdict.INCOMPLETE:
                return f"Ended after {seconds}: {self.outcome.text or 'something could not be copied'}"
            case Verdict.INTERRUPTED:
                return f"Stopped after {seconds}, {self.outcome.text}"
            case Verdict.UNCONFIRMED:
                return f"Ended after {seconds}, {self.outcome.text}"
            case Verdict.FAILED:
                return f"Failed after {seconds}"
            case Verdict.RUNNING:
                return f"Running for {seconds}"

    def as_text(self, width: int = 80, color: bool = False) -> str:
        """Lines of at most `width` cells; `color` adds ANSI codes."""
        rows = [(label, text) for label, text in self._rows() if text]
        mark = {Verdict.COMPLETE: "✔", Verdict.FAILED: "✘"}.get(self.verdict, "!")
        titles = textwrap.wrap(f"{mark} {self.headline()}", max(20, width), subsequent_indent="  ")
        code = f"1;{_COLORS.get(self.verdict, _OTHER_COLOR)}"
        lines = [_sgr(title, code) if color else title for title in titles]
        for label, text in rows:
            lines.extend(_row(label, text, width, color))
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """The keys of `SUMMARY_KEYS`, in that order."""
        return {
            "version": SUMMARY_VERSION,
            "program": __version__,
            "job": self.job,
            "verdict": self.verdict.value,
            "outcome": self.outcome.text,
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
            "snapshot_confirmed": self.outcome.confirmed.snapshot,
            "keys_at_start": self.outcome.confirmed.keys_at_start,
            "keys_copied": self.keys_copied,
            "keys_by_type": dict(self.keys_by_type),
            "rereads": self.rereads,
            "rereads_waiting": self.outcome.confirmed.rereads_waiting,
            "unverified": self.outcome.confirmed.unverified,
            "evicted": self.outcome.confirmed.evicted,
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
            "dead_letters_before": self.outcome.confirmed.dead_letters_before,
            "dead_letter_file": self.dead_letter_file,
            "not_copied": self.not_copied,
            "commands_waiting": self.outcome.confirmed.commands_waiting,
            "lag_records": self.outcome.confirmed.records_behind,
            "peak_rss_bytes": self.peak_rss_bytes,
            "log_file": self.log_file,
        }

    def write_summary(self, path: Path) -> None:
        """Replace `path` by the JSON at once (0600), or leave it as it was and raise Df2RedisError.

        What is there and no regular file (/dev/stdout, a FIFO) is written to."""
        text = json.dumps(masked_values(self.as_json()), indent=2, ensure_ascii=False) + "\n"
        try:
            write_output(path, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
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
        lag = self.outcome.confirmed.records_behind
        keys = f"{count(self.keys_copied)} in the full sync" + (f": {by_type}" if by_type else "")
        if self.outcome.confirmed.snapshot and not any(name == Phase.FULL_SYNC for name, _ in self.phase_seconds):
            known = self.outcome.confirmed.keys_at_start
            keys = "those of an earlier run's full sync, which this one resumed"
            keys += f" (~{count(known)} on the source when this one began)" if known is not None else ""
        return [
            ("why", self.failure),
            ("next", self.hint),
            ("from", f"{clean(source)}, {self.flows} FLOWs" if self.flows else clean(source)),
            ("to", clean(target) + (" (cluster)" if self.cluster else "")),
            ("keys", keys),
            ("read again", f"{count(self.rereads)} keys" if self.rereads else ""),
            ("entries", f"{count(self.entries)} confirmed, {rate(self.entries_per_second)} over the whole run"),
            ("bytes", f"{size(self.bytes_in)} read, {size(self.bytes_out)} written, {count(self.batches)} batches"),
            ("time", ", ".join(f"{name} {_seconds(seconds)}" for name, seconds in self.phase_seconds)),
            ("trouble", ", ".join(trouble)),
            ("not copied", self.not_copied),
            ("lag", f"{count(lag)} records at the end" if lag else ""),
            ("memory", f"{size(self.peak_rss_bytes)} at most" if self.peak_rss_bytes else ""),
            ("log", self.log_file),
        ]


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
