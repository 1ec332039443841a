"""What is asked for: a YAML file, checked, and the plan that comes of it."""
