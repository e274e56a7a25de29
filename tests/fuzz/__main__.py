"""Fuzz decoders and translators: `python -m tests.fuzz --minutes 10`. Needs atheris (the extra `fuzz`)."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.corpus import write_corpus
from tests.fuzz.harnesses import HARNESSES

ROOT = Path(__file__).parents[2]
LONGEST_INPUT = 4096  # bytes
MOST_MEMORY = 1024  # MiB
# Deeper ones get more of the time.
SHARES = {"full_sync": 4, "stable_sync": 3, "record": 3, "value": 3, "blob": 1, "packed": 1}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failure`: what atheris says of the input that failed, "" when none did."""

    harness: str
    executions: int
    failure: str


def fuzz(harness: str, seconds: int, seed: int, corpus: Path, found: Path) -> Outcome:
    """One harness in a process of its own, as libFuzzer never returns."""
    argv = [sys.executable, "-m", "tests.fuzz.one", harness, str(corpus / harness)]
    argv += [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={LONGEST_INPUT}", f"-rss_limit_mb={MOST_MEMORY}"]
    argv += ["-timeout=60", "-print_final_stats=1", f"-artifact_prefix={found}/{harness}-"]
    # The limit is held against a peak that a process inherits from the one which started it: that is to be a small one.
    argv = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *argv]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    said = ended.stderr + ended.stdout
    count = re.findall(r"stat::number_of_executed_units:\s*(\d+)", said)
    failure = "" if ended.returncode == 0 and count else said[-4000:]
    return Outcome(harness, int(count[-1]) if count else 0, failure)


def fuzz_all(seconds: float, seed: int, found: Path, *, at_once: int, only: str | None = None) -> list[Outcome]:
    """Every harness for its share of the time, or one for all of it."""
    names = [only] if only else list(SHARES)
    share = seconds * at_once / sum(SHARES[name] for name in names)
    with tempfile.TemporaryDirectory(prefix="df2redis-fuzz-") as corpus, ThreadPoolExecutor(at_once) as pool:
        write_corpus(Path(corpus))
        return list(
            pool.map(
                lambda name: fuzz(name, max(1, round(SHARES[name] * share)), seed, Path(corpus), found),
                names,
            )
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=list(HARNESSES))
    parser.add_argument("--at-once", type=int, default=1, help="processes")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="where inputs that fail are kept")
    given = parser.parse_args()
    given.found.mkdir(exist_ok=True)
    outcomes = fuzz_all(given.minutes * 60, given.seed, given.found, at_once=given.at_once, only=given.only)
    for outcome in outcomes:
        print(f"{outcome.harness}: {outcome.executions:,} executions{', FAILED' if outcome.failure else ''}")
        if outcome.failure:
            print(outcome.failure)
    print(f"{sum(o.executions for o in outcomes):,} executions in all")
    return any(o.failure for o in outcomes)


if __name__ == "__main__":
    sys.exit(main())
