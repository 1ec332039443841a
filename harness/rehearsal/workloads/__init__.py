"""Apps that run on while Vault is upgraded."""
