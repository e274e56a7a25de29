"""Command-line arguments: the parsers made from the option table, and errors as one line."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from df2redis_tui import __version__
from df2redis_tui.errors import ConfigError
from df2redis_tui.option_addresses import AddressMap
from df2redis_tui.option_values import KeyMap, Switch
from df2redis_tui.options import BY_NAME, OPTIONS, PASSWORD_ENV, SECTIONS, Option, options_of
from df2redis_tui.settings_sources import nearest

COMMANDS: Final = {
    "run": "copy a Dragonfly server into the target and follow its writes (the default)",
    "demo": "see it work: an embedded source and target, filled, copied and compared",
    "forget": "remove a job's checkpoints from the target, and its state files",
    "config": "print a configuration file with every key, its default and its meaning",
}
_USAGE: Final = "%(prog)s [run] --source URL --target URL [option ...]\n       %(prog)s demo|forget|config [--help]"
_EPILOG: Final = f"""\
Every option is also a key of the configuration file (df2redis-tui config prints one) and a variable, as in
DF2REDIS_BATCH_SIZE=500; a flag wins over a variable, a variable over the file. Passwords: {PASSWORD_ENV["source"]},
{PASSWORD_ENV["target"]}, the ...-password-file options, or the URLs in the configuration file.

exit codes: 0 everything confirmed, 2 configuration, 3 source, 4 target, 5 something could not be copied,
            6 ended by q too early (130, 143: by a signal), 7 drain cut short, 1 a defect of this program

example:    df2redis-tui --source dragonfly://10.0.0.1:6379 --target redis://10.0.0.2:6379 --until caught-up
"""


@dataclass(frozen=True, slots=True)
class RunArguments:
    """What the command line of `run` said: values by option name, as text, and the configuration file."""

    flags: Mapping[str, object]
    config: str | None


class Parser(argparse.ArgumentParser):
    """Raises ConfigError instead of printing a usage text, and never repeats a value that may be a password."""

    def error(self, message: str) -> NoReturn:
        # The only text of argparse that repeats a value is that of --flag=value where the flag takes none.
        told = re.sub(r"ignored explicit argument .*", "takes no value", message, flags=re.DOTALL)
        raise ConfigError(f"{told.removeprefix('argument ')} (see {self.prog} --help)")


class Layout(argparse.HelpFormatter):
    """Flags in a column, sentences beside them; the usage and the last part as they are written."""

    def __init__(self, prog: str) -> None:
        width = min(shutil.get_terminal_size().columns, 120)
        super().__init__(prog, max_help_position=34 if width >= 90 else 24, width=max(60, width))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        return "".join(indent + line + "\n" for line in text.splitlines())


def run_parser() -> argparse.ArgumentParser:
    """The parser of `run`, which is also that of the bare program."""
    commands = "\n".join(f"  {name:<8} {text}" for name, text in COMMANDS.items())
    parser = Parser(
        prog="df2redis-tui",
        usage=_USAGE,
        description="Moves a live Dragonfly server into Redis, Valkey or a Redis Cluster.\n\ncommands:\n" + commands,
        epilog=_EPILOG,
        formatter_class=Layout,
        allow_abbrev=False,
        add_help=False,
    )
    general = parser.add_argument_group("general")
    general.add_argument("--config", metavar="FILE", help="read options from this file (TOML)")
    general.add_argument("--version", action="version", version=f"df2redis-tui {__version__}", help="print the version")
    general.add_argument("--help", "-h", action="help", help="print this text")
    for section in SECTIONS:
        add_options(parser, section)
    return parser


def add_options(parser: argparse.ArgumentParser, section: str) -> None:
    """A group with the options of one section. Values stay text and are absent when not given."""
    title, description = SECTIONS[section]
    group = parser.add_argument_group(title, description)
    for option in options_of(section):
        text = _help_text(option)
        if isinstance(option.kind, Switch):
            group.add_argument(
                option.flag,
                action=argparse.BooleanOptionalAction,
                dest=option.name,
                default=argparse.SUPPRESS,
                help=text,
            )
        elif isinstance(option.kind, AddressMap | KeyMap):
            group.add_argument(
                option.flag,
                action="append",
                dest=option.name,
                default=argparse.SUPPRESS,
                metavar=option.kind.metavar,
                help=text,
            )
        else:
            group.add_argument(
                option.flag, dest=option.name, default=argparse.SUPPRESS, metavar=option.kind.metavar, help=text
            )


def given_flags(namespace: argparse.Namespace) -> dict[str, object]:
    """The options of a namespace that were given, by name."""
    return {name: value for name, value in vars(namespace).items() if name in BY_NAME}


def parse_run(arguments: Sequence[str]) -> RunArguments:
    """The arguments after the command's name. Raises ConfigError; --help and --version end the program."""
    parser = run_parser()
    namespace, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        refuse_unknown(unknown, [*(option.flag for option in OPTIONS), "--no-ui", "--config", "--help", "--version"])
    return RunArguments(given_flags(namespace), namespace.config)


def refuse_unknown(unknown: Sequence[str], known: Iterable[str]) -> NoReturn:
    """ConfigError for arguments no parser took. What is not a flag is not repeated: it may be a password."""
    flag = next((word.partition("=")[0] for word in unknown if word.startswith("--")), None)
    if flag in ("--source-password", "--target-password"):
        side = flag.removeprefix("--").partition("-")[0]
        raise ConfigError(f"{flag} does not exist, `ps` would show it; use {flag}-file or {PASSWORD_ENV[side]}")
    if flag is not None:
        close = nearest(flag.removeprefix("--"), [name.removeprefix("--") for name in known], "--")
        raise ConfigError(f"the option {flag} is not known{close}")
    if unknown[0].startswith("-"):
        raise ConfigError(f"the option {unknown[0][:2]} is not known (see df2redis-tui --help)")
    command = nearest(unknown[0], COMMANDS)
    said = f" {unknown[0]!r}" if command else ""
    raise ConfigError(f"unexpected argument{said}{command or ': every value belongs to an option, as in --source URL'}")


def _help_text(option: Option) -> str:
    default = f" (default {option.default_shown})" if option.default_shown else ""
    return f"{option.help}{default}".replace("%", "%%")
