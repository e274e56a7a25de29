"""What masters of some releases journal otherwise than the newest (protocol page §4.5; Dragonfly's tags)."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quirks:
    """The defaults are those of the newest releases."""

    own_stream_ids: bool = False  # up to 1.26 an XADD stands there without the id that it gave
    trims_name_removed: bool = False  # 1.27.0 to 1.27.3: `MINID = id` has the last id that went, not the first to stay
    dense_hll: bool = False  # up to 1.16 every HyperLogLog is dense
    getex_expires: bool = False  # up to 1.39 a GETEX without an option is journalled as a PEXPIREAT of that moment
    idle_persist: bool = False  # up to 1.26 a PERSIST may have done nothing
    json_keeps_ttl: bool = False  # up to 1.32 a JSON.SET of the whole value leaves the key its TTL

    @classmethod
    def of(cls, df_version: str) -> Quirks:
        """Those of `df-v1.40.1`; of a release that is not known, what is safe."""
        found = re.match(r"(?:df-)?v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", df_version)
        if found is None:
            return cls(own_stream_ids=True, getex_expires=True)
        release = (int(found[1]), int(found[2]))
        return cls(
            release < (1, 27),
            release == (1, 27) and int(found[3] or 0) < 4,
            release < (1, 17),
            release < (1, 40),
            release < (1, 27),
            release < (1, 33),
        )
