"""The program as its user starts it: exit codes, one clear line for every mistake, what gets imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from df2redis_tui import __version__, cli
from df2redis_tui.errors import SourceError
from df2redis_tui.options import OPTIONS

URLS = ("--source", "dragonfly://127.0.0.1:1", "--target", "redis://127.0.0.1:2")


def program(*arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DF2REDIS_")}
    return subprocess.run(
        [sys.executable, "-m", "df2redis_tui", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**clean, **environ},
    )


def python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        ([], {}, "no source was given"),
        (["--source", "h:1"], {}, "a URL begins with"),
        ([*URLS, "--source", "dragonfly://u:sekrit@h:99999"], {}, "'dragonfly://***@h:99999'"),
        ([*URLS, "--frobnicate", "sekrit"], {}, "--frobnicate is not known"),
        ([*URLS, "--batch-size", "many"], {}, "'many'"),
        ([*URLS, "--config", "/no/such.toml"], {}, "/no/such.toml"),
        ([*URLS, "--ui"], {"TERM": "xterm"}, "--ui needs a terminal"),
        ([*URLS, "--no-ui", "--log-dir", "/dev/null/log"], {}, "log-dir"),
        (["run", "run"], {}, "unexpected argument"),
        (["config", "x"], {}, "config takes no arguments"),
        (list(URLS), {"DF2REDIS_TARGT": "sekrit"}, "did you mean DF2REDIS_TARGET?"),
    ],
)
def test_a_mistake_of_the_user_is_one_line_and_exit_code_2(
    arguments: list[str], environ: Mapping[str, str], says: str, tmp_path: Path
) -> None:
    done = program(*arguments, cwd=tmp_path, **environ)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("df2redis-tui: error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert "sekrit" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_version_and_help_end_with_success() -> None:
    assert program("--version").stdout == f"df2redis-tui {__version__}\n"
    done = program("--help")
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.parametrize("columns", ["60", "80", "120", "200"])
def test_help_names_every_option_within_the_width(columns: str) -> None:
    text = program("run", "--help", COLUMNS=columns).stdout
    assert [option.flag for option in OPTIONS if f"{option.flag} " not in text.replace(",", " ")] == []
    listing = text.split("general:")[1].split("Every option is also")[0]
    assert max(map(len, listing.splitlines())) <= min(int(columns), 120)


def test_help_holds_no_password_of_the_environment() -> None:
    assert "sekrit" not in program("--help", DF2REDIS_SOURCE_PASSWORD="sekrit").stdout


def test_config_prints_a_file_the_program_accepts(tmp_path: Path) -> None:
    done = program("config")
    assert done.returncode == 0
    (tmp_path / "my.toml").write_text(done.stdout)
    # The next thing wrong is the missing URL: the file itself was accepted.
    assert "no source was given" in program("--config", str(tmp_path / "my.toml")).stderr


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    shell = f"{sys.executable} -m df2redis_tui config | head -n 1; {sys.executable} -m df2redis_tui --help | head -n 1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


IMPORTED = """
import sys
from df2redis_tui import cli
code = cli.main(sys.argv[1:])
print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_what_only_prints_loads_nothing_heavy(argument: str) -> None:
    loaded = set(python(IMPORTED, argument).rpartition("LOADED")[2].split())
    assert loaded.isdisjoint({"textual", "rich", "redis", "hiredis", "anyio", "uvloop", "tomli", "logging", "asyncio"})


REFUSING_ENGINE = """
import sys, types
from df2redis_tui import cli
from df2redis_tui.errors import SourceError

class Engine:
    def __init__(self, settings): pass
    def start(self): raise SourceError("refused")

module = types.ModuleType("df2redis_tui.replication.engine")
module.Engine = Engine
sys.modules[module.__name__] = module
code = cli.main(sys.argv[1:])
print(code, "df2redis_tui.headless" in sys.modules, any(name.partition(".")[0] == "textual" for name in sys.modules))
"""


def test_no_ui_never_loads_textual(tmp_path: Path) -> None:
    assert python(REFUSING_ENGINE, *URLS, "--no-ui", "--log-dir", str(tmp_path)) == "3 True False\n"


