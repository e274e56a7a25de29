"""Every reference to the protocol page (`§3.7`, `§0 rule 2`, `§3.9 deviation b`) has its place there."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

import df2redis_tui

PACKAGE = Path(df2redis_tui.__file__).parent
TESTS = Path(__file__).parents[2]
PAGE = files("df2redis_tui.dragonfly").joinpath("PROTOCOL.md").read_text("utf-8")
SECTIONS = re.split(r"(?m)^#{2,3} (?=\d)", PAGE)[1:]
NUMBERED = {re.match(r"[\d.]*\d", section)[0]: section for section in SECTIONS}  # type: ignore[index]
REFERENCE = re.compile(r"§\s?(\d+(?:\.\d+)*)(?:\s+(rule|deviation) (\w+))?")


def references(text: str) -> set[tuple[str, str, str]]:
    return {found.groups("") for found in REFERENCE.finditer(text)}  # type: ignore[misc]


def in_files(folder: Path) -> dict[Path, set[tuple[str, str, str]]]:
    found = {path: references(path.read_text("utf-8")) for path in folder.rglob("*.py")}
    return {path: sections for path, sections in found.items() if sections and path != Path(__file__)}


@pytest.mark.parametrize("folder", [PACKAGE, TESTS], ids=["package", "tests"])
def test_references_lead_to_a_section(folder: Path) -> None:
    found = in_files(folder)
    assert len(found) > 10  # or the pattern is wrong
    lost = {
        str(path.relative_to(folder)): sorted({section for section, _, _ in sections} - NUMBERED.keys())
        for path, sections in found.items()
    }
    assert {path: sections for path, sections in lost.items() if sections} == {}


def test_numbered_rules_and_deviations_are_there() -> None:
    marks = {"rule": r"(?m)^{}\. ", "deviation": r"(?m)^- \({}\) "}
    for folder in (PACKAGE, TESTS):
        for path, sections in in_files(folder).items():
            for section, kind, name in sections:
                assert not kind or re.search(marks[kind].format(name), NUMBERED[section]), (path, section, kind, name)


def test_the_page_refers_to_its_own_sections() -> None:
    assert {section for section, _, _ in references(PAGE)} <= NUMBERED.keys()


def test_sections_are_in_order_and_none_is_empty() -> None:
    numbers = [tuple(map(int, number.split("."))) for number in NUMBERED]
    assert numbers == sorted(numbers)
    assert len(NUMBERED) == len(SECTIONS)
    assert all(len(section.strip().splitlines()) > 2 for section in SECTIONS if re.match(r"\d+\.\d", section))
