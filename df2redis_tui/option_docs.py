"""The option table as a documented configuration file and as the README's table."""

from __future__ import annotations

import textwrap

from df2redis_tui.option_values import Choice, Switch
from df2redis_tui.options import OPTIONS, SECTIONS, Option, options_of

_HEAD = """\
# Configuration of df2redis-tui. Every key is shown with its default, or with an example where there is none.
# A variable DF2REDIS_... wins over this file, a flag over both. Unknown keys are errors.
"""


def config_template() -> str:
    """A TOML file with every key, commented out, so that it means the defaults as it is."""
    parts = [_HEAD]
    for section, (_, description) in SECTIONS.items():
        parts.append(f"\n# {description}\n[{section}]\n")
        parts.extend(_config_entry(option) for option in options_of(section))
    return "".join(parts)


def option_table() -> str:
    """The README's table of options, as Markdown."""
    rows = ["| flag | file | default | meaning |", "|---|---|---|---|"]
    for option in OPTIONS:
        default = f"`{option.default_shown}`" if option.default_shown else ""
        rows.append(
            f"| `{_flag(option)}` | `[{option.section}]` `{option.short_key}` | {default} | {_sentence(option)} |"
        )
    return "\n".join(rows) + "\n"


def _config_entry(option: Option) -> str:
    words = f" One of {', '.join(option.kind.words)}." if isinstance(option.kind, Choice) else ""
    default = f" Default: {option.default_text}." if option.default_text not in ("", option.example, "true") else ""
    comment = textwrap.fill(
        f"{_sentence(option)}.{words}{default}",
        110,
        initial_indent="# ",
        subsequent_indent="# ",
        break_on_hyphens=False,
    )
    value = option.example or (option.default_text if option.default is None else option.kind.to_toml(option.default))
    return f"{comment}\n#{option.short_key} = {value}\n"


def _flag(option: Option) -> str:
    if isinstance(option.kind, Switch):
        return f"--[no-]{option.name}"
    return f"{option.flag} {option.kind.metavar}".replace("|", "/")


def _sentence(option: Option) -> str:
    return (
        option.help[0].upper() + option.help[1:]
        if not option.help.startswith(("dragonfly:", "redis:"))
        else option.help
    )
