"""One door for each foreign system: Vault, Kubernetes, the container engine."""
