"""Whether the holder of a lease is known to have ended."""

from __future__ import annotations

import json
import socket
import subprocess
import time

import psutil

from df2redis_tui.replication.lease import _dead_here


def holder(process: psutil.Process, host: str = socket.gethostname()) -> bytes:
    return json.dumps({"host": host, "pid": process.pid, "started": process.create_time()}).encode()


def test_a_process_that_was_killed_is_dead_before_and_after_its_parent_has_noticed() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        process = psutil.Process(child.pid)
        mine, elsewhere = holder(process), holder(process, "another.host")
        assert not _dead_here(mine)
        child.kill()
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert _dead_here(mine)
        assert not _dead_here(elsewhere), "nobody here can know"
        child.wait()
        assert _dead_here(mine)


def test_what_is_not_a_lease_is_not_known_to_be_dead() -> None:
    assert not _dead_here(b"\xff")
    assert not _dead_here(b'{"host": 1}')
