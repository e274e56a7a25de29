"""Passwords that this process knows, and the one filter that keeps them out of whatever it shows or writes.

Text that comes from a peer passes `masked` before it is cut (`errors.printable`), and whatever goes out passes it once
more. A password is found as it is, as a string literal of Python or JSON, and percent-encoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, quote_plus, unquote

from df2redis_tui.settings import Secret

SHORTEST: Final = 4  # characters: masking shorter ones would blacken ordinary text
MASK: Final = "***"
_BOTH_QUOTES: Final = b"'\""
# From the scheme to the last @ before the end of the word, so that a password with a / or an @ in it is caught whole.
_CREDENTIALS: Final = re.compile(r"(?<=:/)(/?)[^\s\"'<>]*:[^\s\"'<>]*@")
_PASSWORD_OF_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/{1,2}[^:\s]*:(.*)@", re.DOTALL)


class _Known:
    """The passwords, and the pattern that finds all of their forms."""

    def __init__(self) -> None:
        self.forms: set[str] = set()
        self.short: set[str] = set()
        self.pattern: re.Pattern[str] | None = None

    def add(self, forms: set[str]) -> None:
        if not forms <= self.forms:
            self.forms |= forms
            self.pattern = re.compile("|".join(map(re.escape, sorted(self.forms, key=len, reverse=True))))

    def clear(self) -> None:
        self.forms.clear()
        self.short.clear()
        self.pattern = None


_known = _Known()


def register_secret(secret: Secret | None) -> None:
    """Mask this text wherever it may turn up from now on; of less than `SHORTEST` characters only as a whole text."""
    if secret is None or not secret.reveal():
        return
    text = secret.reveal()
    if len(text) < SHORTEST:
        _known.short.add(text)
        return
    _known.add(forms_of(text))


def register_url(text: object) -> None:
    """The password of a URL, wherever the URL was given, also where none belongs."""
    found = _PASSWORD_OF_URL.match(text.strip()) if isinstance(text, str) else None
    if found and found[1]:
        register_secret(Secret(found[1]))
        register_secret(Secret(unquote(found[1], errors="replace")))


def forget_secrets() -> None:
    """Nothing is masked from now on but the credentials of URLs."""
    _known.clear()


def forms_of(text: str) -> set[str]:
    """How this text may stand in another one."""
    raw = text.encode("utf-8", "backslashreplace")
    percent = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    once = {text, escaped, *_in_literals(text), repr(raw)[2:-1], repr(raw + _BOTH_QUOTES)[2:-4]}
    # A literal inside of another one, such as a server's quoted text in a line of JSON.
    twice = {literal for form in once for literal in _in_literals(form)}
    return {form for form in once | twice | percent | {_lower_hex(p) for p in percent} if len(form) >= SHORTEST}


def _in_literals(text: str) -> set[str]:
    """Between the quotes of Python's and JSON's strings, which escape as many quotes as the whole string makes them."""
    quotes = _BOTH_QUOTES.decode()
    of_json = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    of_python = {repr(text)[1:-1], ascii(text)[1:-1], repr(text + quotes)[1:-4], ascii(text + quotes)[1:-4]}
    return of_json | of_python


def masked(text: str) -> str:
    """`text` without the passwords that are known and without the credentials of any URL."""
    if _known.pattern is not None:
        text = _known.pattern.sub(MASK, text)
    if text in _known.short:
        return MASK
    return _CREDENTIALS.sub(rf"\g<1>{MASK}@", text) if "@" in text else text


def masked_values(value: object) -> object:
    """What is to become JSON, with every text in it masked; the keys stay as they are."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: masked_values(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked_values(inner) for inner in value]
    return value


def _lower_hex(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text)
