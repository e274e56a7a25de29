"""`df2redis-tui demo`: a source, a target and a writer, the real engine between them, and a comparison at the end."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from df2redis_tui.arguments import Layout, Parser, add_options, given_flags, refuse_unknown
from df2redis_tui.demo.children import Child
from df2redis_tui.demo.embedded import server_binary
from df2redis_tui.demo.release import Release
from df2redis_tui.demo.show import DemoEngine
from df2redis_tui.demo.target import EmbeddedTarget
from df2redis_tui.errors import EXIT_DONE, EXIT_NOT_COPIED, ConfigError
from df2redis_tui.options import BY_NAME, options_of
from df2redis_tui.replication.engine import Engine
from df2redis_tui.replication.handle import EngineHandle
from df2redis_tui.settings import Endpoint, Settings
from df2redis_tui.settings_sources import collect, tuning_of
from df2redis_tui.telemetry.snapshot import Verdict
from df2redis_tui.verify.compare import Comparison, Tolerance, compare

Drive = Callable[[EngineHandle, Settings], int]

_SECTIONS: Final = ("tuning", "output", "display")
EXIT_HANGUP: Final = 129
_FIELD_TTL_MS: Final = 30_000  # field TTLs travel as relative seconds: they are late by the lag of their record


def main(argv: Sequence[str], drive: Drive | None = None) -> int:
    """Run the demo; exit code 0 only when both sides are equal at the end. `drive` runs the front end."""
    options, settings_for = _parse(argv)
    server_binary()
    with _signals_as_interrupt():
        stages = _Stages(options)
        try:
            return stages.run(settings_for, drive or _front_end)
        except KeyboardInterrupt:
            return 130
        finally:
            stages.end()


class _Stages:
    """Everything that has to end with the demo."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._target: EmbeddedTarget | None = None
        self._children: list[Child] = []

    def run(self, settings_for: Callable[[Endpoint, Endpoint, Path], Settings], drive: Drive) -> int:
        options = self._options
        cluster = options.demo_target == "cluster"
        _say(f"demo: starting a look-alike of Dragonfly {options.source_version} ({options.flows} shards) and a target")
        source = self._child("source", "--flows", str(options.flows), "--version", options.source_version)
        self._target = asyncio.run(EmbeddedTarget.start(cluster=cluster))
        port = source.read()["port"]
        assert isinstance(port, int)
        writer = self._child(
            "writer", "--port", str(port), "--keys", str(options.demo_keys), "--rate", str(options.write_rate),
            "--seed", str(options.seed), "--dbs", "0" if cluster else "0,1,3",
        )  # fmt: skip
        filled = writer.read()["filled"]
        _say(f"demo: {filled:,} keys on 127.0.0.1:{port}, {options.write_rate:,} writes/s from now on")
        here, there = Endpoint((("127.0.0.1", port),)), self._target.endpoint
        # Not below the servers' directories, which go with them: the report names the log, and people read it then.
        settings = settings_for(here, there, Path(tempfile.mkdtemp(prefix="df2redis-tui-demo-")))
        engine = DemoEngine(Engine(settings), writer, port, options.duration)
        code = drive(engine, settings)
        engine.wait(5)
        return self._verdict(engine, code, settings)

    def _child(self, name: str, *arguments: str) -> Child:
        child = Child(f"df2redis_tui.demo.{name}", arguments)
        self._children.append(child)
        return child

    def _verdict(self, engine: DemoEngine, code: int, settings: Settings) -> int:
        if engine.abandoned:
            return EXIT_HANGUP
        if engine.source_failure:
            _say(f"demo: {engine.source_failure}")
        outcome = engine.snapshot().outcome
        if outcome.verdict not in (Verdict.COMPLETE, Verdict.INCOMPLETE) or not engine.drained:
            _say("demo: not everything had arrived when it ended, so the sides are not compared")
            return code or EXIT_NOT_COPIED
        _say(f"demo: {engine.written:,} writes while it ran; comparing every key of both sides")
        result = asyncio.run(_compare(settings))
        for difference in result.samples:
            _say(f"demo:   {difference}")
        _say(f"demo: {result}")
        return code or (EXIT_DONE if result.same else EXIT_NOT_COPIED)

    def end(self) -> None:
        with suppress(KeyboardInterrupt):
            for child in reversed(self._children):
                child.end()
        if self._target is not None:
            self._target.end()


