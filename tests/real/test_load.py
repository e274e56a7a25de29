"""Random writes of every family, with TTLs and in several databases, while the full sync runs and after."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from df2redis_tui.demo.children import Child
from tests.real.copying import Copying
from tests.real.sources import SourceServer
from tests.real.targets import Target
from tests.support.real_source import all_of_it

# Defects of Dragonfly itself: beginning of a key → beginning of the difference.
EXCUSED = {
    b"demo:merged:": "value",  # PFMERGE leaves copies in the shards of its sources, and the snapshot brings them too
    b"demo:stream:": "entries read by",  # COPY and RENAME of a stream lose the count of a group
}

pytestmark = [pytest.mark.real, pytest.mark.every_combination(short=1)]


def test_load(
    source: SourceServer, real_target: Target, copying: Callable[..., Copying], request: pytest.FixtureRequest
) -> None:
    full = all_of_it(request.config)
    keys, rate, seconds = (40_000, 3_000, 12) if full else (8_000, 1_500, 4) if source.real else (4_000, 1_000, 2)
    databases = (0,) if real_target.cluster else (0, 1)
    arguments = ["--port", source.port, "--keys", keys, "--rate", rate]
    arguments += ["--dbs", ",".join(map(str, databases)), "--seed", 7 + source.flows]
    writer = Child("df2redis_tui.demo.writer", [str(a) for a in arguments])
    try:
        writer.read()  # filled
        copy = copying("--member-ttl", "drop")
        copy.start()
        copy.wait_stable()
        time.sleep(seconds)
        writer.say_stop()
        assert int(str(writer.read()["written"])) > seconds * 300
    finally:
        writer.end()
    copy.finish(least=keys // 2, excused=EXCUSED if source.real else {})
