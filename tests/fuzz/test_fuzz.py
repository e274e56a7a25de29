"""A minute of fuzzing from the recordings on; `python -m tests.fuzz --minutes N` goes on for as long as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harnesses import HARNESSES, run

SECONDS = 60
SEED = 1


def test_what_is_found_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of types that are not the program's own pass a harness."""

    def broken(blob: bytes) -> list[bytes]:
        return [blob[1 << 20 :][:1], blob[:1]][blob[0] :]

    monkeypatch.setattr("tests.fuzz.harnesses.encodings.listpack", broken)
    with pytest.raises(IndexError):
        run("packed", b"\x00")


@pytest.mark.timeout(300)
def test_a_minute_of_it(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="NOT FUZZED: there is no atheris for this platform; pip install atheris")
    from tests.fuzz.__main__ import fuzz_all

    outcomes = fuzz_all(SECONDS, SEED, tmp_path, at_once=1)
    assert {outcome.harness for outcome in outcomes} == set(HARNESSES)
    for outcome in outcomes:
        assert not outcome.failure, f"{outcome.harness}:\n{outcome.failure}"
        assert outcome.executions > 500, outcome
