"""Ways to give a password x places where it might come out, with peers that repeat it in what they answer."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil
import pytest

from tests.support.player import Behaviour, Player, Script
from tests.support.processes import free_port
from tests.support.program import Program, copy_arguments
from tests.support.servers import available_targets, start_server
from tests.support.synthetic import STRING, entry, flow, string

pytestmark = pytest.mark.real
Start = Callable[..., Program]
SCRIPT = Script((flow([entry(STRING, b"k", string(b"v"))]),))
PASSWORD = "pä%7 'w\"d\\x{sekrit}/@:#?&"  # what every form of quoting changes
MARK = "sekrit"  # of it: all of its forms have this, and nothing else does
FORMS: Mapping[str, Callable[[str], str]] = {
    "plain": str,
    "Python": repr,
    "JSON": json.dumps,
    "percent": lambda text: quote(text, safe=""),
    "twice": lambda text: json.dumps(json.dumps(text)),
}


@dataclass(slots=True)
class Given:
    """What a way adds to the command line, the environment and the files of a run."""

    url: str
    arguments: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)


def with_password(url: str) -> str:
    return url.replace("://", f"://:{quote(PASSWORD, safe='')}@")


def in_the_url(side: str, url: str, directory: Path) -> Given:
    return Given(with_password(url))


def in_a_raw_url(side: str, url: str, directory: Path) -> Given:
    return Given(url.replace("://", f"://:{PASSWORD.replace('%', '%25')}@"))


def in_the_environments_url(side: str, url: str, directory: Path) -> Given:
    return Given("", env={f"DF2REDIS_{side.upper()}": with_password(url)})


def in_the_environment(side: str, url: str, directory: Path) -> Given:
    return Given(url, env={f"DF2REDIS_{side.upper()}_PASSWORD": PASSWORD})


def in_a_file(side: str, url: str, directory: Path) -> Given:
    (directory / "password").write_text(PASSWORD + "\n")
    return Given(url, [f"--{side}-password-file", str(directory / "password")])


def in_the_configuration(side: str, url: str, directory: Path) -> Given:
    (directory / "copy.toml").write_text(f"[{side}]\nurl = {json.dumps(with_password(url))}\n")
    return Given("", ["--config", str(directory / "copy.toml")])


def in_a_file_of_the_configuration(side: str, url: str, directory: Path) -> Given:
    (directory / "password").write_text(PASSWORD)
    (directory / "copy.toml").write_text(
        f"[{side}]\nurl = '{url}'\npassword_file = {json.dumps(str(directory / 'password'))}\n"
    )
    return Given("", ["--config", str(directory / "copy.toml")])


WAYS = (
    in_the_url,
    in_a_raw_url,
    in_the_environments_url,
    in_the_environment,
    in_a_file,
    in_the_configuration,
    in_a_file_of_the_configuration,
)


def arguments(given: Given, side: str, other: str, *more: str) -> list[str]:
    own = [f"--{side}", given.url] if given.url else []
    rest = ["--target" if side == "source" else "--source", other]
    return [*own, *rest, *given.arguments, "--until", "caught-up", "--on-error", "skip", *more]


def assert_kept(program: Program) -> None:
    """Neither output nor any file of the run has it, whatever the form."""
    texts = {str(p): p.read_text(errors="replace") for p in program.directory.rglob("*") if p.is_file()}
    assert texts.keys() >= {str(program.output_file)}
    for name, text in texts.items():
        assert MARK not in text, f"{name}: {text}"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("way", WAYS[:1], ids=lambda way: way.__name__)
def test_in_every_form_in_which_a_peer_repeats_it(
    way: Callable[[str, str, Path], Given], side: str, form: str, start: Start, tmp_path: Path
) -> None:
    repeated(way, side, FORMS[form](PASSWORD), start, tmp_path)


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("way", WAYS[1:], ids=lambda way: way.__name__)
def test_however_it_was_given(way: Callable[[str, str, Path], Given], side: str, start: Start, tmp_path: Path) -> None:
    repeated(way, side, PASSWORD, start, tmp_path)


def repeated(way: Callable[[str, str, Path], Given], side: str, said: str, start: Start, tmp_path: Path) -> None:
    """A peer that has let the run in refuses what comes next, with the password in its text, and a long tail."""
    text = f"ERR {'x' * 60} {said} is not what {said} was"
    metrics = free_port()
    behaviour = Behaviour(password=PASSWORD if side == "source" else None)
    if side == "source":
        behaviour.refuse = {"DFLY SYNC": text}
    with contextlib.ExitStack() as peers:
        player = peers.enter_context(Player(SCRIPT, behaviour=behaviour))
        if side == "target":
            port = peers.enter_context(answering(f"-{text}\r\n".encode(), lets_in=True))
        else:
            port = peers.enter_context(start_server(available_targets()[0])).port
        urls = {"source": player.url, "target": f"redis://127.0.0.1:{port}"}
        given = way(side, urls.pop(side), tmp_path)
        more = ["--log-format", "json"] if len(said) % 2 else []
        line = arguments(given, side, *urls.values(), "--metrics", f"127.0.0.1:{metrics}", *more)
        program = start(line, env=given.env, name="run")
        if way not in (in_the_url, in_a_raw_url):
            with contextlib.suppress(psutil.Error):
                assert MARK not in " ".join(psutil.Process(program.process.pid).cmdline())
        code = program.wait()
    assert code == (3 if side == "source" else 4), program.output()
    assert "***" in program.output() + program.log(), program.output() + program.log()
    assert_kept(program)


@contextlib.contextmanager
def answering(text: bytes, *, lets_in: bool = False) -> Iterator[int]:
    """A server that answers whatever comes with `text`, but AUTH and PING where it `lets_in`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    while asked := connection.recv(4096):
                        accepted = b"+OK\r\n" if b"AUTH" in asked else b"+PONG\r\n" if b"PING" in asked else b""
                        connection.sendall(accepted if lets_in and accepted else text)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@pytest.mark.parametrize(
    "text",
    ["-ERR no {} here", "-{}", "-{} ERR", "-WRONGPASS {} is wrong", "-LOADING {}", "-ERR max number of clients {}"],
)
@pytest.mark.parametrize("password", ["hunter2-sekrit", "q9"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_an_answer_to_auth_shows_its_code_only(
    side: str, password: str, text: str, start: Start, tmp_path: Path, unused_port: int
) -> None:
    with answering(text.format(password).encode() + b"\r\n") as port:
        urls = {"source": f"dragonfly://127.0.0.1:{unused_port}", "target": f"redis://127.0.0.1:{unused_port}"}
        if side == "source":
            with start_server(available_targets()[0]) as server:
                urls = {"source": f"dragonfly://127.0.0.1:{port}", "target": server.url}
                program = refused(side, urls, password, start)
        else:
            urls["target"] = f"redis://127.0.0.1:{port}"
            program = refused(side, urls, password, start)
    ours = {str(port), str(unused_port)}
    for text_of in (program.output(), program.log(), program.summary_file.read_text()):
        for number in ours:
            text_of = text_of.replace(number, "")
        assert f"{password} " not in text_of
        assert f" {password}" not in text_of


def refused(side: str, urls: Mapping[str, str], password: str, start: Start) -> Program:
    env = {f"DF2REDIS_{side.upper()}_PASSWORD": password}
    program = start(
        ["--source", urls["source"], "--target", urls["target"], "--no-reconnect", "--until", "caught-up"], env=env
    )
    assert program.wait() in (3, 4), program.output()
    return program


def test_in_a_run_that_goes_well(start: Start, tmp_path: Path) -> None:
    with (
        Player(SCRIPT, behaviour=Behaviour(password=PASSWORD)) as player,
        start_server(available_targets()[0]) as server,
    ):
        with server.client() as client:
            client.config_set("requirepass", PASSWORD)
        program = start(
            copy_arguments(with_password(player.url), with_password(f"redis://127.0.0.1:{server.port}")), name="run"
        )
        assert program.wait() == 0, program.output()
    assert_kept(program)
    assert urlsplit(player.url).hostname in program.output()
