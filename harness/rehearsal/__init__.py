"""The order in which things happen in a rehearsal."""
