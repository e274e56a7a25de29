"""Channel → accumulator → limiter → dispatch: moves blocks of commands, never single entries."""
