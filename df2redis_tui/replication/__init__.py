"""The phases of a replication: session, barrier, checkpoints, and the engine that a front end drives."""
