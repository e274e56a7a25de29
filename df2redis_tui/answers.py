"""Answers of a server, each held against the kind that its command has: what is no such thing ends the run, named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from df2redis_tui.errors import Df2RedisError, printable
from df2redis_tui.streams import is_error

SHOWN_MOST = 80  # characters


@dataclass(frozen=True, slots=True)
class Answer:
    """`reply` to the command `asked`. Each method gives it as the kind that it names, or raises `error`; so it does for
    an error reply, where that was not looked for first (`refusal`)."""

    reply: object
    asked: str
    whose: str  # "source host:port"
    error: type[Df2RedisError]

    @property
    def refusal(self) -> str:
        """The text of an error reply, safe to show; "" when it is none."""
        if not is_error(self.reply):
            return ""
        return printable(str(self.reply).encode("utf-8", "backslashreplace"), 200) or "an error without a text"

    def is_not(self, due: str) -> Df2RedisError:
        """The error to raise where this is not what was `due`."""
        if why := self.refusal:
            return self.error(f"{self.whose} refused {self.asked}: {why}")
        return self.error(f"{self.whose} answered {self.asked} with {shown(self.reply)}, where {due} is due")

    def ok(self) -> None:
        self.word(b"OK")

    def word(self, wanted: bytes) -> None:
        """This status."""
        if self.reply != wanted:
            raise self.is_not(printable(wanted))

    def text(self) -> bytes:
        """A string."""
        if not isinstance(self.reply, bytes):
            raise self.is_not("a string")
        return self.reply

    def text_or_nil(self) -> bytes | None:
        return None if self.reply is None else self.text()

    def number(self, least: int = 0) -> int:
        """An integer from `least` on."""
        if not isinstance(self.reply, int) or self.reply < least:
            raise self.is_not(f"an integer from {least} on")
        return self.reply

    def array(self) -> list[object]:
        if not isinstance(self.reply, list):
            raise self.is_not("an array")
        return self.reply

    def array_of(self, length: int) -> list[object]:
        """An array of so many elements, which may be anything."""
        if not isinstance(self.reply, list) or len(self.reply) != length:
            raise self.is_not(f"an array of {length}")
        return self.reply

    def texts(self) -> list[bytes]:
        """An array of strings."""
        found = [item for item in self.array() if isinstance(item, bytes)]
        if len(found) != len(self.array()):
            raise self.is_not("an array of strings")
        return found

    def numbers(self, length: int) -> list[int]:
        """An array of so many integers from 0 on."""
        found = [item for item in self.array() if isinstance(item, int) and item >= 0]
        if not len(found) == len(self.array()) == length:
            raise self.is_not(f"an array of {length} integers from 0 on")
        return found


def shown(reply: object) -> str:
    """A reply in a few words."""
    match reply:
        case None:
            return "nil"
        case bool():
            return "a boolean"
        case bytes():
            return f"`{printable(reply, SHOWN_MOST)}`" if reply else "an empty string"
        case int():
            return f"the integer {reply}"
        case list():
            return _shown_array(reply)
    if is_error(reply):
        return f"the error {printable(str(reply).encode('utf-8', 'backslashreplace'), SHOWN_MOST)}"
    return {dict: "a map", set: "a set", float: "a double"}.get(type(reply), "something of another kind")


def _shown_array(items: Sequence[object]) -> str:
    """The kinds of its first elements; those of an array in it are not looked at."""
    inside = ", ".join(
        f"an array of {len(item)}" if isinstance(item, list) else printable(shown(item).encode(), 30)
        for item in items[:3]
    )
    more = ", …" if len(items) > 3 else ""
    return f"an array of {len(items):,} ({inside}{more})" if items else "an empty array"
