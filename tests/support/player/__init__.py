"""A Dragonfly of which only the replication side exists: it plays prepared FLOW bytes over real sockets.

It is strict about the order of the handshake (protocol page §1 and §2): what would harm or be refused by a real server
is written to `violations` and answered with that server's error. Whatever needs live data answers an error.
"""

from tests.support.player.script import Behaviour, FlowScript, Script, script_of
from tests.support.player.server import Player

__all__ = ["Behaviour", "FlowScript", "Player", "Script", "script_of"]
