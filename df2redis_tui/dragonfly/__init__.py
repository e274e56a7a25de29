"""The source: Dragonfly's replication protocol. Sockets are in `control` and `flow`, everything else is sans-IO."""
