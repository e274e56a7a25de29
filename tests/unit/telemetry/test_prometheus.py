"""/metrics shows what the snapshot says."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from df2redis_tui.errors import ConfigError
from df2redis_tui.replication.engine import Engine
from df2redis_tui.settings import Endpoint, Settings
from df2redis_tui.telemetry.prometheus import serve_metrics


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
