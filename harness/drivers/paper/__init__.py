"""No server at all: every answer is worked out from what is known of Vault."""
