"""What a Dragonfly release does differently on the wire (protocol page §1.3, §5.3, §7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from df2redis_tui.errors import ConfigError

PartialForm = Literal["raw", "legacy", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Release:
    """A release by its text, for example `df-v1.40.1`."""

    text: str
    number: tuple[int, int, int]

    @classmethod
    def parse(cls, text: str) -> Release:
        match = re.fullmatch(r"(?:df-)?v?(\d+)\.(\d+)(?:\.(\d+))?", text)
        if match is None:
            raise ConfigError(f"a Dragonfly version looks like df-v1.40.1, not like {text!r}")
        major, minor, patch = (int(part or 0) for part in match.groups())
        return cls(f"df-v{major}.{minor}.{patch}", (major, minor, patch))

    def since(self, minor: int) -> bool:
        """Whether it is of 1.`minor` or later; 1.28.30 and its followers were cut from 1.30."""
        effective = 30 if self.number[1] == 28 and self.number[2] >= 30 else self.number[1]
        return self.number[0] > 1 or effective >= minor

    @property
    def capa_version(self) -> int | None:
        """The 4th element of the capa reply; None where the reply has three."""
        if not self.since(4):
            return None
        for first, value in ((37, 5), (30, 4), (22, 3), (16, 4), (11, 2)):
            if self.since(first):
                return value
        return 1

    def sends_lsn(self, announced: int) -> bool:
        """Whether LSN records are sent to a client that announced this CLIENT-VERSION."""
        if self.since(30):
            return True
        return announced >= 3 if self.since(22) else self.since(16) and announced >= 4

    @property
    def partial(self) -> PartialForm:
        """How DFLY FLOW with an LSN is answered and continued."""
        if self.since(35):
            return "raw"
        if self.since(31):
            return "legacy"
        if self.since(21):
            return "refused"
        return "legacy" if self.since(11) else "unknown"

    @property
    def default_backlog(self) -> int:
        return 8192 if self.since(34) else 1024

    @property
    def output_limit(self) -> int:
        """Bytes that may wait for a reader before writers are held back."""
        return 1 << 20 if self.since(34) else 64 << 10
