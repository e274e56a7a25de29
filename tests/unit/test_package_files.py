"""The files that pyproject names are there."""

from __future__ import annotations

from pathlib import Path

import tomli

ROOT = Path(__file__).parents[2]


def test_named_files_exist() -> None:
    project = tomli.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [project["readme"], *project["license-files"]]
    assert [name for name in named if not (ROOT / name).is_file()] == []
    assert project["license"] == "MIT"
    assert (ROOT / project["license-files"][0]).read_text("utf-8").startswith("MIT License")
