"""The README says what the code does."""

from __future__ import annotations

import re

from df2redis_tui import errors
from df2redis_tui.cli import EXIT_DEFECT
from tests.unit.cli.readme_parts import README, renewed

TEXT = README.read_text("utf-8")


def test_options_configuration_and_summary_keys_are_current() -> None:
    assert renewed(TEXT) == TEXT, "run python3 -m tests.unit.cli.readme_parts"


def test_every_exit_code_is_listed() -> None:
    section = TEXT.partition("## Exit codes")[2].partition("\n## ")[0]
    listed = {int(code) for row in re.findall(r"^\| ([0-9, ]+) \|", section, re.MULTILINE) for code in row.split(",")}
    named = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert listed == named | {EXIT_DEFECT, 130, 131, 143}


def test_the_first_commands_are_the_demo_and_the_tests_are_one_command() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    assert blocks[0] == "python3 -m pip install '.[demo]'\ndf2redis-tui demo --no-ui --duration 10\n"
    assert blocks[2] == "python3 -m pip install -e '.[test,demo]'\npython3 -m pytest\n"


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (README.parent / ".ci" / "run").read_text()
    assert "pip install -e '.[test,demo]'" in script
    assert "python3 -m pytest" in script


def test_links_inside_the_page_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL), re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= headings
