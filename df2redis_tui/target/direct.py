"""Commands sent one at a time to whoever owns their slot, following every redirection, outside the lanes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio

from df2redis_tui.errors import TargetError, TargetLost
from df2redis_tui.pipeline.backoff import Backoff
from df2redis_tui.streams import PeerLost, RespConnection, encode, is_error
from df2redis_tui.target.connection import Address, error_text, name_of
from df2redis_tui.target.replies import STUCK, Verdict, code_of, redirect_address, verdict
from df2redis_tui.target.topology import AddressMap, Topology

ASKING = encode("ASKING")
PATIENCE = 300.0  # seconds a control command waits for a slot that is on its way


class Direct:
    """Kept connections, one per address, each used by one caller at a time."""

    def __init__(
        self,
        topology: Callable[[], Topology],
        refresh: Callable[[], Awaitable[None]],
        reach: AddressMap,
        connect: Callable[[Address], Awaitable[RespConnection]],
    ) -> None:
        self._topology = topology
        self._refresh = refresh
        self._reach = reach
        self._connect = connect
        self._open: dict[Address, RespConnection] = {}
        self._locks: dict[Address, anyio.Lock] = {}
        self._prepare: Callable[[RespConnection], Awaitable[None]] | None = None

    async def prepare_with(self, prepare: Callable[[RespConnection], Awaitable[None]]) -> None:
        """What sees each connection before it is used, from now on. It may raise PeerLost."""
        await self.aclose()
        self._prepare = prepare

    async def at(self, address: Address, wires: Sequence[bytes], timeout: float = 60.0) -> list[object]:
        """A pipeline to this server; error replies are returned. TargetLost: some or all may have been executed."""
        async with self._locks.setdefault(address, anyio.Lock()):
            connection = self._open.pop(address, None)
            new = connection is None
            connection = connection or await self._connect(address)
            done = False
            try:
                if new and self._prepare is not None:
                    await self._prepare(connection)
                replies = await connection.pipeline(wires, timeout=timeout)
                done = True
            except PeerLost as lost:
                raise lost.of_target(name_of(address)) from None
            finally:
                if done:
                    self._open[address] = connection
                else:
                    await connection.aclose()
        return replies

    async def to_slot(self, slot: int, wires: Sequence[bytes]) -> list[object]:
        """One command, or one transaction with its MULTI and EXEC, all of this slot: till executed or refused for good.

        Waits while the slot is on its way. Raises TargetLost when a connection ended before the answer, TargetError
        when its owner keeps refusing for another reason.
        """
        error = ""
        backoff = Backoff(0.01, 0.5)
        with anyio.move_on_after(PATIENCE):
            while True:
                node = self._topology().owner(slot)
                if node is not None:
                    address = self._topology().addresses[node]
                    replies = await self.at(address, wires)
                    error = why_not_yet(replies)
                    if error and verdict(error) is Verdict.ASK:
                        asked = redirect_address(error, address)
                        if asked is not None:
                            replies = (await self.at(self._reach.reach(asked), [ASKING, *wires]))[1:]
                            error = why_not_yet(replies)
                    if not error:
                        return replies
                await anyio.sleep(backoff.next())
                await self._refresh()
        if code_of(error) in STUCK:
            raise TargetError(f"target cluster: slot {slot}: refused for {PATIENCE:g} s: {error}")
        raise TargetLost(f"target cluster: slot {slot} is not served for {PATIENCE:g} s")

    async def aclose(self) -> None:
        while self._open:
            await self._open.popitem()[1].aclose()


def why_not_yet(replies: Sequence[object]) -> str:
    """The error because of which the command or transaction should be sent again; "" when it was answered for good."""
    errors = [error_text(reply) for reply in replies if is_error(reply)]
    causes = [e for e in errors if code_of(e) != "EXECABORT"]
    if causes and all(verdict(e) in (Verdict.REFUSED, Verdict.FATAL) for e in causes):
        return ""
    again = (Verdict.RETRY, Verdict.MOVED, Verdict.ASK)
    return next((e for e in [*causes, *errors] if verdict(e) in again), "")
