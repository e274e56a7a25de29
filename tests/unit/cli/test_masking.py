"""The one filter for passwords: its forms, its bounds, and what passes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from df2redis_tui.errors import DecodeError, NotCopied, SourceError, printable
from df2redis_tui.masking import (
    MASK,
    SHORTEST,
    forget_secrets,
    masked,
    masked_values,
    register_secret,
    register_url,
)
from df2redis_tui.settings import Secret
from df2redis_tui.target.connection import error_text
from df2redis_tui.telemetry.dead_letters import DeadLetters
from df2redis_tui.telemetry.format import clean
from df2redis_tui.telemetry.stats import Records
from df2redis_tui.translate.refusals import Refusal
from df2redis_tui.watching import Output

ODD = "pä%7 'w\"d\\x{sekrit}/@:#?&\t\x07é☃"


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    forget_secrets()
    yield
    forget_secrets()


FORMS = (
    str,
    repr,
    ascii,
    json.dumps,
    lambda text: json.dumps(text, ensure_ascii=False),
    lambda text: quote(text, safe=""),
    lambda text: quote(text),
    lambda text: re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quote(text, safe="")),
    quote_plus,
    lambda text: repr(text.encode()),
    lambda text: printable(text.encode(), 1000),
    lambda text: json.dumps(json.dumps(text)),
    lambda text: json.dumps(repr(text)),
    lambda text: repr(json.dumps(text)),
)


@pytest.mark.parametrize("form", range(len(FORMS)))
def test_every_form_is_found(form: int) -> None:
    text = f"before {FORMS[form](ODD)} after"
    register_secret(Secret(ODD))
    said = masked(text)
    assert "sekrit" not in said.lower()
    assert MASK in said
    assert said.startswith("before ")
    assert said.endswith(" after")


@example("000'", 13)
@given(st.text(min_size=SHORTEST, max_size=30), st.integers(0, len(FORMS) - 1))
def test_whatever_the_password(password: str, form: int) -> None:
    forget_secrets()
    secret = f"\x02{password}§"
    text = FORMS[form](secret) if form else secret
    register_secret(Secret(secret))
    assert masked(f"<{text}>").strip("<>'\"\\b") == MASK


@pytest.mark.parametrize("short", ["a", "ab", "abc"])
def test_a_very_short_one_is_masked_as_a_whole_text_only(short: str) -> None:
    register_secret(Secret(short))
    assert masked(f"{short} cat, abacus: abc") == f"{short} cat, abacus: abc"
    assert masked(short) == MASK


def test_an_empty_one_masks_nothing() -> None:
    register_secret(None)
    register_secret(Secret(""))
    assert masked("") == ""
    assert masked("text") == "text"


@pytest.mark.parametrize(
    "url",
    ["redis://u:sekrit@h", "redis://:sekrit@h:1/2", "x redis://u:sek@rit@h y", "redis:/u:sekrit@h", "a://b:c/d@h"],
)
def test_credentials_of_any_url_are_masked(url: str) -> None:
    said = masked(url)
    assert f"{MASK}@h" in said
    assert "rit" not in said


def test_a_url_given_anywhere_makes_its_password_known() -> None:
    register_url("redis://user:sek%20rit!@h:1")
    assert masked("the password is sek rit! or sek%20rit!") == f"the password is {MASK} or {MASK}"


def test_json_is_masked_in_its_values() -> None:
    register_secret(Secret("version"))
    assert masked_values({"version": ["the version", 1, None, {"x": ("version",)}]}) == {
        "version": [f"the {MASK}", 1, None, {"x": [MASK]}]
    }


def test_text_of_a_peer_is_masked_before_it_is_cut() -> None:
    secret = "0123456789abcdef"
    register_secret(Secret(secret))
    for at in range(90, 130):
        said = printable(b"x" * at + secret.encode() + b" tail")
        assert "0123" not in said
        assert len(said) <= 121
    assert "0123" not in printable(secret.encode() * 100, 40)
    assert "0123" not in error_text(f"ERR {'x' * 195}{secret}")


def test_what_goes_out_is_masked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    register_secret(Secret("s3krit"))
    records = Records()
    records.event("error", "end", "no s3krit here")
    records.batch(0, 1, 1, 1, 1, 1.0, "ERR s3krit", True)
    Output(sys.stdout).line("no s3krit")
    letters = DeadLetters(tmp_path / "d.jsonl", "skip")
    letters.refuse(Refusal(0, b"key s3krit", "json", "ERR s3krit"))
    letters.close()
    letter = json.loads((tmp_path / "d.jsonl").read_text())
    said = [
        records.events[-1].text,
        records.batches[-1].result,
        capsys.readouterr().out,
        letter["reason"],
        letter["key"],
        clean("no s3krit"),
        str(SourceError("s3krit")),
        str(NotCopied("s3krit")),
        str(DecodeError("s3krit", flow=1, offset=2)),
    ]
    assert [text for text in said if "s3krit" in text or MASK not in text] == []
