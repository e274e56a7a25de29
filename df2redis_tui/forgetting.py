"""`df2redis-tui forget`: arguments, and what it says."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from df2redis_tui.arguments import Layout, Parser, add_options, given_flags, refuse_unknown
from df2redis_tui.errors import EXIT_DONE
from df2redis_tui.options import BY_NAME
from df2redis_tui.settings_sources import load

if TYPE_CHECKING:
    from df2redis_tui.replication.forget import Forgotten

_OF_THE_JOB: Final = ("job", "checkpoint-prefix", "state-dir")


def main(arguments: Sequence[str]) -> int:
    """Raises ConfigError, TargetError."""
    parser = Parser(
        prog="df2redis-tui forget",
        usage="%(prog)s --target URL [--job NAME] [option ...]",
        description="Removes what a job keeps: its checkpoints, guards, record and lease on the target, and its state "
        "files. The copied data stays. Afterwards the job's name begins anew, with a full sync.",
        formatter_class=Layout,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="read options from this file (TOML)")
    for name in _OF_THE_JOB:
        option = BY_NAME[name]
        parser.add_argument(
            option.flag, dest=name, default=argparse.SUPPRESS, metavar=option.kind.metavar, help=option.help
        )
    add_options(parser, "target")
    namespace, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        refuse_unknown(unknown, [action.option_strings[0] for action in parser._actions if action.option_strings])
    settings = load(given_flags(namespace), os.environ, namespace.config, needs_source=False).settings

    import anyio

    from df2redis_tui.replication.forget import forget

    found = anyio.run(forget, settings)
    sys.stdout.write(_said(settings.job, settings.target.label, found))
    return EXIT_DONE


def _said(job: str, target: str, found: Forgotten) -> str:
    if not (found.checkpoints or found.guards or found.others or found.files):
        return f"nothing is known of job {job!r}: neither on {target} nor in the state directory\n"
    lines = [
        f"job {job!r}: removed from {target}: {found.checkpoints} checkpoints, {found.guards} guards, "
        f"{found.others} other keys"
    ]
    lines += [f"removed {path}" for path in found.files]
    return "\n".join(lines) + "\n"
