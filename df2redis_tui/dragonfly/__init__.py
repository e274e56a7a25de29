"""The source: Dragonfly's replication protocol. Sockets are in `control` and `flow`, everything else is sans-IO.

`§4.3` and the like, here and in the rest of the project, are sections of the protocol page: `PROTOCOL.md` beside this
module.
"""
