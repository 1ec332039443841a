"""What Vault and Kubernetes do, by version."""
