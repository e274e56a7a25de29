"""The target: ordered pipelined connections, topology, routing."""
