"""A version becomes a verified binary or a container image."""
