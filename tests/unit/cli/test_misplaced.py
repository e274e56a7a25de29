"""A password that was typed where something else belongs is not repeated by the error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from df2redis_tui import cli
from df2redis_tui.masking import MASK, forget_secrets, masked
from df2redis_tui.options import BY_NAME

MARK = "sekrit"
URLS = ("--source", "dragonfly://127.0.0.1:1", "--target", "redis://127.0.0.1:2")


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("DF2REDIS_")]:
        monkeypatch.delenv(name)
    forget_secrets()
    yield
    forget_secrets()


URL = f"redis://:{MARK}@host"
OTHERS = (
    *("--summary", "--log-dir", "--state-dir", "--theme-dir", "--screenshot-dir", "--config", "--target-ca", "--job"),
    *("--source-password-file", "--target-password-file", "--metrics", "--cluster-map", "--batch-size", "--theme"),
    *("--target-server-name", "--on-existing", "--flush-interval", "--spool-bytes", "--no-ui", "--keys"),
    *("--frobnicate", "--min-source-keys"),
)
MISPLACED = [
    *((name, URL) for name in OTHERS),
    ("--target", MARK),
    ("--source", MARK),
    ("--target", f":{MARK}@host"),
    ("--target", f"redis://{MARK}@host:x"),
    ("--metrics", MARK),
    ("--cluster-map", MARK),
    ("--cluster-map", f":{MARK}={MARK}@"),
    ("--config", MARK),
    ("--target-ca", MARK),
    ("--target-password-file", MARK),
    ("--source-password-file", MARK),
]


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    assert cli.main([*URLS, "--no-ui", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("df2redis-tui: error: ")
    assert said.err.count("\n") == 1
    assert MARK not in said.err


@pytest.mark.parametrize("equals", [True, False], ids=["=", "two words"])
@pytest.mark.parametrize(("flag", "value"), MISPLACED)
def test_in_a_flag(
    flag: str,
    value: str,
    equals: bool,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(capsys, *([f"{flag}={value}"] if equals else [flag, value]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("flag", "value"), [entry for entry in MISPLACED if entry[0].removeprefix("--") in BY_NAME])
@pytest.mark.parametrize("where", ["variable", "file"])
def test_in_a_variable_or_the_file(
    flag: str,
    value: str,
    where: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    option = BY_NAME[flag.removeprefix("--")]
    urls = dict(zip(URLS[::2], URLS[1::2], strict=True))
    urls.pop(flag, None)
    if where == "variable":
        monkeypatch.setenv(option.env, value)
        more: list[str] = []
    else:
        Path("copy.toml").write_text(f'[{option.section}]\n{option.short_key} = "{value}"\n')
        more = ["--config", "copy.toml"]
    monkeypatch.setattr("tests.unit.cli.test_misplaced.URLS", [word for pair in urls.items() for word in pair])
    refused(capsys, *more)


def test_as_a_prefix_it_is_a_fine_one_and_masked_from_then_on(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "--checkpoint-prefix", URL, "--batch-size", "x")
    assert masked(f"the prefix {MARK}") == f"the prefix {MASK}"
