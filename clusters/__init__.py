"""What topologies are made of, as files that are read and not run: `harness.materials` hands them out."""
