"""A server that does not let us in says why: a full one is no wrong password, and neither is one that speaks TLS."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import pytest

from df2redis_tui.dragonfly.control import Control
from df2redis_tui.errors import Df2RedisError, SourceError, SourceLost, TargetError, TargetLost
from df2redis_tui.login import unwelcome
from df2redis_tui.settings import Endpoint, Secret, Tls
from df2redis_tui.target.connection import open_target
from tests.support.certificates import make_certificates
from tests.support.proxy import Proxy
from tests.support.servers import available_targets, start_server

WITH_PASSWORD = Secret("x")


async def _to_source(endpoint: Endpoint) -> None:
    control = await Control.connect(endpoint)
    try:
        await control.greet("0" * 40)
    finally:
        await control.aclose()


async def _to_target(endpoint: Endpoint) -> None:
    await (await open_target(endpoint, endpoint.hosts[0])).aclose()


@contextlib.contextmanager
def answering(text: bytes) -> Iterator[int]:
    """A server that answers whatever comes with `text` and closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(text)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def refused(to: Callable[[Endpoint], Awaitable[None]], port: int, **how: object) -> Df2RedisError:
    endpoint = Endpoint((("127.0.0.1", port),), **how)  # type: ignore[arg-type]
    with pytest.raises(Df2RedisError) as caught:
        anyio.run(to, endpoint)
    return caught.value


BOTH = pytest.mark.parametrize("to", [_to_source, _to_target], ids=["source", "target"])
PASSWORDS = pytest.mark.parametrize("password", [None, WITH_PASSWORD], ids=["no password", "password"])


@BOTH
@PASSWORDS
def test_a_full_server_is_full_for_now(to: Callable[[Endpoint], Awaitable[None]], password: Secret | None) -> None:
    with answering(b"-ERR max number of clients reached\r\n") as port:
        error = refused(to, port, password=password)
    assert isinstance(error, (SourceLost, TargetLost))
    assert "takes no more connections for now" in str(error)
    assert "password" not in str(error)


@BOTH
@PASSWORDS
def test_a_dragonfly_that_speaks_tls_says_so(
    to: Callable[[Endpoint], Awaitable[None]], password: Secret | None
) -> None:
    with answering(b"-ERR Bad TLS header, double check if you enabled TLS for your client.\r\n") as port:
        error = refused(to, port, password=password)
    assert type(error) in (SourceError, TargetError)
    assert "speaks TLS: use rediss://" in str(error)
    assert "password" not in str(error)


@BOTH
@pytest.mark.parametrize("answer", [b"\x15\x03\x01\x00\x02\x02\x0a", b""], ids=["alert", "closed"])
def test_what_looks_like_tls_is_named(to: Callable[[Endpoint], Awaitable[None]], answer: bytes) -> None:
    with answering(answer) as port:
        error = refused(to, port)
    assert "speaks TLS" in str(error)
    assert "use rediss:// in its URL" in str(error)


@BOTH
def test_a_port_that_does_not_speak_tls_is_named(to: Callable[[Endpoint], Awaitable[None]]) -> None:
    with answering(b"-ERR unknown command\r\n") as port:
        error = refused(to, port, tls=Tls(verify=False))
    assert "if this port does not speak TLS, use redis://" in str(error)


@BOTH
def test_a_wrong_password_is_one(to: Callable[[Endpoint], Awaitable[None]]) -> None:
    with answering(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n") as port:
        assert "refused the password" in str(refused(to, port, password=WITH_PASSWORD))


@pytest.mark.real
def test_a_real_server_that_is_full(tmp_path: Path) -> None:
    with start_server(available_targets()[0], password="x") as server, server.client() as client:
        client.config_set("maxclients", 1)
        error = refused(_to_target, server.port, password=WITH_PASSWORD)
    assert isinstance(error, TargetLost)
    assert "takes no more connections for now" in str(error)


@pytest.mark.real
def test_tls_in_front_of_a_real_server(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with start_server(available_targets()[0]) as server, Proxy(server.port, certificates=certificates) as proxy:
        error = refused(_to_target, proxy.port)
    assert "use rediss://" in str(error)


@pytest.mark.parametrize(
    ("answer", "says", "temporary"),
    [
        ("NOAUTH Authentication required.", "asks for a password", False),
        ("LOADING Redis is loading the dataset in memory", "is not ready", True),
        ("ERR AUTH <password> called without any password configured for the default user.", "the password", False),
        ("ERR unknown command `AUTH`", "refused AUTH", False),
    ],
)
def test_what_answers_mean(answer: str, says: str, temporary: bool) -> None:
    why = unwelcome(answer)
    assert "configured" not in why.text
    assert says in why.text
    assert why.temporary is temporary
