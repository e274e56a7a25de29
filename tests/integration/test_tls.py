"""TLS on both sides. The servers from wheels are built without it, so a proxy ends the target's TLS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.certificates import Certificates, make_certificates
from tests.support.player import Behaviour, Player, Script
from tests.support.program import Program, copy_arguments
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.synthetic import STRING, entry, flow, record, string

pytestmark = pytest.mark.real
SCRIPT = Script((flow([entry(STRING, b"a", string(b"1"))], [record(b"INCR", b"a")]), flow()))
Run = Callable[..., Program]


def test_both_sides_encrypted(any_target: Server, certificates: Certificates, run: Run) -> None:
    with (
        Player(SCRIPT, behaviour=Behaviour(certificates=certificates, password="pw")) as player,
        Proxy(any_target.port, certificates=certificates) as tls,
    ):
        program = run(
            copy_arguments(
                player.url,
                f"rediss://127.0.0.1:{tls.port}",
                "--source-ca",
                str(certificates.ca),
                "--target-ca",
                str(certificates.ca),
            ),
            env={"DF2REDIS_SOURCE_PASSWORD": "pw"},
        )
    assert program.process.returncode == 0, program.output()
    assert any_target.client().get("a") == b"2"
    assert player.violations == []


def test_an_unknown_authority_is_refused(
    any_target: Server, certificates: Certificates, tmp_path: Path, run: Run
) -> None:
    stranger = make_certificates(tmp_path / "stranger")
    with Player(SCRIPT, behaviour=Behaviour(certificates=stranger)) as player:
        program = run(copy_arguments(player.url, any_target.url, "--source-ca", str(certificates.ca)), name="source")
        assert program.process.returncode == 3, program.output()
        assert "certificate" in program.output().lower()
    with Player(SCRIPT) as player, Proxy(any_target.port, certificates=stranger) as tls:
        program = run(
            copy_arguments(player.url, f"rediss://127.0.0.1:{tls.port}", "--target-ca", str(certificates.ca)),
            name="target",
        )
        assert program.process.returncode == 4, program.output()
        assert "certificate" in program.output().lower()


def test_plain_text_to_a_tls_port_is_one_clear_line(any_target: Server, certificates: Certificates, run: Run) -> None:
    with Player(SCRIPT, behaviour=Behaviour(certificates=certificates)) as player:
        program = run(copy_arguments(player.url.replace("dragonflys", "dragonfly"), any_target.url, "--no-reconnect"))
    assert program.process.returncode == 3, program.output()
    assert "Traceback" not in program.output()
