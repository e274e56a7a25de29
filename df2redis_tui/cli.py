"""The command line: arguments → settings → one command → exit code. Everything heavy is imported when needed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from df2redis_tui.errors import EXIT_DONE, ConfigError, Df2RedisError

if TYPE_CHECKING:
    from df2redis_tui.replication.handle import EngineHandle
    from df2redis_tui.settings import Settings

EXIT_DEFECT: Final = 1
_DRAIN_SECONDS: Final = 30.0
_LEAVE_SECONDS: Final = 10.0  # for what is left when a command is through: writing the log, threads that wait


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Whatever goes wrong is one line on stderr."""
    code = _main(argv)
    if argv is None:  # the process ends with it
        from df2redis_tui.watchdog import end_within

        end_within(_LEAVE_SECONDS, code)
    _end_logging()
    return code


def _main(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(arguments)
        _flush()
    except SystemExit as ended:  # --help and --version
        _flush()
        return ended.code if isinstance(ended.code, int) else EXIT_DONE
    except Df2RedisError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _flush()
        return 141
    except Exception as error:
        _complain(f"unexpected {type(error).__name__}; the details are in {_record_defect(error)}")
        return EXIT_DEFECT
    return code


def _dispatch(arguments: list[str]) -> int:
    match arguments:
        case ["run", *rest]:
            return _run(rest)
        case ["demo", *rest]:
            from df2redis_tui.demo.command import main as demo

            return demo(rest)
        case ["forget", *rest]:
            from df2redis_tui.forgetting import main as forget

            return forget(rest)
        case ["config", *rest]:
            return _config(rest)
        case _:
            return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    from df2redis_tui.arguments import parse_run
    from df2redis_tui.settings_sources import load

    parsed = parse_run(arguments)
    loaded = load(parsed.flags, os.environ, parsed.config)
    headless = _why_headless(loaded.settings.ui, os.environ)
    settings = dataclasses.replace(loaded.settings, ui=headless is None)
    for warning in loaded.warnings:
        _say(f"df2redis-tui: warning: {warning}")
    if headless:
        _say(f"df2redis-tui: {headless}: running without the full-screen display, as with --no-ui")
    _start_logging(settings, loaded.warnings)

    from df2redis_tui import descriptors

    descriptors.raise_limit()

    from df2redis_tui.replication.engine import Engine

    engine = Engine(settings)
    if settings.metrics:
        from df2redis_tui.telemetry.prometheus import serve_metrics

        serve_metrics(settings.metrics, engine.snapshot)
    return _drive(engine, settings)


def _drive(engine: EngineHandle, settings: Settings) -> int:
    try:
        if settings.ui:
            from df2redis_tui.tui.app import run
        else:
            from df2redis_tui.headless import run
        return run(engine, settings)
    except Df2RedisError:
        raise
    except Exception:
        # The front end broke, not the engine: what is in flight gets confirmed before the process ends.
        engine.request_stop(_DRAIN_SECONDS)
        engine.wait(_DRAIN_SECONDS + 5)
        raise


def _config(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] not in ("-h", "--help"):
        raise ConfigError("config takes no arguments; it prints a configuration file: df2redis-tui config > my.toml")
    if arguments:
        sys.stdout.write(
            "usage: df2redis-tui config > FILE.toml\n\n"
            "Prints a configuration file with every key, its default and its meaning, for --config FILE.toml.\n"
        )
        return EXIT_DONE
    from df2redis_tui.option_docs import config_template

    sys.stdout.write(config_template())
    return EXIT_DONE


def _why_headless(asked: bool | None, environ: Mapping[str, str]) -> str | None:
    """None for the full-screen display, "" where it was declined, otherwise why there is none."""
    if asked is False:
        return ""
    reason = None
    if environ.get("TERM", "") in ("", "dumb"):
        reason = f"TERM is {environ.get('TERM') or 'not set'}"
    if any(stream is None or not stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        reason = "there is no terminal"
    if reason and asked:
        raise ConfigError(f"--ui needs a terminal, but {reason}")
    return reason


def _start_logging(settings: Settings, warnings: Sequence[str]) -> None:
    from df2redis_tui import __version__
    from df2redis_tui.telemetry.logs import get_logger, setup_logging

    setup_logging(settings.log_dir, settings.log_format)
    log = get_logger(__name__)
    log.info(
        "start",
        version=__version__,
        job=settings.job,
        source=settings.source.label,
        target=settings.target.label,
        mode=settings.mode,
        pid=os.getpid(),
    )
    for warning in warnings:
        log.warning(warning)


def _end_logging() -> None:
    # Looked up rather than imported: a command that never logged should not load logging to end it.
    logs = sys.modules.get("df2redis_tui.telemetry.logs")
    if logs is not None:
        logs.stop_logging()


def _record_defect(error: Exception) -> str:
    """Where the traceback was written: the log, or a file of its own when there is no log yet."""
    import tempfile
    import traceback

    from df2redis_tui.masking import masked
    from df2redis_tui.telemetry.logs import get_logger, log_path

    path = log_path()
    if path is not None:
        get_logger(__name__).error(f"unexpected {type(error).__name__}", exc=error)
        return str(path)
    text = masked("".join(traceback.format_exception(error)))
    with tempfile.NamedTemporaryFile("w", prefix="df2redis-tui-", suffix=".log", delete=False) as file:
        file.write(text)
    return file.name


def _complain(text: str) -> None:
    _say(f"df2redis-tui: error: {' '.join(text.splitlines())}")


def _say(text: str) -> None:
    from df2redis_tui.masking import masked

    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(masked(text) + "\n")
        sys.stderr.flush()


def _flush() -> None:
    """Write out what is buffered; a reader that has gone away (`| head`) is not an error."""
    with contextlib.suppress(ValueError, AttributeError):
        try:
            sys.stdout.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
