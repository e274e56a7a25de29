"""Sans-IO decoding of a FLOW's full-sync stream: an RDB with Dragonfly's own opcodes (protocol page §3)."""
