"""A Dragonfly look-alike on an embedded server, so that anyone can see the program work."""
