"""Kind clusters and containers on a Docker engine."""