def in_process(
    monkeypatch: pytest.MonkeyPatch, run: object, *arguments: str, tmp_path: Path, front: str = "headless"
) -> int:
    """`main` with a front end and an engine of the test's own."""
    import types

    engine = types.ModuleType("df2redis_tui.replication.engine")
    engine.Engine = FakeEngine  # type: ignore[attr-defined]
    module = types.ModuleType(f"df2redis_tui.{front}")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, engine.__name__, engine)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in [name for name in os.environ if name.startswith("DF2REDIS_")]:
        monkeypatch.delenv(name)
    return cli.main([*URLS, "--log-dir", str(tmp_path / "log"), *arguments])


class FakeEngine:
    stopped = 0

    def __init__(self, settings: object) -> None:
        self.settings = settings

    def request_stop(self, deadline: float | None = 30.0) -> None:
        FakeEngine.stopped += 1

    def wait(self, timeout: float | None = None) -> bool:
        return True


def test_without_a_terminal_it_runs_headless_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    got = []
    assert in_process(monkeypatch, lambda engine, settings: got.append(settings) or 7, tmp_path=tmp_path) == 7
    assert capsys.readouterr().err == (
        "df2redis-tui: there is no terminal: running without the full-screen display, as with --no-ui\n"
    )
    assert got[0].ui is False


def test_no_ui_is_not_commented(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_process(monkeypatch, lambda engine, settings: 0, "--no-ui", tmp_path=tmp_path) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("term", "asked", "why"),
    [
        ("xterm-256color", None, None),
        ("dumb", None, "TERM is dumb"),
        ("", None, "TERM is not set"),
        ("dumb", False, ""),
        ("xterm", True, None),
    ],
)
def test_the_display_needs_a_terminal_that_can_do_more_than_lines(
    monkeypatch: pytest.MonkeyPatch, term: str, asked: bool | None, why: str | None
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    for stream in ("stdin", "stdout", "stderr"):  # the display is drawn on stderr
        monkeypatch.setattr(sys, stream, Terminal())
    assert cli._why_headless(asked, {"TERM": term}) == why


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_one_stream_elsewhere_means_no_display(monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def isatty(self) -> bool:
            return self.name != stream

    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, Stream(name))
    assert cli._why_headless(None, {"TERM": "xterm"}) == "there is no terminal"


def test_an_error_on_purpose_is_its_line_and_its_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(engine: object, settings: object) -> int:
        raise SourceError("the source\nrefused redis://u:sekrit@h")

    assert in_process(monkeypatch, run, "--no-ui", tmp_path=tmp_path) == 3
    assert capsys.readouterr().err == "df2redis-tui: error: the source refused redis://***@h\n"


def test_a_defect_is_one_line_that_names_the_log_with_the_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(engine: object, settings: object) -> int:
        raise KeyError("sekrit")

    monkeypatch.setattr(FakeEngine, "stopped", 0)
    monkeypatch.setenv("X_UNRELATED", "1")
    secret = tmp_path / "pw"
    secret.write_text("sekrit\n")
    code = in_process(monkeypatch, run, "--no-ui", "--target-password-file", str(secret), tmp_path=tmp_path)
    assert code == 1
    log = tmp_path / "log" / "replicate.log"
    assert capsys.readouterr().err == f"df2redis-tui: error: unexpected KeyError; the details are in {log}\n"
    text = log.read_text()
    assert "Traceback" in text
    assert "KeyError: '***'" in text
    assert "sekrit" not in text
    assert FakeEngine.stopped == 1


def test_a_password_in_the_command_line_is_warned_about_once_and_never_logged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--no-ui", "--log-format", "json", "--target", "redis://u:sekrit@h:1")
    assert in_process(monkeypatch, lambda engine, settings: 0, *arguments, tmp_path=tmp_path) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "`ps` shows it" in said
    lines = [json.loads(line) for line in (tmp_path / "log" / "replicate.log").read_text().splitlines()]
    assert [line["level"] for line in lines] == ["info", "warning"]
    assert lines[0]["target"] == "h:1"
    assert "sekrit" not in said + str(lines)


def test_ctrl_c_before_the_front_end_listens_is_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(engine: object, settings: object) -> int:
        raise KeyboardInterrupt

    assert in_process(monkeypatch, run, "--no-ui", tmp_path=tmp_path) == 130
