"""Counters → snapshots → health, logs, metrics, report. Knows nothing of sockets."""