async def _compare(settings: Settings) -> Comparison:
    return await compare(
        settings.source,
        settings.target,
        ignore_prefixes=(settings.checkpoint_prefix.encode(), b"{" + settings.checkpoint_prefix.encode()),
        tolerance=Tolerance(field_ttl_ms=_FIELD_TTL_MS),
    )


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, Callable[[Endpoint, Endpoint, Path], Settings]]:
    parser = Parser(
        prog="df2redis-tui demo",
        description="Copies a look-alike of Dragonfly into an embedded server under writes, and compares them.",
        formatter_class=Layout,
        allow_abbrev=False,
        conflict_handler="resolve",  # --keys is a number here, and the key map of the display in `run`
    )
    for section in _SECTIONS:
        add_options(parser, section)
    own = parser.add_argument_group("demo")
    own.add_argument(
        "--keys",
        dest="demo_keys",
        type=_count,
        default=20_000,
        metavar="N",
        help="keys before the start (default 20000)",
    )
    own.add_argument("--flows", type=_flows, default=4, metavar="N", help="shards of the source (default 4)")
    own.add_argument(
        "--write-rate", type=_count, default=2_000, metavar="OPS", help="writes per second while it runs (default 2000)"
    )
    own.add_argument(
        "--duration", type=_seconds, metavar="SECONDS", help="end after this time (default: until you quit)"
    )
    own.add_argument(
        "--target",
        dest="demo_target",
        choices=("standalone", "cluster"),
        default="standalone",
        help="one server, or a cluster of three",
    )
    own.add_argument("--seed", type=int, default=1, metavar="N", help="of the data and the writes (default 1)")
    own.add_argument(
        "--source-version", type=_version, default="df-v1.40.1", metavar="VERSION", help="the release it behaves like"
    )
    options, unknown = parser.parse_known_args(list(argv))
    if unknown:
        flags = [option.flag for section in _SECTIONS for option in options_of(section)]
        own_flags = ["--keys", "--flows", "--write-rate", "--duration", "--target", "--seed", "--no-ui", "--help"]
        refuse_unknown(unknown, [*flags, *own_flags])
    # What the environment and a configuration file say about a real run does not concern the demo.
    given = collect(given_flags(options), {})

    def settings_for(source: Endpoint, target: Endpoint, directory: Path) -> Settings:
        fields = {BY_NAME[name].field: entry.value for name, entry in given.items()}
        settings = Settings(
            source=source,
            target=target,
            tuning=tuning_of(given),
            job="demo",
            state_dir=directory / "state",
            log_dir=directory / "log",
        )
        return dataclasses.replace(settings, **{name: value for name, value in fields.items() if "." not in name})

    return options, settings_for


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _flows(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 256:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def _version(text: str) -> str:
    try:
        return Release.parse(text).text
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _front_end(engine: EngineHandle, settings: Settings) -> int:
    """The display where there is a terminal, else status lines.

    Loaded by name: this package lies below the front ends, and `demo --no-ui` should not load Textual.
    """
    from df2redis_tui.telemetry.logs import setup_logging

    terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    usable = terminal and os.environ.get("TERM", "") not in ("", "dumb")
    if settings.ui and not usable:
        raise ConfigError("--ui needs a terminal, and there is none")
    settings = dataclasses.replace(settings, ui=usable if settings.ui is None else settings.ui)
    setup_logging(settings.log_dir, settings.log_format)
    module = importlib.import_module("df2redis_tui.tui.app" if settings.ui else "df2redis_tui.headless")
    run: Drive = module.run
    return run(engine, settings)


@contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """While servers start or are compared, SIGTERM and SIGHUP end the demo as Ctrl-C does; the front ends have their
    own.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    with suppress(OSError, ValueError):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
