"""df2redis-tui: moves a live Dragonfly server into Redis, Valkey or a Redis Cluster."""

__version__ = "0.1.0"
