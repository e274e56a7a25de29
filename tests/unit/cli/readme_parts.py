"""The parts of README.md that come from the code. `python3 -m tests.unit.cli.readme_parts` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

from df2redis_tui.option_docs import config_template, option_table
from df2redis_tui.telemetry.report import SUMMARY_KEYS
from df2redis_tui.tui.actions import key_table

README = Path(__file__).parents[3] / "README.md"


def parts() -> dict[str, str]:
    """Marker → text between `<!-- marker -->` and `<!-- /marker -->`."""
    keys = "".join(f"| `{key}` | {meaning} |\n" for key, meaning in SUMMARY_KEYS.items())
    return {
        "options": option_table(),
        "config": f"```toml\n{config_template()}```\n",
        "keys": key_table(),
        "summary": f"| key | meaning |\n|---|---|\n{keys}",
    }


def renewed(text: str) -> str:
    """`text` with every part as it should be."""
    for marker, content in parts().items():
        pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
        text, found = pattern.subn(lambda match, content=content: match[1] + content + match[2], text)
        if found != 1:
            raise ValueError(f"README.md has {found} parts marked {marker}, not one")
    return text


if __name__ == "__main__":
    README.write_text(renewed(README.read_text("utf-8")), "utf-8")
