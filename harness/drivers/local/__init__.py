"""Plain processes on this machine, and no Docker."""
