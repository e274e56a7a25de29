"""A value of any size passes through in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.player import Player, Script
from tests.support.program import Program, copy_arguments, wait_until
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.synthetic import HASH, entry, length, streamed_flow, string, tagged

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
FIELDS, VALUE = 1 << 18, 4096  # 1 GiB of values
MOST_RSS = 200 << 20
FIELD = len(string(b"f%08d" % 0)) + len(string(bytes(VALUE)))
TAGGED_FIELDS = 16  # in one chunk: 64 KiB


def untagged() -> Iterator[bytes]:
    value = string(b"v" * VALUE)
    yield entry(HASH, b"giant", length(FIELDS))
    for start in range(0, FIELDS, 256):
        yield b"".join(string(b"f%08d" % i) + value for i in range(start, start + 256))


def chunked() -> Iterator[bytes]:
    value = string(b"v" * VALUE)
    yield tagged(7, entry(HASH, b"giant", length(FIELDS)))
    for start in range(0, FIELDS, TAGGED_FIELDS):
        yield tagged(7, b"".join(string(b"f%08d" % i) + value for i in range(start, start + TAGGED_FIELDS)))


HEAD = len(entry(HASH, b"giant", length(FIELDS)))
STREAMS = {
    "in one run of bytes": (untagged, HEAD + FIELDS * FIELD),
    "in tagged chunks": (chunked, 9 + HEAD + FIELDS * FIELD + FIELDS // TAGGED_FIELDS * 9),
}


@pytest.mark.parametrize("how", STREAMS)
def test_a_hash_of_1_gib_streams_through(how: str, any_target: Server, run: Callable[..., Program]) -> None:
    make, size = STREAMS[how]
    with Player(Script((streamed_flow(make, size),))) as player:
        program = run(copy_arguments(player.url, any_target.url), timeout=400)
    assert program.process.returncode == 0, program.output()
    assert any_target.client().hlen("giant") == FIELDS
    assert any_target.client().hget("giant", b"f%08d" % (FIELDS - 1)) == b"v" * VALUE
    assert program.peak_rss < MOST_RSS, f"{program.peak_rss / (1 << 20):.0f} MiB resident"
    assert player.violations == []


def test_a_target_that_stops_reading_does_not_fill_memory(any_target: Server, start: Callable[..., Program]) -> None:
    """With its answers held back, what was read from the source stays within the channel and what is in flight."""

    make, size = STREAMS["in one run of bytes"]
    with Player(Script((streamed_flow(make, size),))) as player, Proxy(any_target.port) as proxy:
        program = start(copy_arguments(player.url, f"redis://127.0.0.1:{proxy.port}"))
        wait_until(lambda: sum(player.bytes_sent()) > 20 << 20)
        proxy.hold_replies()
        sent = -1
        while sent != sum(player.bytes_sent()):  # until nothing moves any more
            sent = sum(player.bytes_sent())
            time.sleep(1.0)
        assert sent < size // 2, "the source was read on although the target confirmed nothing"
        assert program.peak_rss < MOST_RSS
        proxy.release_replies()
        assert program.wait(400) == 0, program.output()
    assert program.peak_rss < MOST_RSS, f"{program.peak_rss / (1 << 20):.0f} MiB resident"
