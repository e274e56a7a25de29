"""What the integration tests and the benchmark share: real servers, a player of recordings, content comparison."""
