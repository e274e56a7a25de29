"""Our program between a source and a target: started, brought up to date, ended and judged, every key compared."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis

from df2redis_tui.verify.compare import Comparison, Difference, Tolerance, compare
from tests.real.sources import SourceServer
from tests.real.targets import Target
from tests.support.content import hll_registers
from tests.support.program import Program
from tests.support.servers import wait_for_cluster

BOOKKEEPING = b"df2redis"
TOLERANCE = Tolerance(ttl_ms=3_000, field_ttl_ms=5_000)
DRAINED = 0  # the exit code after SIGTERM, when everything that was read had been confirmed
NOT_COPIED = 5  # the exit code when there are dead letters
VERDICTS = {DRAINED: {"complete"}, NOT_COPIED: {"incomplete"}}


class Copying:
    """One copy in one directory. `start` may be called again after `kill` or `end`."""

    def __init__(self, source: SourceServer, target: Target, directory: Path, arguments: Sequence[str] = ()) -> None:
        self.source = source
        self.target = target
        self.program: Program
        self._directory = directory
        self._arguments = list(arguments)
        self._said: list[str] = []

    def __enter__(self) -> Copying:
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "program"):
            self.program.__exit__()

    def start(self, *more: str) -> Program:
        """Start it; returns at once."""
        databases = ["--db-policy", "skip"] if self.target.cluster else []
        arguments = ["--source", self.source.url, "--target", self.target.url, *databases, *self._arguments, *more]
        self.program = Program(arguments, self._directory)
        return self.program

    def wait_stable(self, timeout: float = 60.0) -> None:
        """Until the source says that it sends its journal to us."""
        self._wait(lambda: bool(self._lags()), "no stable sync", timeout)

    def wait_level(self, timeout: float = 60.0) -> None:
        """Until the source says that everything it has written was acknowledged. Nobody may write meanwhile."""
        self._wait(lambda: self._lags() == [0], "lag", timeout)

    def _lags(self) -> list[int]:
        with self.source.client() as client:
            about = client.info("replication")
        replicas = [about[name] for name in about if name.startswith("slave") and isinstance(about[name], dict)]
        return [int(r["lag"]) for r in replicas if r["state"] in ("online", "stable_sync")]

    def _wait(self, condition: object, what: str, timeout: float) -> None:
        give_up = time.monotonic() + timeout
        while True:
            try:
                if condition():  # type: ignore[operator]
                    return
            except redis.RedisError:
                pass  # it restarts
            code = self.program.process.poll()
            assert code is None, f"ended with {code}:\n{self._tail()}"
            assert time.monotonic() < give_up, f"{what} after {timeout:g} s:\n{self._tail()}"
            time.sleep(0.05)

    def _tail(self) -> str:
        return self.program.output()[-2500:] + "\n--- log:\n" + self.program.log()[-2500:]

    def kill(self) -> None:
        """kill -9."""
        self.program.process.kill()
        self._ended()

    def end(self) -> None:
        """SIGTERM, once the source says that nothing is missing; the verdict is checked."""
        self.program.signal(signal.SIGTERM)
        code = self.program.wait(60)
        expected = NOT_COPIED if self.program.dead_letters() else DRAINED
        assert code == expected, f"exit code {code}, expected {expected}:\n{self._tail()}"
        summary = self.program.summary()
        assert summary["exit_code"] == code
        assert summary["verdict"] in VERDICTS[code], summary
        assert not summary["lag_records"], summary
        self._ended()

    def run_until_caught_up(self) -> None:
        """One more start of the same command: it goes on where it was, and ends by itself with 0."""
        self.start("--until", "caught-up")
        code = self.program.wait(60)
        assert code == 0, f"exit code {code}:\n{self._tail()}"
        assert self.program.summary()["verdict"] == "complete"
        self._ended()

    def _ended(self) -> None:
        self.program.process.wait()
        self._said.append(self.program.output())
        self.program.__exit__()

    def check_said(self) -> None:
        """Nothing was said that must not be."""
        said = "".join(self._said) + self.program.log()
        assert "Traceback" not in said, said[-6000:]
        assert "LSN gap" not in said, said[-6000:]

    def compare(self, *, patience: int = 3) -> Comparison:
        """Every key. What is read again comes a moment after the acknowledgement: looks again until both sides are the
        same, or the same keys have differed `patience` times in a row.
        """
        before: set[tuple[int, bytes]] = set()
        unchanged = 0
        while True:
            found = self._compare()
            differing = {(d.db, d.key) for d in found.samples}
            unchanged = unchanged + 1 if differing == before or not before else 1
            before = differing
            if found.same or unchanged >= patience:
                return found

    def _compare(self) -> Comparison:
        if self.target.cluster:  # a server that stood still takes the others for dead at first
            wait_for_cluster(self.target.servers)
        work = compare(
            self.source.endpoint,
            self.target.endpoint,
            dbs=(0,) if self.target.cluster else None,
            ignore_prefixes=(BOOKKEEPING,),
            tolerance=TOLERANCE,
            sample_limit=1_000,
        )
        return asyncio.run(work)

    def differences(self, *, patience: int = 3) -> list[Difference]:
        """Those of `compare`, without HyperLogLogs that are the same in another form."""
        return [d for d in self.compare(patience=patience).samples if not self._same_sketch(d)]

    def _same_sketch(self, difference: Difference) -> bool:
        if not difference.reason.startswith("value:"):
            return False
        with self.source.client(difference.db) as client:
            here = client.get(difference.key)
        there = self._get_from_target(difference.db, difference.key)
        if not (isinstance(here, bytes) and isinstance(there, bytes) and here[:4] == there[:4] == b"HYLL"):
            return False
        return hll_registers(here) == hll_registers(there)

    def _get_from_target(self, db: int, key: bytes) -> object:
        for server in self.target.servers:
            with server.client(db) as client:
                try:
                    return client.get(key)
                except redis.ResponseError:  # MOVED
                    continue
        return None

    def finish(self, *, least: int = 10, excused: Mapping[bytes, str] | None = None) -> None:
        """Nobody writes any more: everything arrives, it ends, and both sides are equal."""
        self.wait_level()
        self.differences()  # waits for what was read again last
        self.end()
        self.check_equal(least, excused)

    def check_equal(self, least: int = 10, excused: Mapping[bytes, str] | None = None) -> None:
        """`excused`: beginning of a key → beginning of the difference that it may have."""
        self.check_said()
        assert not self.program.dead_letters()
        assert self.compare(patience=1).keys >= least
        found = [
            d
            for d in self.differences(patience=1)
            if not any(d.key.startswith(key) and d.reason.startswith(why) for key, why in (excused or {}).items())
        ]
        assert not found, f"{len(found)} keys differ:\n" + "\n".join(map(str, found[:40]))
