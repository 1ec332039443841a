"""What topologies are made of, as files that are read and not run: `harness.artifacts.templates` hands them out."""
