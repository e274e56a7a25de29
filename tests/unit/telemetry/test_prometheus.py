"""/metrics shows what the snapshot says."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from df2redis_tui.errors import ConfigError
from df2redis_tui.replication.engine import Engine
from df2redis_tui.settings import Endpoint, Settings
from df2redis_tui.telemetry import prometheus
from df2redis_tui.telemetry.prometheus import CONNECTIONS_MOST, serve_metrics


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def engine() -> Engine:
    return Engine(Settings(Endpoint((("127.0.0.1", 1),)), Endpoint((("127.0.0.1", 2),))))


def test_a_scrape_names_the_phase_and_the_health() -> None:
    port = free_port()
    serve_metrics(f"127.0.0.1:{port}", engine().snapshot)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    assert 'df2redis_phase{phase="connecting"} 1.0' in text
    assert "df2redis_health 0.0" in text
    assert "df2redis_dead_letters_total 0.0" in text


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="--metrics 127"):
            serve_metrics(f"127.0.0.1:{taken.getsockname()[1]}", engine().snapshot)


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


@contextlib.contextmanager
def idle_clients(port: int, count: int, says: bytes = b"") -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            client.sendall(says)
            clients.append(client)
        yield clients


def wait_until_threads(most: int) -> None:
    give_up = time.monotonic() + 30
    while threading.active_count() > most:
        assert time.monotonic() < give_up, f"{threading.active_count()} threads"
        time.sleep(0.01)


@pytest.mark.parametrize("says", [b"", b"GET /metrics HTTP/1.1\r\nX: "], ids=["nothing", "half a request"])
def test_idle_clients_are_few_and_do_not_keep_a_scrape_out(says: bytes) -> None:
    port, before = free_port(), threading.active_count()
    serve_metrics(f"127.0.0.1:{port}", engine().snapshot)
    with idle_clients(port, 300, says):
        assert "df2redis_health 0.0" in scraped(port)
        wait_until_threads(before + 1 + CONNECTIONS_MOST)


def test_a_client_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus._Handler, "timeout", 0.05)
    port = free_port()
    serve_metrics(f"127.0.0.1:{port}", engine().snapshot)
    with idle_clients(port, 1) as (client,):
        assert client.recv(1) == b""


def test_a_scrape_that_fails_is_one_line_of_the_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise ZeroDivisionError

    port = free_port()
    serve_metrics(f"127.0.0.1:{port}", fails)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="closed"):
        scraped(port)
    wait_until_threads(threading.active_count())
    assert "ZeroDivisionError" in caplog.text
    assert capfd.readouterr().err == ""


def test_without_file_descriptors_it_waits_and_does_not_spin() -> None:
    port = free_port()
    serve_metrics(f"127.0.0.1:{port}", engine().snapshot)
    assert "df2redis_health" in scraped(port)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client:
        client.settimeout(30)
        spent = time.process_time()
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
        try:
            client.connect(("127.0.0.1", port))
            time.sleep(0.5)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert time.process_time() - spent < 0.3
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert client.recv(4) == b"HTTP"
