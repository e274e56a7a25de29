"""The Textual application: draws snapshots, sends tuning. Knows only the engine's handle."""
