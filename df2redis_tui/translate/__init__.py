"""Records of the source → commands for this target. Pure functions and small state, no IO."""
